"""Recordings by others, made into tapes: the facts known about them come out of the replay."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

from feeds.market import Market
from sentinel.contract.line_protocol import Point, decode
from sentinel.disk.tape import Kind, TapeWriter, read_tape, tape_files
from sentinel.errors import UsageError
from sentinel.pipeline import Pipeline
from sentinel.replay.capture import command, tape_from
from sentinel.replay.play import play
from sentinel.simulator.coinbase.reader import CoinbaseReader
from sentinel.simulator.recording import load
from tests.captures import ADVANCED, GDAX, capture, lines_of
from tests.sentinel.recorded import gathered

READERS = [CoinbaseReader()]


def replayed(tape: Path) -> tuple[Pipeline, dict[str, list[Point]]]:
    """The last state, and points by measurement."""
    steps = list(play(tape_files(tape)))
    found: dict[str, list[Point]] = {}
    for text in gathered([steps[-1].pipeline.take()]).values():
        for line in text.splitlines():
            point = decode(line)
            found.setdefault(point.measurement, []).append(point)
    return steps[-1].pipeline, found


def test_the_advanced_recording(tmp_path: Path) -> None:
    path = capture(f"{ADVANCED}/raw.jsonl.zst")
    done = CliRunner().invoke(command, [str(path), "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    frames = [record for file in tape_files(tmp_path) for record in read_tape(file) if record.kind == Kind.FRAME]
    assert [record.payload for record in frames] == lines_of(f"{ADVANCED}/raw.jsonl.zst")
    received = lines_of(f"{ADVANCED}/raw.recv_ts.txt.zst")
    assert [record.received_ns for record in frames] == [round(float(text) * 1e9) for text in received]

    pipeline, points = replayed(tmp_path)
    books = {market.symbol: product.books.lanes[0].book for market, product in pipeline.products.items()}
    tops = {symbol: book.top() for symbol, book in books.items()}
    assert tops["BTC-USD"] is not None
    assert tops["ETH-USD"] is not None
    assert (tops["BTC-USD"].bid, tops["BTC-USD"].ask) == (65083.66, 65083.67)
    assert (tops["ETH-USD"].bid, tops["ETH-USD"].ask) == (1919.28, 1919.38)
    assert {symbol: (len(book.bids), len(book.asks)) for symbol, book in books.items()} == {
        "BTC-USD": (18_769, 27_238),
        "ETH-USD": (6_925, 16_403),
    }
    assert len(points["trades"]) == 279
    assert len(points["top"]) > 400
    assert not [point for point in points.get("gaps", []) if dict(point.tags)["channel"] == "book"]


def match(number: int) -> str:
    time = (
        f"2026-08-09T{number // 36_000 % 24:02d}:{number // 600 % 60:02d}:{number // 10 % 60:02d}.{number % 10}00000Z"
    )
    return (
        f'{{"type":"match","trade_id":{number + 1},"side":"buy","size":"0.1","price":"100.1",'
        f'"product_id":"BTC-USD","sequence":{number},"time":"{time}","padding":"{number:0100d}"}}'
    )


def matches(path: Path, count: int) -> Path:
    """A capture of so many frames, each of 250 bytes, packed in two frames of zstd."""
    with path.open("wb") as file:
        for half in (range(count // 2), range(count // 2, count)):
            text = "".join(f"{match(number)}\n" for number in half)
            file.write(zstandard.ZstdCompressor().compress(text.encode()))
    return path


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_tape_is_made_frame_by_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.replay.capture.BLOCK_BYTES", 2**18)
    path = matches(tmp_path / "raw.jsonl.zst", 8_000)
    assert peak_bytes(lambda: tape_from(path, tmp_path / "tape")) < 1_500_000
    frames = [record.payload for file in tape_files(tmp_path / "tape") for record in read_tape(file)]
    assert [frame for frame in frames if frame.startswith(b"{")] == [match(number).encode() for number in range(8_000)]


@pytest.mark.parametrize("is_tape", [False, True])
def test_a_recording_is_played_from_where_it_is(tmp_path: Path, is_tape: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.replay.capture.BLOCK_BYTES", 2**18)
    path = matches(tmp_path / "raw.jsonl.zst", 8_000)
    if is_tape:
        tape_from(path, tmp_path / "tape")
    source = tmp_path / "tape" if is_tape else path

    def play() -> None:
        (recording,) = load(source, READERS)
        for _ in range(2):  # each connection hears it from the beginning
            frames = recording.frames()
            assert next(frames)[1].text == match(0)
            assert sum(1 for _ in frames) == 7_999

    assert peak_bytes(play) < 1_500_000


def test_the_connections_of_a_tape_are_told_apart_in_the_order_of_opening(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path, {"created_ns": 1})
    for lane in (0, 1):
        tape.write(Kind.OPENED, lane, 1, b"0")
    tape.write(Kind.FRAME, 1, 2, match(1).encode())
    tape.write(Kind.FRAME, 0, 3, match(2).encode())
    tape.write(Kind.OPENED, 0, 4, b"0")
    tape.flush()
    tape.write(Kind.FRAME, 1, 5, match(3).encode())
    tape.write(Kind.FRAME, 0, 6, match(4).encode())
    tape.close()
    heard = [[frame.text for _, frame in recording.frames()] for recording in load(tmp_path, READERS)]
    assert heard == [[match(2)], [match(1), match(3)], [match(4)]]


def refused(capture: Path, output: Path) -> str:
    done = CliRunner().invoke(command, [str(capture), "--output", str(output)])
    assert isinstance(done.exception, UsageError), done.exception
    words = str(done.exception)
    assert "\n" not in words
    return words


UNREADABLE: dict[str, bytes] = {
    "nothing.jsonl": b"",
    "words.jsonl": b"hello\nworld\n",
    "list.jsonl": b"[1,2]\n" * 3,
    "deep.jsonl": b"[" * 100_000,
    "other.jsonl": b'{"event":"trade","channel":"live_trades_btcusd","data":{"id":1,"price":8000.5,"type":0}}\n',
    "wrapped.jsonl": b'{"received":1,"message":{"type":"match","product_id":"BTC-USD"}}\n',
    "latin.jsonl": b'{"type":"match","product_id":"\xe9"}\n',
    "packed.jsonl.zst": b"no zstd at all",
    "empty.jsonl.zst": b"",
    "notes.txt": b"no tape at all",
    "bare.swtape": b"SWTAPE1\n",
    "damaged.swtape": b"SWTAPE1\n" + b"\x01" * 64,
}


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_what_cannot_be_read_is_refused_and_leaves_no_tape(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(UNREADABLE[name])
    assert name in refused(tmp_path / name, tmp_path / "tape")
    assert not (tmp_path / "tape").exists()


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.jsonl.zst", "missing"])
def test_what_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    assert name in refused(tmp_path / name, tmp_path / "tape")
    assert "folder without a tape" in refused(tmp_path, tmp_path / "tape")


@pytest.mark.parametrize(
    "folder", ["kraken-python-kraken-sdk", "okx-cryptofeed-2022-05-13", "bitstamp-cryptofeed-2022-01-05"]
)
def test_recordings_of_other_venues_are_refused(tmp_path: Path, folder: str) -> None:
    found = [path for ending in ("*.jsonl", "*.jsonl.zst") for path in capture(folder).rglob(ending)]
    for path in found:
        assert "holds no frames of a Coinbase" in refused(path, tmp_path / "tape")


def test_times_of_the_recorder_or_else_of_the_messages(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text('{"type":"subscriptions"}\n' + match(10) + "\r\n" + match(20))
    said_ns = 1_786_233_601_000_000_000
    (recording,) = load(path, READERS)
    assert recording.first_ns == said_ns
    assert [offset_ns for offset_ns, _ in recording.frames()] == [0, 0, 10**9]
    stamps = tmp_path / "raw.recv_ts.txt"
    for text, wanted in (
        ("1.5\n2.5\n4.0\n", [0, 10**9, 25 * 10**8]),
        ("1.5\n2.5\n", [0, 0, 10**9]),
        ("1\n2\n3\n", [0, 0, 10**9]),
    ):
        stamps.write_text(text)
        (recording,) = load(path, READERS)
        assert [offset_ns for offset_ns, _ in recording.frames()] == wanted
    stamps.write_text("1.5\nsoon\n2\n")
    assert "raw.jsonl cannot be read" in refused(path, tmp_path / "tape")


def test_one_folder_takes_one_tape(tmp_path: Path) -> None:
    path = matches(tmp_path / "raw.jsonl.zst", 10)
    tape_from(path, tmp_path / "tape")
    before = {file: file.read_bytes() for file in (tmp_path / "tape").iterdir()}
    assert "already" in refused(path, tmp_path / "tape")
    assert {file: file.read_bytes() for file in (tmp_path / "tape").iterdir()} == before
    (tmp_path / "file").write_text("")
    assert "cannot write to" in refused(path, tmp_path / "file")
    assert "cannot write to" in refused(path, tmp_path / "file" / "tape")


def test_a_disk_that_refuses_leaves_no_part_of_a_tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.replay.capture.BLOCK_BYTES", 1000)
    synced = iter([None, None])

    def sync(_: int) -> None:
        if next(synced, "full") == "full":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", sync)
    path = matches(tmp_path / "raw.jsonl.zst", 100)
    assert "No space left" in refused(path, tmp_path / "tape")
    assert not list((tmp_path / "tape").iterdir())


@pytest.mark.parametrize(("session", "trades"), [("2018-04-15T2311", 54), ("2018-04-17T0055", 257)])
def test_the_exchange_sessions_of_2018(session: str, trades: int, tmp_path: Path) -> None:
    tape_from(capture(f"{GDAX}/session-{session}.jsonl.zst"), tmp_path)
    pipeline, points = replayed(tmp_path)
    book = pipeline.products[Market.parse("BTC-USD")].books.lanes[0]
    assert book.is_proved
    book.book.check()
    assert len(points["trades"]) == trades
    times = [point.time_ns for point in points["top"]]
    assert len(times) == len(set(times)) > 300


SNAPSHOT = {
    "channel": "l2_data",
    "timestamp": "2026-08-25T12:00:00Z",
    "sequence_num": 0,
    "events": [{"type": "snapshot", "product_id": "BTC-USD", "updates": []}],
}


@pytest.mark.parametrize(
    "odd",
    [
        {"channel": "heartbeats", "events": []},
        {"channel": "heartbeats", "events": None},
        {"channel": "heartbeats", "events": [{}]},
        {"channel": "heartbeats", "events": [{"heartbeat_counter": None}]},
        {"events": 5},
        {"events": True},
        {"events": [{"product_id": 5}]},
        {"events": [{"product_id": {}}]},
        {"events": [{"trades": 5}]},
        {"events": [{"trades": [dict.fromkeys(("product_id", "trade_id", "price", "size", "side", "time"), 5)]}]},
        {"sequence_num": 10**30},
        {"timestamp": "9999-12-31T23:59:59Z"},
        {"timestamp": {}},
    ],
)
def test_an_odd_frame_of_a_capture_is_on_the_tape_like_any_other(tmp_path: Path, odd: dict[str, object]) -> None:
    lines = [json.dumps(frame) for frame in (SNAPSHOT, SNAPSHOT | {"sequence_num": 1} | odd, SNAPSHOT)]
    path = tmp_path / "raw.jsonl"
    path.write_text("\n".join(lines))
    tape_from(path, tmp_path / "tape")
    frames = [record for record in read_tape(tape_files(tmp_path / "tape")[0]) if record.kind == Kind.FRAME]
    assert [record.payload.decode() for record in frames] == lines
    assert replayed(tmp_path / "tape")[0].lanes[0].counts.received == 3


@pytest.mark.parametrize("time", ["inf", "nan", "1e300", "-1.5", "noon"])
def test_a_time_that_no_tape_can_hold_is_told(tmp_path: Path, time: str) -> None:
    (tmp_path / "raw.jsonl").write_text(f"{json.dumps(SNAPSHOT)}\n" * 2)
    (tmp_path / "raw.recv_ts.txt").write_text(f"1.5\n{time}\n")
    with pytest.raises(UsageError, match="cannot be read"):
        tape_from(tmp_path / "raw.jsonl", tmp_path / "tape")


def test_a_line_without_end_is_told_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    with path.open("wb") as file:
        file.truncate(2**31)  # a hole: zeros that take no place
    with pytest.raises(UsageError, match="a line of more than"):
        tape_from(path, tmp_path / "tape")
