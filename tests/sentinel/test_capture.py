"""Recordings by others, made into tapes: the facts known about them come out of the replay."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sentinel.capture import command, tape_from
from sentinel.line_protocol import Point, decode
from sentinel.pipeline import Pipeline
from sentinel.replay import play
from sentinel.tape import Kind, read_tape, tape_files
from tests.captures import ADVANCED, GDAX, capture, lines_of
from tests.sentinel.recorded import gathered


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
    books = {symbol: product.books.lanes[0].book for symbol, product in pipeline.products.items()}
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


@pytest.mark.parametrize(("session", "trades"), [("2018-04-15T2311", 54), ("2018-04-17T0055", 257)])
def test_the_exchange_sessions_of_2018(session: str, trades: int, tmp_path: Path) -> None:
    tape_from(capture(f"{GDAX}/session-{session}.jsonl.zst"), tmp_path)
    pipeline, points = replayed(tmp_path)
    book = pipeline.products["BTC-USD"].books.lanes[0]
    assert book.is_proved
    book.book.check()
    assert len(points["trades"]) == trades
    times = [point.time_ns for point in points["top"]]
    assert len(times) == len(set(times)) > 300
