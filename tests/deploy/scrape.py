"""A real Prometheus (Debian: prometheus) scrapes a real collector, with the configuration that is shipped.

    python -m tests.deploy.scrape [SECONDS]

Only addresses, the token's place and the interval are changed. Prints what Prometheus says of the target and of the
series it found, which alerts fire, and which panels of the collector's dashboard have nothing to show; ends with status
1 if it could not scrape, a rule names a metric that nobody exports, or a panel is refused.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import click
import yaml

from sentinel.monitor.api.metrics import FAMILIES
from tests import ROOT
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S

FOLDER = ROOT / "deploy" / "prometheus"
INTERVAL = "1s"


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


def configure(folder: Path, target: str, token: Path) -> Path:
    """The shipped configuration with this run's addresses."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    config["global"] = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
    job["static_configs"] = [{"targets": [target]}]
    job["authorization"]["credentials_file"] = str(token)
    for name in config["rule_files"]:
        shutil.copy(FOLDER / name, folder)
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@asynccontextmanager
async def prometheus(config: Path) -> AsyncIterator[str]:
    """Runs it; gives the address of its API."""
    address = free_address()
    with (config.parent / "prometheus.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={config.parent / 'series'}",
            f"--web.listen-address={address}",
            stderr=log,
        )
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        await process.wait()


async def ask(session: aiohttp.ClientSession, url: str, **parameters: str) -> Any:
    async with session.get(url, params=parameters) as answer:
        return (await answer.json())["data"]


async def scraped(session: aiohttp.ClientSession, api: str) -> dict[str, Any]:
    """The target, once it has been scraped or refused."""
    while True:
        try:
            (target,) = (await ask(session, f"{api}/targets"))["activeTargets"]
        except (aiohttp.ClientError, ValueError):
            target = {"health": "unknown"}
        if target["health"] != "unknown":
            return dict(target)
        await asyncio.sleep(0.2)


def named_by_rules() -> set[str]:
    """Every metric in an expression of a rule."""
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    expressions = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    return set(re.findall(r"\b(?:sentinel_\w+|up)\b", expressions))


def panels() -> list[tuple[str, str]]:
    """Title and query of each panel of the collector's dashboard, as Grafana would send it for everything."""
    board = json.loads((ROOT / "deploy/grafana/dashboards/collector.json").read_text())
    return [
        (panel["title"], re.sub(r"\$(\w+)", ".*", target["expr"].replace("$__rate_interval", "10s")))
        for panel in board["panels"]
        for target in panel["targets"]
    ]


async def answered(session: aiohttp.ClientSession, api: str, query: str) -> int | None:
    """How many series a query finds; None if it is refused."""
    async with session.get(f"{api}/query", params={"query": query}) as answer:
        found = await answer.json()
    return len(found["data"]["result"]) if found["status"] == "success" else None


async def main(seconds: float) -> int:
    """Returns 0 if the collector was scraped and every rule can fire."""
    with tempfile.TemporaryDirectory() as name:
        folder, target = Path(name), free_address()
        token = folder / "http_token"
        token.write_text(secrets.token_hex(16))
        settings = {"SENTINEL_HTTP": target, "SENTINEL_HTTP_TOKEN_FILE": str(token)}
        async with trading(3, folder / "truth.jsonl") as exchange:
            products = exchange.products
            async with (
                collecting(exchange.urls, folder / "data", *products, **settings) as collector,
                prometheus(configure(folder, target, token)) as api,
                aiohttp.ClientSession() as session,
            ):
                async with asyncio.timeout(LONGEST_S):
                    await scraped(session, api)
                await asyncio.sleep(seconds)
                found = await scraped(session, api)
                series = (await ask(session, f"{api}/query", query='count({__name__=~"sentinel_.+"})'))["result"]
                names = set(await ask(session, f"{api}/label/__name__/values"))
                took = (await ask(session, f"{api}/query", query="max_over_time(scrape_duration_seconds[1m])"))[
                    "result"
                ]
                alerts = await ask(session, f"{api}/alerts")
                answers = {title: await answered(session, api, query) for title, query in panels()}
                await collector.stop()
    facts = {
        "health": found["health"],
        "error": found["lastError"],
        "series": int(series[0]["value"][1]) if series else 0,
        "names": len([name for name in names if name.startswith("sentinel")]),
        "slowest_scrape_ms": round(1000 * float(took[0]["value"][1]), 1) if took else None,
        "alerts": [alert["labels"]["alertname"] for alert in alerts["alerts"]],
        "named_by_rules_only": sorted(named_by_rules() - {"up", *(family.name for family in FAMILIES)}),
        "panels_refused": sorted(title for title, count in answers.items() if count is None),
        "panels_empty": sorted(title for title, count in answers.items() if count == 0),
    }
    click.echo(json.dumps(facts, indent=2))
    return 0 if found["health"] == "up" and not facts["named_by_rules_only"] and not facts["panels_refused"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)))
