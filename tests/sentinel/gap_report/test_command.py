"""The command on a real journal: a collector that runs, one that has ended, and a month of accounts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from book.sampler import CADENCE_NS, count_instants
from sentinel.archive.archiver import all_hours, write_hours
from sentinel.cli import cli
from sentinel.contract.line_protocol import Value
from sentinel.disk.data_dir import JOURNAL, PRUNED
from sentinel.disk.journal import Journal, JournalReader
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.end_to_end.store import Store, fields, has
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, SYMBOLS, Commit, line, write
from tests.sentinel.timed import timed
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S, until

MINUTE_NS = 60_000_000_000


def report(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["gap-report", *arguments])


async def test_it_tells_the_truth_while_the_collector_runs_and_after(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    products = ["BTC-USD", "ETH-USD"]
    faults = [
        Fault(kind="hide", count=5, product="BTC-USD", from_rest=True),
        Fault(kind="hide", count=5, product="ETH-USD"),
        Fault(kind="drop", at_s=1, feed="advanced", channel="l2_data", product="BTC-USD"),
    ]

    def is_told() -> bool:
        """That trades are missing, and that the book came back."""
        store = Store(data, measurements=["top", "trades", "gaps"])
        gaps = [fields(gap) for gap in store.of("gaps", "BTC-USD") if dict(gap.tags)["cause"] == "sequence"]
        is_back = any("end_ns" in gap for gap in gaps) and len(store.of("top", "BTC-USD")) > 50
        return is_back and len(store.missing_trades("BTC-USD")) == 5

    async with trading(products, truth_path, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, *products, module="tests.servers.patient") as collector:
            await until(lambda: has(data, products, top=1, trades=1))
            exchange.arm(*faults)
            await until(is_told)
            running = await asyncio.to_thread(report, "--data-dir", str(data), "--format", "json")
            await exchange.quiet_end(2)
            assert await collector.stop() == 0
    assert running.exit_code == 0, running.output
    under_way = {product["symbol"]: product for product in json.loads(running.output)["products"]}
    assert under_way["BTC-USD"]["samples"]["written"] > 50
    assert under_way["BTC-USD"]["trades"]["missing"] == 5
    assert under_way["BTC-USD"]["integrity"] == "sequence"

    ended = json.loads(report("--data-dir", str(data), "--format", "json").output)
    store, truth = Store(data), TruthFile(truth_path)
    assert ended["verdict"] == "incomplete"
    for product in ended["products"]:
        symbol, trades = product["symbol"], product["trades"]
        assert product["samples"]["written"] == len(store.of("top", symbol))
        assert trades["count"] == len(store.trades(symbol))
        published = [trade_id for trade_id in truth.trades[symbol] if trade_id >= trades["first_id"]]
        assert trades["count"] + trades["missing"] == len(published)
        assert trades["last_id"] == max(published)
    btc, eth = ended["products"]
    assert (btc["trades"]["missing"], eth["trades"]["missing"]) == (5, 0)
    repaired = {trade_id for trade_id, point in store.trades("ETH-USD").items() if fields(point).get("repaired")}
    assert {trade_id for trade_id, trade in truth.trades["ETH-USD"].items() if trade.get("hidden")} <= repaired
    assert eth["trades"]["repaired"] == len(repaired)
    (lost,) = [gap for gap in btc["gaps"] if gap["cause"] == "sequence"]
    (dropped,) = [fault for fault in truth.faults if fault["fault"] == "drop"]
    assert (lost["start_seq"], lost["end_seq"]) == (dropped["sequence_first"], dropped["sequence_last"])
    assert report("--data-dir", str(data), "--fail-under", "99.99").exit_code == 3
    until_ns = str(max(product["window"]["end_ns"] for product in ended["products"]))
    whole = report(
        "--data-dir", str(data), "--until", until_ns, "--symbol", "ETH-USD", "--collected-only", "--fail-under", "99"
    )
    assert whole.exit_code == 0


def test_a_product_that_was_asked_for_and_is_not_there_is_no_part_of_a_complete_report(tmp_path: Path) -> None:
    first_ns = 1_700_000_000 * 10**9 // MINUTE_NS * MINUTE_NS
    tags = {"collector": "a", "exchange": "coinbase", "symbol": "BTC-USD"}
    row: dict[str, Value] = {"samples_due": 600, "samples_written": 600, "samples_withheld": 0}
    asyncio.run(write(tmp_path, [{"accounts": [line("coverage", tags, row, first_ns)]}]))
    where = ("--data-dir", str(tmp_path), "--since", str(first_ns), "--until", str(first_ns + MINUTE_NS))
    assert report(*where, "--symbol", "BTC-USD", "--fail-under", "100").exit_code == 0
    asked = report(*where, "--symbol", "BTC-USD", "--symbol", "ETH-USD", "--fail-under", "100")
    assert asked.exit_code != 0
    assert "no accounts of ETH-USD" in str(asked.exception)


def test_a_shard_without_journal_and_archive_is_named(tmp_path: Path) -> None:
    first_ns = 1_700_000_000 * 10**9 // MINUTE_NS * MINUTE_NS
    tags = {"collector": "a", "exchange": "coinbase", "symbol": "BTC-USD"}
    row: dict[str, Value] = {"samples_due": 600, "samples_written": 600, "samples_withheld": 0}
    for shard in ("shard=00", "shard=01"):
        (tmp_path / shard).mkdir()
    asyncio.run(write(tmp_path / "shard=00", [{"accounts": [line("coverage", tags, row, first_ns)]}]))
    where = ("--data-dir", str(tmp_path), "--since", str(first_ns), "--until", str(first_ns + MINUTE_NS))
    told = report(*where, "--format", "csv", "--rows", "products")
    assert told.exit_code == 0
    assert "shard=01 has no journal and no archive" in told.stderr
    assert "shard=00" not in told.stderr
    found = json.loads(report(*where, "--format", "json").stdout)
    assert (found["verdict"], found["unread"]) == ("incomplete", [str(tmp_path / "shard=01")])
    assert "Not in this report" in " ".join(report(*where).stdout.split())
    export = CliRunner().invoke(cli, ["export", "--measurement", "coverage", "--data-dir", str(tmp_path)])
    assert "shard=01 has no journal and no archive: its products are left out" in export.stderr
    assert len(told.stdout.splitlines()) == 2


def test_a_month_of_a_product_is_read_from_its_accounts(tmp_path: Path) -> None:
    """43,200 minutes and 3,000 gaps: 1.1 s on the 2 cores this was written on."""
    start_ns = 1_700_000_000 * 10**9 // MINUTE_NS * MINUTE_NS
    tags = "collector=a,exchange=coinbase,symbol=BTC-USD"

    async def write() -> None:
        journal = Journal.open(tmp_path / "journal.sqlite3")
        for day in range(30):
            rows = []
            for number in range(day * 1440, day * 1440 + 1440):
                at_ns = start_ns + number * MINUTE_NS
                rows.append(
                    f'coverage,{tags} first_trade_id={900 * number + 1}i,integrity="sequence",'
                    f"last_trade_id={900 * number + 900}i,samples_due=600i,samples_withheld=0i,samples_written=600i,"
                    f"trades=900i {at_ns}".encode()
                )
                if number % 14 == 0:
                    gap_tags = f"cause=sequence,channel=book,{tags}"
                    rows.append(
                        f"gaps,{gap_tags} end_ns={at_ns + 9}i,missing_count=1i,start_ns={at_ns}i {at_ns}".encode()
                    )
            await journal.append(timed({"accounts": rows}))
        journal.close()

    asyncio.run(write())
    result = report("--data-dir", str(tmp_path), "--since", str(start_ns), "--until", "now", "--format", "json")
    (product,) = json.loads(result.output)["products"]
    idle = product["samples"].pop("not_collected")
    assert product["samples"] == {"due": 25_920_000, "written": 25_920_000, "withheld": 0}
    assert idle == count_instants(start_ns, product["window"]["end_ns"]) - 25_920_000, "up to now"
    assert product["trades"]["count"] == product["trades"]["last_id"] == 38_880_000
    assert len(product["gaps"]) == 3086 + 1
    month = "--until", str(start_ns + 30 * 86_400 * 10**9)
    day = report("--data-dir", str(tmp_path), "--since", str(start_ns + 86_400 * 10**9), *month, "--format", "json")
    assert json.loads(day.output)["verdict"] == "complete"
    assert json.loads(day.output)["products"][0]["samples"]["due"] == 29 * 864_000


def coverage(symbol: str, number: int) -> bytes:
    tags = {"exchange": "coinbase", "symbol": symbol, "collector": "here"}
    counts: dict[str, Value] = {"samples_due": 600, "samples_written": 600, "trades": 1}
    ids: dict[str, Value] = {"first_trade_id": number + 1, "last_trade_id": number + 1, "integrity": "sequence"}
    return line("coverage", tags, counts | ids, MIDNIGHT_NS + number * MINUTE_NS)


def test_archive_and_journal_are_read_as_one(tmp_path: Path) -> None:
    """Five hours: the first three are in the archive alone, the fourth is in both, and a gap was closed hours late."""
    at_ns = MIDNIGHT_NS + 30 * MINUTE_NS
    lost = {"exchange": "coinbase", "symbol": "BTC-USD", "collector": "here", "channel": "book", "cause": "silence"}
    opened = line("gaps", lost, {"missing_count": 0, "repaired_count": 0, "start_ns": at_ns}, at_ns)
    closed = line(
        "gaps", lost, {"missing_count": 0, "repaired_count": 0, "start_ns": at_ns, "end_ns": at_ns + 7}, at_ns
    )

    def made(hours: range) -> list[Commit]:
        return [
            {"accounts": [coverage(symbol, number) for symbol in SYMBOLS]}
            for number in range(hours.start * 60, hours.stop * 60)
        ]

    asyncio.run(write(tmp_path, [*made(range(1)), {"accounts": [opened]}, *made(range(1, 4)), {"accounts": [closed]}]))
    with JournalReader(tmp_path / "journal.sqlite3") as reader:
        until_ns = MIDNIGHT_NS + 4 * HOUR_NS
        write_hours(reader, tmp_path / "archive", all_hours(reader, None, until_ns), until_ns)
    for name in ("journal.sqlite3", "journal.mark"):
        (tmp_path / name).unlink()
    window = "--until", str(MIDNIGHT_NS + 5 * HOUR_NS), "--format", "json", "--fail-under", "99.9"

    archived = report("--data-dir", str(tmp_path), "--since", "1969-01-01", *window)
    assert archived.exit_code == 3
    (btc, _) = json.loads(archived.stdout)["products"]
    assert btc["samples"] == {"due": 240 * 600, "written": 240 * 600, "withheld": 0, "not_collected": 36_000}

    asyncio.run(write(tmp_path, made(range(3, 5))))
    for since, minutes in (
        ("1969-01-01", 300),
        (str(MIDNIGHT_NS + HOUR_NS), 240),
        (str(MIDNIGHT_NS + 4 * HOUR_NS), 60),
    ):
        whole = report("--data-dir", str(tmp_path), "--since", since, *window)
        assert whole.exit_code == 0, whole.output
        found = json.loads(whole.stdout)
        assert found["window"] == {
            "start_ns": MIDNIGHT_NS + (300 - minutes) * MINUTE_NS,
            "end_ns": MIDNIGHT_NS + 300 * MINUTE_NS,
        }
        for product in found["products"]:
            assert product["samples"]["written"] == 600 * minutes
            assert product["trades"]["count"] == minutes
        gaps = [gap["end_ns"] for gap in found["products"][0]["gaps"]]
        assert gaps == ([at_ns + 7] if minutes == 300 else [])


# tour F4: after pruning, the rest was given as if it were everything
async def test_what_retention_has_removed_is_told(tmp_path: Path) -> None:
    at_ns = MIDNIGHT_NS + 2 * HOUR_NS
    journal = Journal.open(tmp_path / JOURNAL)
    try:
        for number in range(180):
            await journal.append(timed({"accounts": [coverage("BTC-USD", number)]}))
        await journal.prune(at_ns, max_age_s=3600, max_bytes=None)
    finally:
        journal.close()
    since, until = ("--since", str(MIDNIGHT_NS)), ("--until", str(MIDNIGHT_NS + 3 * HOUR_NS))
    told = await asyncio.to_thread(report, "--data-dir", str(tmp_path), *since, *until)
    words = "Asked from 2026-11-23 00:00:00: retention has removed what there was before 2026-11-23 01:00:00"
    assert words in told.stdout
    later = await asyncio.to_thread(report, "--data-dir", str(tmp_path), "--since", str(at_ns), *until)
    assert "retention" not in later.stdout
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / PRUNED).write_text("coverage/exchange=coinbase/symbol=BTC-USD/date=2026-11-22\n")
    before = ("--since", "2026-11-22", *until, "--format", "json")
    found = json.loads((await asyncio.to_thread(report, "--data-dir", str(tmp_path), *before)).stdout)
    assert found["removed_until_ns"] == MIDNIGHT_NS


def test_a_product_that_is_not_collected_any_more_is_missed_unless_it_is_left_out(tmp_path: Path) -> None:
    rows = [*(coverage("ETH-USD", number) for number in range(10)), *(coverage("BTC-USD", n) for n in range(300))]
    asyncio.run(write(tmp_path, [{"accounts": [row]} for row in rows]))
    window = "--since", str(MIDNIGHT_NS + HOUR_NS), "--until", str(MIDNIGHT_NS + 2 * HOUR_NS), "--fail-under", "99"
    assert report("--data-dir", str(tmp_path), *window).exit_code == 3
    assert report("--data-dir", str(tmp_path), *window, "--symbol", "BTC-USD").exit_code == 0
    assert report("--data-dir", str(tmp_path), *window, "--collected-only").exit_code == 0


def test_rows_are_of_csv(tmp_path: Path) -> None:
    told = report("--data-dir", str(tmp_path), "--rows", "causes")
    assert told.exit_code == 2
    assert "--rows is of --format csv" in told.stderr


def test_no_data_is_told(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    journal.close()
    result = report("--data-dir", str(tmp_path))
    assert result.exit_code != 0
    assert "no accounts" in str(result.exception)


def product_of(*arguments: str) -> dict[str, Any]:
    (product,) = json.loads(report(*arguments, "--format", "json").output)["products"]
    return cast(dict[str, Any], product)


@pytest.mark.parametrize("is_killed", [True, False])
async def test_a_collector_that_is_gone_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """Right after its end it is complete, as one that runs would be; a minute later it is not, whatever the window."""
    data = tmp_path / "data"
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", module="tests.servers.patient") as collector:
            await until(lambda: (data / JOURNAL).exists() and len(Store(data, measurements=["top"]).of("top")) > 20)
            await (collector.kill() if is_killed else collector.stop())
    times = [point.time_ns for point in Store(data).of("top", "BTC-USD")]
    ended_ns = times[-1]

    def later(seconds: float, *arguments: str) -> Result:
        monkeypatch.setattr("time.time_ns", lambda: ended_ns + round(seconds * 1e9))
        return report("--data-dir", str(data), "--fail-under", "99.9", *arguments)

    for since in ("24h", "1969-01-01"):
        assert later(5, "--since", since).exit_code == 0
        assert later(60, "--since", since, "--collected-only").exit_code == 0
        gone = later(60, "--since", since, "--format", "json")
        assert gone.exit_code == 3
        found = json.loads(gone.stdout)
        (product,) = found["products"]
        assert found["verdict"] == "incomplete"
        assert times[0] - 10**9 < found["window"]["start_ns"] <= times[0]
        assert product["book_clean"] == pytest.approx(len(times) / (len(times) + 600), rel=0.05)
        assert product["trade_coverage"] < (len(times) + 60) / (len(times) + 600)
        (hole,) = [gap for gap in product["gaps"] if gap["cause"] == "not_collected"]
        assert ended_ns < hole["start_ns"] < ended_ns + 2 * 10**9
        assert hole["end_ns"] == ended_ns + 60 * 10**9
        assert hole["missing_count"] == product["samples"]["not_collected"] == pytest.approx(600, abs=20)
    assert later(3600, "--since", "5m").exit_code == 3, "nothing of it lies in the window"
    assert later(3600, "--since", "5m", "--format", "table").stdout.startswith("incomplete")
    until_then = str(ended_ns)
    assert later(3600, "--until", until_then).exit_code == 0, "a window that ended before it did"

    def status(seconds: float) -> Result:
        monkeypatch.setattr("time.time_ns", lambda: ended_ns + round(seconds * 1e9))
        return CliRunner().invoke(cli, ["status", "--data-dir", str(data)])

    assert [status(seconds).exit_code for seconds in (5, 60, 3600)] == [0, 1, 1]


async def test_ids_that_were_jumped_over_before_a_kill_are_missing(tmp_path: Path) -> None:
    """The collector had not announced them when it was killed: they are in its checkpoint only."""
    data = tmp_path / "data"
    # more than once: all that is missing may have been announced before anybody looks
    hidden = Fault(kind="hide", count=3, every_s=3.0, product="BTC-USD", from_rest=True)
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl", trade_rate=50) as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", module="tests.servers.patient") as collector:
            await until(lambda: (data / JOURNAL).exists() and bool(Store(data).trades("BTC-USD")))
            exchange.faults.arm([hidden])
            async with asyncio.timeout(LONGEST_S):
                while not is_without(data, tmp_path / "truth.jsonl"):
                    await asyncio.sleep(0.02)
            await collector.kill()
    truth = TruthFile(tmp_path / "truth.jsonl")
    product = product_of("--data-dir", str(data))
    ids = sorted(Store(data).trades("BTC-USD"))
    lost = set(range(ids[0], ids[-1])) - set(ids)
    assert lost
    assert lost <= {number for fault in truth.faults if fault["fault"] == "hide" for number in fault["trade_ids"]}
    gaps = [gap for gap in product["gaps"] if gap["channel"] == "trades"]
    assert {number for gap in gaps for number in range(gap["start_seq"], gap["end_seq"] + 1)} == lost
    assert product["trades"]["missing"] == len(lost)
    assert report("--data-dir", str(data), "--fail-under", "100").exit_code == 3


def is_without(data: Path, truth: Path) -> bool:
    """Whether it has jumped over what was hidden for good, and over nothing else that may still be on its way."""
    with JournalReader(data / "journal.sqlite3") as reader:
        checkpoint = reader.checkpoint()
    states = {} if checkpoint is None else decode_checkpoint(checkpoint)
    jumps = [jump.range for state in states.values() for jump in state.trades.jumps]
    hidden = {number for fault in TruthFile(truth).faults if fault["fault"] == "hide" for number in fault["trade_ids"]}
    stored = set(Store(data).trades("BTC-USD"))
    lost = set().union(*(range(jump.first, jump.last + 1) for jump in jumps)) - stored
    return bool(lost) and lost <= hidden


async def test_where_accounts_of_a_single_minute_begin_is_told_by_its_first_sample(tmp_path: Path) -> None:
    """A run of 16 s within one minute, stopped and started again meanwhile."""
    first_ns, stopped_ns, again_ns, end_ns = (MIDNIGHT_NS + s * 10**9 for s in (43, 47, 51, 60))
    samples = [*range(first_ns, stopped_ns, CADENCE_NS), *range(again_ns, end_ns, CADENCE_NS)]
    tags = "exchange=coinbase,symbol=BTC-USD"
    journal = Journal.open(tmp_path / JOURNAL)
    try:
        await journal.append(
            timed(
                {
                    "book": [f"top,{tags} bid=1 {time_ns}".encode() for time_ns in samples],
                    "accounts": [
                        f"coverage,collector=a,{tags} samples_due={len(samples)}i,samples_written={len(samples)}i,"
                        f'samples_withheld=0i,trades=0i,integrity="sequence" {MIDNIGHT_NS}'.encode(),
                        f"gaps,cause=stopped,channel=book,collector=a,{tags} missing_count=40i,end_ns={again_ns}i "
                        f"{stopped_ns}".encode(),
                    ],
                }
            )
        )
    finally:
        journal.close()
    since, until = str(MIDNIGHT_NS - 60 * 10**9), str(MIDNIGHT_NS + 120 * 10**9)
    told = report("--data-dir", str(tmp_path), "--since", since, "--until", until, "--format", "json")
    (product,) = json.loads(told.output)["products"]
    assert product["window"]["start_ns"] == first_ns
    nobody = [(gap["start_ns"], gap["end_ns"]) for gap in product["gaps"] if gap["cause"] == "not_collected"]
    assert nobody == [(end_ns, MIDNIGHT_NS + 120 * 10**9)]
