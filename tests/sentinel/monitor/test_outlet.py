"""Whoever writes never waits, whatever the reader does; what is dropped is counted."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import pytest

from sentinel.monitor.outlet import Outlet
from tests.servers.streams import filled_pipe
from tests.servers.waiting import LONGEST_S


@pytest.fixture
def pipe() -> Iterator[tuple[int, IO[str]]]:
    """A reading end, and a stream in front of the writing end of a pipe that is full."""
    reading, writing = filled_pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    with suppress(OSError):
        os.close(reading)


def read_all(reading: int) -> str:
    with os.fdopen(reading, "rb") as file:
        return file.read().decode().replace("x", "")


def test_what_is_written_comes_in_order() -> None:
    stream = io.StringIO()
    with Outlet(stream) as outlet:
        for number in range(1000):
            outlet.write(f"{number}\n")
    assert stream.getvalue().split() == [str(number) for number in range(1000)]


def test_what_an_encoding_does_not_have_is_escaped() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    with Outlet(stream) as outlet:
        outlet.write("1 € · ü\n")
    assert stream.buffer.getvalue() == b"1 \\u20ac \xb7 \xfc\n"  # type: ignore[attr-defined]


def test_a_reader_that_comes_late_gets_the_oldest_and_the_count_of_the_rest(pipe: tuple[int, IO[str]]) -> None:
    reading, stream = pipe
    dropped: list[int] = []
    outlet = Outlet(stream, dropped.append, most_bytes=100)
    for _ in range(30):
        outlet.write("0123456789")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(read_all(reading)))
    reader.start()
    outlet.close(LONGEST_S)
    stream.close()
    reader.join()
    assert got == ["0123456789" * 10]
    assert dropped == [20]


def test_what_is_told_of_the_dropped_can_be_read(pipe: tuple[int, IO[str]]) -> None:
    reading, stream = pipe
    outlet = Outlet(stream, lambda writes: outlet.write(f"{writes} left out"), most_bytes=10)
    for word in ("first", "second"):
        outlet.write(word)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(read_all(reading)))
    reader.start()
    outlet.close(LONGEST_S)
    stream.close()
    reader.join()
    assert got == ["first1 left out"]


def test_a_reader_that_never_comes_does_not_hold_up_the_end(pipe: tuple[int, IO[str]]) -> None:
    reading, stream = pipe
    dropped: list[int] = []
    outlet = Outlet(stream, dropped.append, most_bytes=20)
    for _ in range(3):
        outlet.write("never read")
    outlet.close(0.01)
    assert dropped
    assert outlet._thread.daemon
    assert outlet._thread.is_alive()
    os.close(reading)  # and now it may go
    outlet._thread.join(LONGEST_S)
    assert outlet.is_broken


def test_a_reader_that_has_left_is_noticed(pipe: tuple[int, IO[str]]) -> None:
    reading, stream = pipe
    os.close(reading)
    with Outlet(stream) as outlet:
        outlet.write("too late")
        outlet._thread.join(LONGEST_S)
        assert outlet.is_broken
        outlet.write("and this")


def test_a_stream_that_does_not_wait_either_is_waited_for(pipe: tuple[int, IO[str]]) -> None:
    reading, stream = pipe
    os.set_blocking(stream.fileno(), False)
    outlet = Outlet(stream)
    outlet.write("in spite of that")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(read_all(reading)))
    reader.start()
    outlet.close(LONGEST_S)
    stream.close()
    reader.join()
    assert got == ["in spite of that"]


def test_without_a_stream_there_is_nobody() -> None:
    with Outlet(None) as outlet:
        assert outlet.is_broken
        assert not outlet.isatty()
        outlet.write("nobody")
