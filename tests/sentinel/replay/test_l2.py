"""Every change of the books, from tapes: what is proved and no more, however often and in how many parts it is done."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import sentinel.data
from feeds.market import Market
from feeds.protocol import Subscription
from sentinel.archive.l2 import L2
from sentinel.archive.layout import Series
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.command import verify_command
from sentinel.disk.data_dir import ARCHIVE, L2_STATE, TAPES
from sentinel.disk.tape import Kind, TapeWriter, read_tape, tape_files
from sentinel.disk.taped import record_of
from sentinel.errors import TapeCorrupt
from sentinel.pipeline import LanePlan
from sentinel.pipeline.inputs import Replan, spare_of
from sentinel.replay import l2
from sentinel.replay.capture import tape_from
from sentinel.replay.l2 import L2Archiver, read_state
from sentinel.run.archive import archive
from sentinel.simulator.faults import Fault
from sentinel.simulator.faults import Kind as FaultKind
from sentinel.timing.instants import NS_PER_S
from tests.captures import ADVANCED, capture
from tests.end_to_end.judge import TruthFile
from tests.sentinel.l2_judge import CADENCE_NS, WatchedBooks, judge_bins, judge_books, judge_frames, moved
from tests.sentinel.recorded import record
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.patient import patience
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD"]
FAULTS = (
    [
        Fault(kind="drop", at_s=1.0, channel="l2_data", feed="advanced"),
        Fault(kind="abort", at_s=2.0, feed="advanced"),
    ],
    [
        Fault(kind="corrupt", at_s=0.5, feed="advanced"),
        Fault(kind="duplicate", at_s=1.0),
        Fault(kind="cross", at_s=1.5, duration_s=0.4),
    ],
)
"""Of each run."""

FAR = 2**62


@pytest.fixture(scope="module", autouse=True)
def as_it_was_recorded() -> Iterator[None]:
    with patience():
        yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WatchedBooks]:
    """Two runs with faults, and the exchange's own books all the while."""
    folder = tmp_path_factory.mktemp("recorded")
    watched = WatchedBooks()

    async def run() -> None:
        async with trading(PRODUCTS, folder / "truth.jsonl", levels=80, rate=60, trade_rate=20) as exchange:
            with watched.watch(exchange):
                for seconds, faults in zip((4.0, 3.0), FAULTS, strict=True):
                    await record(exchange, folder / "data", PRODUCTS, seconds, faults)

    asyncio.run(run())
    L2Archiver(folder / "data" / TAPES, folder / "data" / ARCHIVE, FAR, is_over=True).write_hours(from_start=True)
    return folder / "data", watched


def span(data_dir: Path) -> tuple[int, int]:
    """From the start to a sample before the last frame of a book: what comes while a lane is closed proves nothing."""
    records = [record for file in tape_files(data_dir / TAPES) for record in read_tape(file)]
    last_ns = max(record.received_ns for record in records if b"l2_data" in record.payload[:40])
    return records[0].received_ns, last_ns - CADENCE_NS


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_book_at_any_instant_is_the_exchanges_own(recorded: tuple[Path, WatchedBooks], product: str) -> None:
    data_dir, watched = recorded
    equal, refused = judge_books(data_dir, product, watched, span(data_dir))
    assert equal > 500
    assert refused > 10, "the faults cost nothing"


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_bins_of_the_past_are_those_that_were_sampled(recorded: tuple[Path, WatchedBooks], product: str) -> None:
    assert judge_bins(recorded[0], product, span(recorded[0])) > 14 * 30


def is_whole(truth: TruthFile, number: int) -> bool:
    """Whether a connection was sent the book of its product after whatever struck it."""
    struck_ns = max((fault["end_ns"] for fault in truth.faults if fault["connection"] == number), default=0)
    return any(told["connection"] == number and told["t_ns"] > struck_ns for told in truth.snapshots)


def has_faults(truth: Path, count: int) -> bool:
    return len(TruthFile(truth).faults) == count


