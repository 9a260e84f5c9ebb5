"""Whether what two collectors left of a long run is the truth: in their lines, in the archive, in the report and in the
store."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sentinel.contract.line_protocol import decode, measurement_of
from tests import ROOT
from tests.end_to_end.judge import TruthFile
from tests.end_to_end.store import Store
from tests.faults.reported import judge_report
from tests.faults.verdict import judge
from tests.faults.warp import Warp
from tests.servers.collector import unset_environment
from tests.servers.influx import WRITER, InfluxServer
from tests.soak.kept import exchange_of, kept_lines
from tests.soak.run import LIVES, RESTARTS, VENUES

COUNTED = {"trades": "price", "top": "bid", "gaps": "start_ns", "coverage": "samples_due"}
EXPORTED = "exported"
AT_ONCE = 2


def judge_all(folder: Path) -> Iterator[tuple[str, list[str], dict[str, int]]]:
    """Of each collector and venue: its name, everything that is wrong, and how many points of each kind there were."""
    run = json.loads((folder / "run.json").read_text())
    asked = [(folder, host, exchange, run) for host in (LIVES, RESTARTS) for exchange in VENUES]
    with serving(folder / "influx"), _processes() as pool:
        audits = {host: pool.submit(_audited, folder, host) for host in (LIVES, RESTARTS)}  # what takes longest
        exports = pool.map(_export, [(folder / LIVES, name) for name in COUNTED])
        yield f"{LIVES} export", list(chain.from_iterable(exports)), {}
        yield from pool.map(_judge_venue, asked)
        for host, audit in audits.items():
            yield f"{host} audit", audit.result(), {}


def _processes() -> ProcessPoolExecutor:
    """Without Python's search for garbage: millions of points that stay, and nothing that points back."""
    return ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn"), initializer=gc.disable)


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """The store of a run once more; its address is beside it."""
    server = InfluxServer(folder)
    server.start()
    try:
        (folder / "url").write_text(server.url)
        yield
    finally:
        server.close()


def _judge_venue(asked: tuple[Path, str, str, dict[str, Any]]) -> tuple[str, list[str], dict[str, int]]:
    folder, host, exchange, run = asked
    own, venue = folder / host, VENUES[exchange]
    products = run["products"][host][exchange]
    truth = TruthFile(own / f"{exchange}.jsonl", venue.facts.feeds[0])
    truth.faults += json.loads((own / "host.json").read_text()) + _stood(folder) + _stood(own)
    store = Store(own / "data", lines=kept_lines(own / "kept", exchange))
    try:
        problems = judge(own / "data", truth, products, venue=venue, store=store)
    except AssertionError as error:
        problems = [str(error)]
    if host == LIVES:
        markets = [venue.market(product) for product in products]
        problems += judge_report(own / "data", markets, Warp(), store)
        problems += _judge_archive(own, exchange)
    problems += _judge_delivered(folder / "influx", host, exchange, store, run["quiet_ns"])
    counts = {name: len(store.of(name)) for name in COUNTED} | {"faults": len(truth.faults)}
    return f"{host} {exchange}", problems, counts


def _stood(folder: Path) -> list[dict[str, Any]]:
    path = folder / "stood.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _export(asked: tuple[Path, str]) -> list[str]:
    """Writes what ``export`` has of a measurement, archive and journal together, into a file for each exchange."""
    own, name = asked
    whole = own / EXPORTED / f"{name}.lp"
    whole.parent.mkdir(exist_ok=True)
    done = _command(["export", "--measurement", name, "--output", str(whole), "--data-dir", str(own / "data")])
    if done.returncode != 0:
        return [f"export of {name} gave {done.returncode}: {done.stderr[-300:]!r}"]
    with ExitStack() as stack, whole.open("rb") as lines:
        files = {each: stack.enter_context(_exported(own, name, each).open("wb")) for each in VENUES}
        for line in lines:
            files[exchange_of(line)].write(line)
    whole.unlink()
    return []


def _exported(own: Path, name: str, exchange: str) -> Path:
    return own / EXPORTED / f"{name}-{exchange}.lp"


def _judge_archive(own: Path, exchange: str) -> Iterator[str]:
    """Archive and journal together have every line that was seen, as it was written last, and no other."""
    for name in COUNTED:
        path = _exported(own, name, exchange)
        theirs = _by_point(path.read_bytes().splitlines() if path.exists() else [])
        kept = kept_lines(own / "kept", exchange)
        ours = _by_point(line for line in kept if measurement_of(line) == name.encode())
        lacks, more = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
        if lacks or more:
            yield f"export of {name} lacks {len(lacks)}, has {len(more)} more, such as {min(lacks | more)!r}"
        for key in ours.keys() & theirs.keys():
            # what comes out of the archive may be spelled in another way
            if ours[key] != theirs[key] and decode(ours[key]) != decode(theirs[key]):
                yield f"export has {theirs[key]!r}, the journal had {ours[key]!r}"


def _by_point(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    """The last line of each point: of each series and time."""
    return {line[: line.index(b" ")] + line[line.rindex(b" ") :]: line for line in lines}


def _judge_delivered(influx: Path, host: str, exchange: str, store: Store, until_ns: int) -> Iterator[str]:
    """The store has as many points of each kind and market as were written before the quiet at the end."""
    server = InfluxServer(influx)
    server.url = (influx / "url").read_text()
    for name, field in COUNTED.items():
        ours: dict[str, int] = {}
        for point in store.of(name):
            if point.time_ns < until_ns:
                symbol = dict(point.tags)["symbol"]
                ours[symbol] = ours.get(symbol, 0) + 1
        of = f"time < {until_ns} AND exchange = '{exchange}'"
        question = f'SELECT count("{field}") FROM "{name}" WHERE {of} GROUP BY symbol'
        (result,) = server.query(question, host)
        theirs = {series["tags"]["symbol"]: series["values"][0][1] for series in result.get("series", [])}
        if ours != theirs:
            yield f"InfluxDB has {theirs} {name}, the journal had {ours}"


def _audited(folder: Path, host: str) -> list[str]:
    """What the command ``audit`` finds in what the journal still has."""
    url = (folder / "influx" / "url").read_text()
    more = {"SENTINEL_INFLUX_TOKEN": WRITER, "SENTINEL_INFLUX_BUCKET_TRADES": host, "SENTINEL_INFLUX_BUCKET_BOOK": host}
    done = _command(["audit", "--data-dir", str(folder / host / "data"), "--influx-url", url], **more)
    return [] if done.returncode == 0 else [f"audit gave {done.returncode}: {(done.stdout + done.stderr)[-300:]!r}"]


def _command(words: list[str], **more: str) -> subprocess.CompletedProcess[bytes]:
    settings = unset_environment() | {"PYTHONPATH": str(ROOT)} | more
    return subprocess.run([sys.executable, "-m", "sentinel", *words], env=settings, capture_output=True, check=False)
