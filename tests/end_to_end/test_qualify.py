"""The real command against a local exchange with known faults: what it reports is what happened, and no more."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from sentinel.qualify.evidence import Qualification, digest
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.end_to_end.scene import Scene
from tests.end_to_end.store import has
from tests.servers import stood
from tests.servers.collector import environment
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD"]
FAULTS = (
    Fault(kind="drop", feed="advanced", channel="l2_data", product="BTC-USD", at_s=4.0),
    Fault(kind="drop", feed="advanced", channel="l2_data", product="ETH-USD", at_s=6.5),
    Fault(kind="drop", feed="advanced", channel="l2_data", product="BTC-USD", at_s=9.0),
    Fault(kind="hide", product="BTC-USD", at_s=11.0, count=5),
    Fault(kind="abort", feed="advanced", product="ETH-USD", channel="l2_data", at_s=14.0),
    Fault(kind="close", feed="exchange", at_s=16.0),
    Fault(kind="hide", product="ETH-USD", at_s=19.0, count=3, from_rest=True),
)
SCENE = Scene("coinbase", COINBASE, PRODUCTS, FAULTS, end_s=20.0, settle_s=1.0)
ONE = Scene("coinbase", COINBASE, ["BTC-USD"], (), end_s=0.0, settle_s=1.0, trade_rate=10)


@asynccontextmanager
async def qualifying(urls: Any, output: Path, *arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", stood.NAME, "sentinel", "qualify", *arguments, "--output", str(output)),
        env=environment(urls, output / "unused", STOOD=str(output.with_name(stood.FILE))),
        stdin=DEVNULL, stdout=PIPE, stderr=PIPE, cwd=output.parent,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def document(output: Path) -> Qualification:
    text = (output / "qualification.json").read_bytes()
    assert msgspec.json.decode(text)["sha256"] == digest(msgspec.json.decode(text))
    return msgspec.json.decode(text, type=Qualification)


def is_healed(log: Path) -> bool:
    """Whether the book is back, and the trades of the time in which nobody ran, if that left a gap."""
    events = [msgspec.json.decode(line) for line in log.read_text().splitlines() if line.startswith("{")]
    channels = {
        kind: [event["channel"] for event in events if event["event"] == kind] for kind in ("gap_open", "gap_closed")
    }
    return "book" in channels["gap_closed"] and sorted(channels["gap_open"]) == sorted(channels["gap_closed"])


async def test_what_it_reports_is_what_happened(tmp_path: Path) -> None:
    output, truth_path = tmp_path / "found", tmp_path / "truth.jsonl"
    async with (
        SCENE.trading(truth_path) as venue,
        qualifying(venue.urls, output, *PRODUCTS, "--duration", "1h") as process,
    ):
        await until(lambda: has(output / "data", PRODUCTS, top=1, trades=1))
        venue.arm(*FAULTS)
        await venue.until(SCENE.end_s)
        await SCENE.end(venue, output / "data", truth_path)
        process.send_signal(signal.SIGINT)
        out, errors = await process.communicate()
        assert process.returncode == 3, errors
    truth, found = TruthFile(truth_path), document(output)
    faults = {kind: [fault for fault in truth.faults if fault["fault"] == kind] for kind in ("drop", "hide")}
    dropped = sum(fault["sequence_last"] - fault["sequence_first"] + 1 for fault in faults["drop"])
    hidden = [(fault["product"], fault["trade_ids"], fault["from_rest"]) for fault in faults["hide"]]
    lost = {product: sum(len(ids) for of, ids, is_lost in hidden if of == product and is_lost) for product in PRODUCTS}
    healed_ids = {
        product: sum(len(ids) for of, ids, gone in hidden if of == product and not gone) for product in PRODUCTS
    }
    assert dropped == 3
    assert (sum(lost.values()), sum(healed_ids.values())) == (3, 5)

    assert found.state == "cut short"
    for product in found.products:
        assert product.missing == lost[product.symbol]
        assert product.repaired >= healed_ids[product.symbol]
        assert product.doubled == 0
        assert product.due == product.written + product.withheld
        assert product.withheld == product.named
        assert product.stored_samples == product.written
        published = set(truth.trades[product.symbol])
        assert product.trades + product.missing <= len(published)
    if not truth.long_stood:
        judge_counts(found, truth, dropped, healed_ids)

    verdicts = {claim.name: claim.verdict for claim in found.claims}
    assert verdicts == {
        "trades": "broken",
        "instants": "holds",
        "accounts": "holds",
        "losses": "holds",
        "healing": "broken",
        "punctuality": verdicts["punctuality"],  # of a machine that tests load
        "steadiness": "not judged",
        "running": "holds",
        "certificates": "not judged",
    }
    assert found.verdict == "broken"
    contradicted = [fact.name for fact in found.wire if fact.found == "contradicted" and fact.confidence == "high"]
    assert [name for name in contradicted if not name.endswith("plus-one")] == []
    assert [venue.is_own for venue in found.environment.venues] == [False]
    broken = sum(verdict == "broken" for verdict in verdicts.values())
    assert f"{broken} of ".encode() in out
    page = (output / "qualification.html").read_text()
    assert "Every trade once" in page
    for text in (page, (output / "qualification.json").read_text()):
        assert str(tmp_path) not in text
        assert "127.0.0.1" not in text


def judge_counts(found: Qualification, truth: TruthFile, dropped: int, healed_ids: dict[str, int]) -> None:
    """Each connection, gap and fault is counted once, if nothing happened but the faults."""
    feeds = {feed.feed: feed for feed in found.feeds}
    assert feeds["coinbase_advanced"].frames_lost == dropped
    assert feeds["coinbase_exchange"].frames_lost is None
    assert feeds["coinbase_advanced"].closed == {"disconnected": 1}
    assert feeds["coinbase_exchange"].closed == {"disconnected": 1}
    opened = [fact["feed"] for fact in truth.connections if fact["event"] == "opened"]
    assert feeds["coinbase_advanced"].opened == opened.count("advanced") == 3
    assert feeds["coinbase_exchange"].opened == opened.count("exchange") == 2
    assert [feed.reconnect.count for feed in found.feeds] == [1, 1]
    assert [feed.undecodable + feed.unusable + feed.frames_late for feed in found.feeds] == [0, 0]

    gaps = {(gap.channel, gap.cause): gap for gap in found.gaps}
    assert gaps.keys() == {("book", "sequence"), ("book", "disconnected"), ("trades", "trades")}
    assert (gaps["book", "sequence"].count, gaps["book", "sequence"].missing) == (3, dropped)
    assert gaps["book", "disconnected"].count == 1
    assert (gaps["trades", "trades"].missing, gaps["trades", "trades"].repaired) == (8, 5)
    assert {product.symbol: product.repaired for product in found.products} == healed_ids
    causes = {product.symbol: [move.cause for move in product.transitions] for product in found.products}
    assert causes == {"BTC-USD": ["sequence", "sequence"], "ETH-USD": ["sequence", "disconnected"]}

    table = {(fault.fault, fault.channel): (fault.seen, fault.lost) for fault in found.reliability}
    withheld = dict.fromkeys(("sequence", "disconnected"), 0)
    for product in found.products:
        for move in product.transitions:
            withheld[move.cause] += move.withheld
    assert table == {
        ("disconnected", "connection"): (2, 0),
        ("disconnected", "book"): (1, withheld["disconnected"]),
        ("frames lost", "book"): (3, withheld["sequence"]),
        ("trades not received", "trades"): (gaps["trades", "trades"].count, 3),
    }


async def test_one_that_was_killed_goes_on_and_one_that_is_stopped_says_so(tmp_path: Path) -> None:
    output, truth_path = tmp_path / "found", tmp_path / "truth.jsonl"
    async with ONE.trading(truth_path) as venue:
        async with qualifying(venue.urls, output, "BTC-USD", "--duration", "1h") as killed:
            await until(lambda: has(output / "data", ONE.products, top=10, trades=1))
            killed.kill()
            await killed.wait()
        async with qualifying(venue.urls, output, "BTC-USD", "--duration", "1h") as refused:
            _, errors = await refused.communicate()
            assert refused.returncode == 2
            assert b"--resume goes on with it" in errors
        log = output / "collector.log"
        async with qualifying(venue.urls, output, "--resume") as resumed:
            await until(lambda: resumed.returncode is not None or is_healed(log))
            await venue.until(venue.faults.elapsed_s() + 4)  # a hole of trades is told after a grace of a second
            await until(lambda: resumed.returncode is not None or is_healed(log))
            await ONE.end(venue, output / "data", truth_path)
            await until(lambda: resumed.returncode is not None or is_healed(log))
            resumed.send_signal(signal.SIGINT)
            _, errors = await resumed.communicate()
            assert resumed.returncode == 0, errors
    found = document(output)
    assert found.state == "cut short"
    assert [session.ended for session in found.sessions] == ["it was killed", "it was told to stop"]
    assert found.asked_s == 3600
    assert len(found.processes) == 2
    killed_session, resumed_session = found.sessions
    assert killed_session.start_ns < killed_session.end_ns < resumed_session.start_ns
    assert ("book", "stopped") in {(gap.channel, gap.cause) for gap in found.gaps}
    verdicts = {claim.name: claim.verdict for claim in found.claims}
    assert (verdicts["trades"], verdicts["running"]) == ("holds", "holds")
    (product,) = found.products
    assert product.withheld == product.named > 0
    assert product.stored_samples == product.written
    if not TruthFile(truth_path).long_stood:
        assert [gap.cause for gap in found.gaps if gap.channel == "book"] == ["stopped"]
        feeds = {feed.feed: feed for feed in found.feeds}
        assert feeds["coinbase_advanced"].closed == {"stopped": 1}


async def test_a_product_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    async with ONE.trading(tmp_path / "truth.jsonl") as venue:
        async with qualifying(venue.urls, tmp_path / "found", "NO-SUCH", "--duration", "1h") as process:
            _, errors = await process.communicate()
        assert process.returncode == 2
        assert b"NO-SUCH" in errors.splitlines()[-1]
        assert b"Traceback" not in errors
        assert not (tmp_path / "found" / "state.json").exists()


async def test_a_venue_that_is_not_there_is_no_data_and_the_page_says_what_was_tried(tmp_path: Path) -> None:
    nowhere = {"advanced": "ws://127.0.0.1:9", "exchange": "ws://127.0.0.1:9", "rest": "http://127.0.0.1:9"}
    async with qualifying(nowhere, tmp_path / "found", "BTC-USD", "--duration", "10s") as process:
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"nothing came from a venue" in errors.splitlines()[-1]
    found = document(tmp_path / "found")
    assert found.state == "complete"
    tried = (tmp_path / "found" / "collector.log").read_text()  # in ten seconds, if the machine was awake
    assert all(feed.opened == 0 for feed in found.feeds)
    assert all(feed.failed["disconnected"] > 0 for feed in found.feeds if f'"venue": "{feed.feed}"' in tried)
    assert {fact.found for fact in found.wire} == {"not seen"} or not found.feeds