async def test_of_two_connections_the_other_one_goes_on(tmp_path: Path) -> None:
    """Whichever is struck: the book is the exchange's at every instant, and no hole is left."""
    watched, truth, data = WatchedBooks(), tmp_path / "truth.jsonl", tmp_path / "data"
    kinds: tuple[FaultKind, ...] = ("drop", "abort", "corrupt", "drop", "abort")
    async with trading(PRODUCTS, truth, levels=80, rate=60) as exchange:

        def are_whole() -> bool:
            told, numbers = TruthFile(truth), [line.number for line in exchange.connections if line.feed == "advanced"]
            return len(numbers) == 4 and all(is_whole(told, number) for number in numbers)

        with watched.watch(exchange):
            patient = {"module": "tests.servers.patient"}
            async with collecting(exchange.urls, data, *PRODUCTS, "--connections", "2", **patient) as collector:
                for number, kind in enumerate(kinds, 1):
                    await until(are_whole)
                    await exchange.heard()
                    exchange.arm(Fault(kind=kind, channel="l2_data", feed="advanced"))
                    await until(partial(has_faults, truth, number))
                await until(are_whole)
                await exchange.heard()
                assert await collector.stop() == 0
    L2Archiver(data / TAPES, data / ARCHIVE, FAR, is_over=True).write_hours(from_start=True)
    assert tuple(fault["fault"] for fault in TruthFile(truth).faults) == kinds
    first_ns, last_ns = span(data)
    for product in PRODUCTS:
        held = sentinel.data.changes(product, first_ns, last_ns, data_dir=data)
        begun_ns = held.holes[0].end_ns
        lost = [hole for hole in held.holes if begun_ns < hole.start_ns < last_ns]
        assert not lost, lost
        equal, _ = judge_books(data, product, watched, (begun_ns, last_ns), 300)
        assert equal == 300


# Hours, and passes over them


def hashes(root: Path) -> dict[str, str]:
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("hour=*.parquet"))
    }


