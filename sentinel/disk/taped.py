"""Inputs of the pipeline as records of a tape, and back: the only place that knows how each is written."""

from __future__ import annotations

from typing import assert_never

import msgspec

from sentinel.contract.gaps import Cause
from sentinel.disk.tape import Kind, Record
from sentinel.pipeline import inputs
from sentinel.pipeline.inputs import Input


def record_of(given: Input, now_ns: int) -> Record:
    """The record of an input that happened at ``now_ns``."""
    match given:
        case inputs.Start(checkpoint):
            return Record(Kind.START, 0, now_ns, checkpoint)
        case inputs.Opened(lane, step_ms):
            return Record(Kind.OPENED, lane, now_ns, b"%d" % step_ms)
        case inputs.Closed(lane, cause):
            return Record(Kind.CLOSED, lane, now_ns, cause.encode())
        case inputs.Frame(lane, frame):
            return Record(Kind.FRAME, lane, now_ns, frame)
        case inputs.RepairAnswer():
            return Record(Kind.REPAIR, 0, now_ns, msgspec.msgpack.encode(given))
        case inputs.BookAnswer():
            return Record(Kind.BOOK, 0, now_ns, msgspec.msgpack.encode(given))
        case inputs.FetchedBook():
            return Record(Kind.FETCHED, given.lane, now_ns, msgspec.msgpack.encode(given))
        case inputs.Replan():
            return Record(Kind.REPLAN, 0, now_ns, msgspec.msgpack.encode(given))
        case inputs.Step(step_ns):
            return Record(Kind.STEP, 0, now_ns, b"%d" % step_ns)
        case inputs.Tick() | inputs.Suspend() | inputs.Resume() | inputs.Stop():
            return Record(BARE[type(given)], 0, now_ns, b"")
        case _:
            assert_never(given)


BARE: dict[type, Kind] = {
    inputs.Tick: Kind.TICK,
    inputs.Suspend: Kind.SUSPEND,
    inputs.Resume: Kind.RESUME,
    inputs.Stop: Kind.STOP,
}
"""Inputs that have nothing to say but that they happened."""

MADE_OF = {kind: of for of, kind in BARE.items()}


def input_of(record: Record) -> Input:
    """The input a record is of.

    Raises:
        ValueError: if it says nothing known.
    """
    kind, lane, _, payload = record
    match kind:
        case Kind.FRAME:
            return inputs.Frame(lane, payload)
        case Kind.START:
            return inputs.Start(payload)
        case Kind.OPENED:
            return inputs.Opened(lane, int(payload))
        case Kind.CLOSED:
            return inputs.Closed(lane, msgspec.convert(payload.decode(), Cause))
        case Kind.STEP:
            return inputs.Step(int(payload))
        case Kind.REPAIR:
            return msgspec.msgpack.decode(payload, type=inputs.RepairAnswer)
        case Kind.BOOK:
            return msgspec.msgpack.decode(payload, type=inputs.BookAnswer)
        case Kind.FETCHED:
            return msgspec.msgpack.decode(payload, type=inputs.FetchedBook)
        case Kind.REPLAN:
            return msgspec.msgpack.decode(payload, type=inputs.Replan)
        case _:
            given: Input = MADE_OF[kind]()
            return given
