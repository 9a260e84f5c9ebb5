"""Wrong input: one clear line on stderr, exit status 2, and no traceback."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import ROOT
from tests.servers.collector import addresses, collecting, unset_environment
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S


def sentinel(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = unset_environment()
    return subprocess.run(
        [sys.executable, "-m", "sentinel", *arguments],
        cwd=cwd,
        env=clean | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


def test_the_version_says_which_code_runs(tmp_path: Path) -> None:
    assert sentinel("--version", cwd=tmp_path, SENTINEL_PURE="1").stdout.endswith(" (pure Python)\n")
    words = "native" if find_spec("book.speedups") else "pure Python"
    assert sentinel("--version", cwd=tmp_path, SENTINEL_PURE="0").stdout.endswith(f" ({words})\n")


@pytest.mark.parametrize("proxy", ["socks5h://u:secret@127.0.0.1:1", "http://u:secret@127.0.0.1:99999999"])
def test_a_proxy_that_cannot_be_used_is_said_once_and_ends_nothing(proxy: str, tmp_path: Path) -> None:
    places = {
        "SENTINEL_COINBASE_ADVANCED_URL": "ws://venue.example",
        "SENTINEL_COINBASE_EXCHANGE_URL": "ws://venue.example",
        "SENTINEL_COINBASE_REST_URL": "http://venue.example",
    }
    done = sentinel("collect", "BTC-USD", "--duration", "2s", cwd=tmp_path, http_proxy=proxy, no_proxy="", **places)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("proxy_unusable") == 1
    assert "the proxy set for venue.example cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "toml", "words"),
    [
        (["collect"], {}, "", "no product to collect"),
        (["collect", "btcusd"], {}, "", "is not a product such as BTC-USD"),
        (["collect", "BTC-USD", "--duration", "soon"], {}, "", "soon"),
        (["collect", "BTC-USD", "--duration", "-3s"], {}, "", "-3s"),
        (["collect", "BTC-USD", "--fast"], {}, "", "No such option"),
        (["collect", "BTC-USD", "--http", "nowhere"], {}, "", "write nowhere:8080"),
        (["collect", "BTC/USD"], {}, "", "did you mean BTC-USD?"),
        (["collect", "coinbse:BTC-USD"], {}, "", "did you mean coinbase?"),
        (["top"], {}, "", "--http"),
        (["collect", "BTC-USD", "--influx-url", "influx"], {}, "", "URL"),
        (["collect", "BTC-USD"], {"SENTINEL_COINBASE_REST_URL": "not a url"}, "", "URL"),
        (["collect", "BTC-USD"], {"SENTINEL_DATADIR": "x"}, "", "did you mean SENTINEL_DATA_DIR?"),
        (["collect", "BTC-USD"], {}, "[book]\ncadence = 5", "cadence"),
        (["collect", "BTC-USD"], {}, "this is no toml", "sentinel.toml"),
        (["collect", "BTC-USD", "--config", "nowhere.toml"], {}, "", "nowhere.toml"),
        (["simulate", "--tape", "nowhere"], {}, "", "nowhere"),
        (["simulate", "--faults", "nowhere"], {}, "", "nowhere"),
        (["export", "--data-dir", "nowhere", "--measurement", "trades"], {}, "", "nowhere"),
        (["replay", "nowhere"], {}, "", "nowhere"),
        (["gap-report", "--data-dir", "nowhere"], {}, "", "nowhere"),
        (["capabilities", "nowhere"], {}, "", "unknown: nowhere"),
        (["collekt"], {}, "", "collekt"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    arguments: list[str], environment: dict[str, str], toml: str, words: str, tmp_path: Path
) -> None:
    if toml:
        (tmp_path / "sentinel.toml").write_text(toml)
    done = sentinel(*arguments, cwd=tmp_path, **environment)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4
    assert not done.stdout


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = sentinel("collect", "BTC-USD", "--data-dir", "file/data", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "file" in done.stderr
    assert len(done.stderr.splitlines()) <= 2


async def test_a_product_the_venue_does_not_have(tmp_path: Path) -> None:
    async with (
        trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
        collecting(exchange.urls, tmp_path / "data", "BTC-USD", "BTC-USDD") as collector,
    ):
        assert await collector.ended() == 2
    assert collector.errors.strip().endswith("Coinbase has no product BTC-USDD; did you mean BTC-USD?")


async def test_a_product_that_is_nearly_listed_and_several_with_commas(tmp_path: Path) -> None:
    async with (
        trading(["BTC-USD", "ETH-USD"], tmp_path / "truth.jsonl") as exchange,
        collecting(exchange.urls, tmp_path / "data", "BTC-USD,ETH-US") as collector,
    ):
        assert await collector.ended() == 2
    assert collector.errors.strip().endswith("Coinbase has no product ETH-US; did you mean ETH-USD?")


def test_check_config_lists_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "sentinel.toml").write_text('nonsense = 1\nlog_level = "loud"\n')
    done = sentinel("check-config", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2


def test_a_webhook_that_is_not_there_is_said_with_the_reason(tmp_path: Path) -> None:
    """It said "see above", and above was a line without the reason (F15 of the tour)."""
    done = sentinel("alerts", "test", cwd=tmp_path, SENTINEL_ALERTS_WEBHOOK_URL="http://127.0.0.1:1/hook")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("sentinel-ws: the webhook at 127.0.0.1 did not accept it: ")


async def test_a_dry_run_prints_lines_and_stores_nothing(tmp_path: Path) -> None:
    names: set[bytes] = set()
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sentinel", "collect", "BTC-USD", "--dry-run"),
            env=unset_environment() | {"PYTHONPATH": str(ROOT)} | addresses(exchange.urls),
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        is_told = False
        try:
            async with asyncio.timeout(LONGEST_S):
                async for line in process.stdout:
                    names.add(line.partition(b",")[0])
                    if not is_told and names >= {b"trades", b"book", b"top"}:
                        is_told = True  # once: who is told again ends at once
                        process.terminate()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert names >= {b"trades", b"book", b"top", b"coverage"}
    assert not (tmp_path / "data").exists()