@pytest.fixture
def over_an_hour(recorded: tuple[Path, WatchedBooks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same tape as if an hour had ended in the middle of its first run, when the book was back after the first
    fault and before the second, in files of a second."""
    monkeypatch.setattr(l2, "SETTLED_NS", 500_000_000)
    source = recorded[0] / TAPES
    truth = TruthFile(recorded[0].with_name("truth.jsonl"))
    drop, abort = (next(fault for fault in truth.faults if fault["fault"] == kind) for kind in ("drop", "abort"))
    of_it = (told["t_ns"] for told in truth.snapshots if told["connection"] == drop["connection"])
    back_ns = min(told_ns for told_ns in of_it if told_ns > drop["end_ns"])
    moved(source, tmp_path / TAPES, -((back_ns + abort["start_ns"]) // 2 % HOUR_NS), max_age_s=1.0)
    assert len(tape_files(tmp_path / TAPES)) >= 5
    return tmp_path


def hour_end(data_dir: Path) -> int:
    first_ns = next(read_tape(tape_files(data_dir / TAPES)[0])).received_ns
    return first_ns - first_ns % HOUR_NS + HOUR_NS


def test_hours_written_one_by_one_are_those_written_at_once(over_an_hour: Path) -> None:
    tapes, end_ns = over_an_hour / TAPES, hour_end(over_an_hour)
    L2Archiver(tapes, over_an_hour / "once", FAR, is_over=True, keeps_state=False).write_hours(from_start=True)
    first = L2Archiver(tapes, over_an_hour / "twice", end_ns, is_over=False)
    first.write_hours(from_start=False)
    state = read_state(tapes)
    assert state is not None
    assert state.at_ns == end_ns
    for file in tape_files(tapes):  # what is archived may go
        if file.name < state.file:
            file.unlink()
    second = L2Archiver(tapes, over_an_hour / "twice", FAR, is_over=True)
    second.write_hours(from_start=False)
    assert {file.name for file in first.files} != {file.name for file in second.files}
    assert hashes(over_an_hour / "twice") == hashes(over_an_hour / "once")
    assert len(hashes(over_an_hour / "once")) == 4


def test_a_pass_that_is_killed_anywhere_is_made_good_by_the_next(over_an_hour: Path) -> None:
    """At any write of a file: what is there is whole, and the outcome the same."""
    tapes, root, rng = over_an_hour / TAPES, over_an_hour / ARCHIVE, random.Random(15)
    L2Archiver(tapes, over_an_hour / "once", FAR, is_over=True, keeps_state=False).write_hours(from_start=True)
    wanted = hashes(over_an_hour / "once")
    for _ in range(8):
        shutil.rmtree(root, ignore_errors=True)
        (tapes / L2_STATE).unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", dying(rng.randrange(10)))
            for until_ns in (hour_end(over_an_hour), FAR):
                try:
                    archiver = L2Archiver(tapes, root, until_ns, is_over=until_ns == FAR)
                    archiver.write_hours(from_start=False)
                except Killed:
                    break
        assert hashes(root).items() <= wanted.items()
        L2Archiver(tapes, root, FAR, is_over=True).write_hours(from_start=False)
        assert hashes(root) == wanted


class Killed(BaseException):
    """The process is gone."""


def dying(after: int) -> object:
    """``Path.replace`` that works so many times."""
    replace, left = Path.replace, [after]

    def once(self: Path, target: Path) -> Path:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return replace(self, target)

    return once


def test_a_damaged_tape_is_told_and_costs_what_follows_in_its_run(over_an_hour: Path) -> None:
    tapes = over_an_hour / TAPES
    victim = tape_files(tapes)[2]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    archiver = L2Archiver(tapes, over_an_hour / ARCHIVE, FAR, is_over=True)
    with pytest.raises(TapeCorrupt):
        archiver.write_hours(from_start=True)
    product = PRODUCTS[0]
    times = [record.received_ns for record in read_tape(tape_files(tapes)[-1])]
    found = sentinel.data.changes(product, hour_end(over_an_hour) - HOUR_NS, times[-1], data_dir=over_an_hour)
    assert "undecodable" in {hole.cause for hole in found.holes}
    assert found.table["time"].cast("int64").to_pylist()[-1] > times[0], "the second run is there again"


def test_a_book_is_written_at_the_start_of_each_hour(over_an_hour: Path) -> None:
    L2Archiver(over_an_hour / TAPES, over_an_hour / ARCHIVE, FAR, is_over=True).write_hours(from_start=True)
    end_ns = hour_end(over_an_hour)
    for product in PRODUCTS:
        market = Market("coinbase", product)
        table = pq.read_table(Series(L2, market).file(over_an_hour / ARCHIVE, end_ns), partitioning=None)
        assert table["kind"][0].as_py() == "book"
        assert table["time"].cast("int64")[0].as_py() == end_ns
        before = sentinel.data.order_book(product, end_ns - 1, data_dir=over_an_hour)
        after = sentinel.data.order_book(product, end_ns, data_dir=over_an_hour)
        assert (before.bids, before.asks, before.venue_ns) == (after.bids, after.asks, after.venue_ns)


# The command, and certificates


@pytest.mark.parametrize("later_s", [2.0, 3600.0])
def test_an_hour_under_way_is_taken_on_request(over_an_hour: Path, later_s: float) -> None:
    """As far as asked for, or as there is anything; and anew when it is over."""
    tapes, end_ns = over_an_hour / TAPES, hour_end(over_an_hour)
    L2Archiver(tapes, over_an_hour / "once" / ARCHIVE, FAR, is_over=True, keeps_state=False).write_hours(
        from_start=True
    )
    until_ns = end_ns + round(later_s * 1e9) - 1
    arguments = ["--data-dir", str(over_an_hour), "--until"]
    done = CliRunner().invoke(archive, [*arguments, str(until_ns)])
    assert done.exit_code == 0, done.output
    last_ns = next(reversed(list(read_tape(tape_files(tapes)[-1])))).received_ns
    for product in PRODUCTS:
        asked = product, end_ns - HOUR_NS, min(until_ns, last_ns)
        found = sentinel.data.changes(*asked, data_dir=over_an_hour)
        wanted = sentinel.data.changes(*asked, data_dir=over_an_hour / "once")
        assert found.table.equals(wanted.table)
        assert found.holes == wanted.holes
        with pytest.raises(sentinel.data.NoBook, match="not_archived" if until_ns < last_ns else "stopped"):
            sentinel.data.order_book(product, until_ns, data_dir=over_an_hour)
    done = CliRunner().invoke(archive, [*arguments, str(end_ns + HOUR_NS)])
    assert done.exit_code == 0, done.output
    assert hashes(over_an_hour / ARCHIVE) == hashes(over_an_hour / "once" / ARCHIVE)


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    tape_from(capture(f"{ADVANCED}/raw.jsonl.zst"), tmp_path / TAPES)
    return tmp_path


def test_the_command_archives_a_capture_and_verify_holds_it_against_the_tape(captured: Path) -> None:
    for _ in range(2):
        done = CliRunner().invoke(archive, ["--data-dir", str(captured)])
        assert done.exit_code == 0, done.output
        assert "2 files written" in done.stdout
    assert len(list((captured / "certificates").rglob("hour=*.json"))) == 2, "the second time nothing had changed"
    done = CliRunner().invoke(verify_command, ["--data-dir", str(captured)])
    assert done.exit_code == 0, done.output
    assert "74,1" in done.output, "rows made again"


def test_a_changed_byte_and_a_changed_price_are_seen(captured: Path) -> None:
    CliRunner().invoke(archive, ["--data-dir", str(captured)])
    file = next((captured / ARCHIVE).rglob("hour=*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    done = CliRunner().invoke(verify_command, ["--data-dir", str(captured)])
    assert done.exit_code == 1
    assert file.name in done.output


def test_a_capture_gives_at_any_instant_the_book_of_its_frames(captured: Path) -> None:
    CliRunner().invoke(archive, ["--data-dir", str(captured)])
    for product in PRODUCTS:
        assert judge_frames(captured, product, 100) > 80


# Connections that are succeeded, products that join and leave


def succeeded(tapes: Path, handed: tuple[Market, ...]) -> int:
    """A tape over the end of an hour, which is given. Before it a connection is succeeded while another product leaves,
    perhaps ``handed`` over, and one joins; after it the joiner's connection is succeeded, and ends."""
    end_ns = 1_790_000_000_000_000_000 // HOUR_NS * HOUR_NS
    began_ns = end_ns - 4 * NS_PER_S
    plans = planned(("BTC-USD", "ETH-USD"))
    header = {"created_ns": began_ns, "settings": {"collector": "tester"}, "books": {"coinbase": "coinbase_advanced"}}
    tape = TapeWriter(tapes, header | {"lanes": msgspec.to_builtins(plans)})
    carried: dict[int, tuple[str, ...]] = {}
    numbers: dict[int, int] = {}

    def say(at_ns: int, lane: int, channel: str, events: list[object]) -> None:
        number = numbers[lane] = numbers.get(lane, -1) + 1
        head = {"channel": channel, "timestamp": "2026-09-07T01:57:58Z", "sequence_num": number, "events": events}
        tape.write(Kind.FRAME, lane, at_ns, msgspec.json.encode(head))

    def book(at_ns: int, lane: int, kind: str, product: str, size: int) -> None:
        bid = {"side": "bid", "price_level": "99", "new_quantity": str(size)}
        ask = {"side": "offer", "price_level": "101", "new_quantity": "1"}
        updates = [bid, ask] if kind == "snapshot" else [bid]
        say(at_ns, lane, "l2_data", [{"type": kind, "product_id": product, "updates": updates}])

    def begin(at_ns: int, lane: int, *products: str, size: int) -> None:
        tape.write(Kind.OPENED, lane, at_ns, b"0")
        carried[lane] = products
        say(at_ns, lane, "subscriptions", [{"subscriptions": {"level2": list(products)}}])
        for product in products:
            book(at_ns, lane, "snapshot", product, size)

    tape.write(Kind.START, 0, began_ns, b"")
    for step in range(200):
        at_ns = began_ns + step * 40_000_000
        match step:
            case 0:
                begin(at_ns, 0, "BTC-USD", "ETH-USD", size=step)
            case 40:
                begin(at_ns, spare_of(0), "BTC-USD", "ETH-USD", size=step)
            case 50:
                plans = planned(("BTC-USD",), ("SOL-USD",))
                tape.write(*record_of(Replan(tuple(plans), (), handed), at_ns))
                tape.amend({"lanes": msgspec.to_builtins(plans)})
            case 52:
                begin(at_ns, 1, "SOL-USD", size=step)
            case 120:
                begin(at_ns, spare_of(1), "SOL-USD", size=step)
            case 180:
                tape.write(Kind.CLOSED, spare_of(1), at_ns, b"disconnected")
                del carried[spare_of(1)]
        for lane, retired in ((0, 70), (1, 150)):
            if step == retired:
                tape.write(Kind.CLOSED, lane, at_ns, b"disconnected")
                del carried[lane]
        for lane, products in carried.items():
            for product in products:
                book(at_ns + 1, lane, "update", product, step + 1)
        tape.write(Kind.TICK, 0, at_ns + 20_000_000, b"")
        tape.flush()
    tape.close()
    return end_ns


def planned(*carried: tuple[str, ...]) -> list[LanePlan]:
    channels = frozenset({"book"})
    return [
        LanePlan(lane, "coinbase_advanced", Subscription(channels, products)) for lane, products in enumerate(carried)
    ]


@pytest.mark.parametrize(("handed", "cause"), [((), "delisted"), ((Market("coinbase", "ETH-USD"),), "not_collected")])
def test_a_connection_that_is_succeeded_and_products_that_join_and_leave_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handed: tuple[Market, ...], cause: str
) -> None:
    monkeypatch.setattr(l2, "SETTLED_NS", 500_000_000)
    tapes = tmp_path / TAPES
    end_ns = succeeded(tapes, handed)
    L2Archiver(tapes, tmp_path / "once", FAR, is_over=True, keeps_state=False).write_hours(from_start=True)
    for until_ns in (end_ns, FAR):
        L2Archiver(tapes, tmp_path / "twice", until_ns, is_over=until_ns == FAR).write_hours(from_start=False)
    assert hashes(tmp_path / "twice") == hashes(tmp_path / "once")

    def rows(symbol: str, hour_ns: int) -> list[dict[str, object]]:
        table = pq.read_table(Series(L2, Market("coinbase", symbol)).file(tmp_path / "once", hour_ns))
        names = ["time", "side", "size", "cause"]
        return table.select(names).set_column(0, "time", table["time"].cast(pa.int64())).to_pylist()

    def lost(symbol: str, hour_ns: int) -> list[tuple[object, int]]:
        return [(row["cause"], int(str(row["time"])) - end_ns) for row in rows(symbol, hour_ns) if row["cause"]]

    step_ns, before_ns = 40_000_000, end_ns - HOUR_NS
    began_ns = -4 * NS_PER_S
    assert [cause for cause, _ in lost("ETH-USD", before_ns)] == ["not_collected", cause]
    assert not Series(L2, Market("coinbase", "ETH-USD")).file(tmp_path / "once", end_ns).exists()
    assert lost("SOL-USD", before_ns) == [("not_collected", began_ns + 50 * step_ns)]
    assert [cause for cause, _ in lost("SOL-USD", end_ns)] == ["disconnected"]
    assert [lost("BTC-USD", hour_ns) for hour_ns in (before_ns, end_ns)] == [
        [("not_collected", began_ns)],
        [("stopped", began_ns + 199 * step_ns + 1)],
    ]
    for symbol, last in (("BTC-USD", 200), ("SOL-USD", 180)):
        sizes = [int(str(row["size"]).split(".")[0]) for row in rows(symbol, end_ns) if row["side"] == "bid"]
        assert set(range(101, last + 1)) <= set(sizes)
