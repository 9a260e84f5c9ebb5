"""Connections, losses and answers are read from tapes, each record once, wherever reading stopped before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from book.events import Trade
from feeds.protocol import Subscription
from sentinel.disk.tape import TapeWriter, remove, tape_files
from sentinel.disk.taped import record_of
from sentinel.pipeline.inputs import Closed, Frame, Input, LanePlan, Opened, RepairAnswer, Start, Step, Stop, spare_of
from sentinel.qualify.tapes import Answer, FeedState, TapeReader, TapeState

S = 1_000_000_000
FEED = "coinbase_advanced"
LANES = [LanePlan(0, FEED, Subscription(frozenset({"book", "trades"}), ("BTC-USD",)))]


def heartbeat(number: int) -> bytes:
    return (
        b'{"channel":"heartbeats","timestamp":"2026-01-01T00:00:00.123456Z","sequence_num":%d,'
        b'"events":[{"current_time":"","heartbeat_counter":%d}]}' % (number, number)
    )


def trades(number: int, *ids: int) -> bytes:
    told = ",".join(
        f'{{"product_id":"BTC-USD","trade_id":"{each}","price":"5","size":"1","side":"BUY",'
        '"time":"1970-01-01T00:00:09.5Z"}'
        for each in ids
    )
    events = f'[{{"type":"update","trades":[{told}]}}]'
    head = f'{{"channel":"market_trades","timestamp":"2026-01-01T00:00:00.123456Z","sequence_num":{number}'
    return f'{head},"events":{events}}}'.encode()


class Tape:
    """A tape that is written by seconds."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        header = {"created_ns": 0, "lanes": msgspec.to_builtins(LANES), "books": {"coinbase": FEED}}
        self._writer = TapeWriter(folder, header, **limits)

    def write(self, *inputs: tuple[float, Input]) -> None:
        """Each in a block of its own."""
        for at_s, given in inputs:
            self._writer.write(*record_of(given, round(at_s * S)))
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def read(folder: Path, *parts: Sequence[tuple[float, Input]]) -> TapeState:
    """What is known after each part was written and read, the reader having been replaced in between."""
    state, tape = TapeState(), Tape(folder)
    for part in parts:
        tape.write(*part)
        state = msgspec.json.decode(msgspec.json.encode(state), type=TapeState)
        TapeReader(folder, state).read()
    tape.close()
    return state


def feed_of(state: TapeState) -> FeedState:
    return state.feeds[FEED]


BEGIN: list[tuple[float, Input]] = [(0, Start()), (1, Opened(0)), (2, Frame(0, heartbeat(0)))]
REST: list[tuple[float, Input]] = [
    (3, Frame(0, heartbeat(1))),
    (4.5, Frame(0, heartbeat(4))),
    (5, Frame(0, heartbeat(3))),
    (5.5, Frame(0, heartbeat(5))),
    (7, Closed(0, "silence")),
    (8, Closed(0, "disconnected")),
    (9, Opened(0)),
    (9.75, Frame(0, trades(0, 7, 6))),
    (10, Stop()),
]


@pytest.mark.parametrize("cut", range(len(REST)))
def test_what_a_connection_did_is_known_wherever_reading_stopped(cut: int, tmp_path: Path) -> None:
    state = read(tmp_path, [*BEGIN, *REST[:cut]], REST[cut:])
    found = feed_of(state)
    assert (found.opened, found.closed, found.failed) == (2, {"silence": 1}, {"disconnected": 1})
    assert (found.frames, found.lost, found.late) == (6, 2, 1)
    assert found.detected_ns == {"sequence": [1_500_000_000], "silence": [1_500_000_000]}
    assert found.reconnects_ns == {"silence": [2 * S]}
    assert [(move.at_ns // S, move.event, move.cause, move.after_s) for move in state.transitions] == [
        (1, "opened", "", None),
        (7, "closed", "silence", 6.0),
        (8, "failed", "disconnected", None),
        (9, "opened", "", 2.0),
    ]
    assert state.last_ns == 10 * S
    assert state.wires["coinbase"]["advanced.first-number"].contradicted == 0
    assert (state.delays["coinbase"].count, state.delays["coinbase"].least_ns) == (2, S // 4)


def test_a_connection_whose_successor_is_at_work_is_replaced_and_not_lost(tmp_path: Path) -> None:
    spare = spare_of(0)
    state = read(
        tmp_path,
        [
            *BEGIN,
            (3, Opened(spare)),
            (3.5, Frame(spare, heartbeat(0))),
            (4, Closed(0, "disconnected")),
            (9, Opened(0)),
            (10, Closed(spare, "disconnected")),
            (11, Closed(0, "disconnected")),
        ],
    )
    found = feed_of(state)
    assert (found.opened, found.replaced, found.closed) == (3, 2, {"disconnected": 1})
    assert found.reconnects_ns == {}
    assert found.lost == 0


def test_another_process_ends_what_was_open(tmp_path: Path) -> None:
    state = read(tmp_path, BEGIN, [(20, Start()), (21, Opened(0)), (22, Frame(0, heartbeat(0)))])
    found = feed_of(state)
    assert (found.opened, found.closed, found.lost) == (2, {"stopped": 1}, 0)
    assert [(move.at_ns // S, move.event) for move in state.transitions] == [
        (1, "opened"),
        (2, "closed"),
        (21, "opened"),
    ]
    assert state.starts_ns == [0, 20 * S]


def test_answers_of_rest_steps_of_the_clock_and_odd_frames_are_noted(tmp_path: Path) -> None:
    answer = tuple(Trade("BTC-USD", number, 1.0, 1.0, "buy", 1, is_live=False) for number in (9, 4, 5))
    state = read(
        tmp_path,
        [
            *BEGIN,
            (3, RepairAnswer("BTC-USD", 4, 9, answer, is_complete=True)),
            (4, Step(-7)),
            (5, Frame(0, b'{"channel":"novelty","timestamp":"","sequence_num":1,"events":[]}')),
            (6, Frame(0, b"nonsense")),
            (7, Frame(0, b'{"type":"error","message":"too many L2 streams"}')),
        ],
    )
    assert state.answers == {"coinbase:BTC-USD": [Answer(3 * S, 4, 5), Answer(3 * S, 9, 9)]}
    assert state.steps_ns == [-7]
    found = feed_of(state)
    assert found.undecodable == 1
    assert found.refusals == {"too many L2 streams": 1}


def test_a_folder_without_a_tape_says_nothing(tmp_path: Path) -> None:
    state = TapeState()
    TapeReader(tmp_path / "none", state).read()
    assert state == TapeState()


def test_tapes_are_read_one_after_the_other_and_one_that_was_removed_is_said(tmp_path: Path) -> None:
    tape, state = Tape(tmp_path, max_bytes=1), TapeState()  # a file for each block
    tape.write(*BEGIN)
    TapeReader(tmp_path, state).read()
    assert len(tape_files(tmp_path)) == 3
    tape.write((3, Frame(0, heartbeat(1))), (4, Frame(0, heartbeat(2))))
    for file in tape_files(tmp_path)[:3]:
        remove(file)
    TapeReader(tmp_path, state).read()
    tape.close()
    assert (feed_of(state).frames, state.pruned) == (3, 1)
    assert state.file == tape_files(tmp_path)[-1].name
