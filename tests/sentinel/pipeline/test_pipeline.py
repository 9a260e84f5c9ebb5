"""A large frame is read in one turn of the event loop and received in another: the lines know nothing of it."""

from __future__ import annotations

from sentinel.pipeline import Output
from tests.sentinel.pipeline.venue import MS, START, Connection, pipeline


def outcome(*, is_read_ahead: bool) -> tuple[Output, list[object]]:
    pipe, wire = pipeline(), Connection()
    early = wire.snapshot(99.0, 101.0)
    assert pipe.read(0, early) is None  # nobody has opened the socket
    pipe.opened(0, START)
    frames = [early, wire.update(("bid", 100.0, 2.0)), b'{"channel":"l2_data",', wire.trades(1, 2)]
    wire.beat()  # lost
    frames += [wire.beat(), wire.snapshot(98.0, 101.0), wire.beat()]
    for number, frame in enumerate(frames):
        now_ns = START + number * 90 * MS
        meaning = pipe.read(0, frame) if is_read_ahead else None
        assert (meaning is None) == (not is_read_ahead or frame.endswith(b","))
        pipe.tick(now_ns)
        pipe.receive(0, frame, now_ns, meaning)
    pipe.stop(START + 900 * MS)
    return pipe.take(), list(pipe.commands)


def test_reading_ahead_changes_nothing() -> None:
    ahead, at_once = outcome(is_read_ahead=True), outcome(is_read_ahead=False)
    assert ahead == at_once
    assert len(ahead[0].book) > 3
    assert [note.event for note in ahead[0].notes].count("undecodable") == 1
