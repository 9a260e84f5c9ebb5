"""``sentinel-ws replay``: a tape through the pipeline once more.

The lines are those that were written live, byte for byte and in the same order within each stream; or, with other bins
or another cadence, those that would have been.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from feeds.catalogue import DEFAULT_EXCHANGE, VENUES, venue_of
from feeds.market import Market
from feeds.protocol import Feed
from sentinel.command.options import since_option, until_option
from sentinel.disk.tape import Kind, Record, read_header, read_tape, tape_files
from sentinel.disk.taped import input_of
from sentinel.errors import UNREADABLE, SentinelError, UsageError
from sentinel.pipeline import LanePlan, Output, Pipeline, Settings
from sentinel.pipeline.inputs import Closed, FetchedBook, Frame, Input, Opened
from sentinel.timing.instants import NS_PER_S, parse_instant_ns

NS_PER_MS = 1_000_000


class Changes(NamedTuple):
    """Settings to derive the lines with instead of those on the tape; None leaves one as it was."""

    edges_bps: tuple[Fraction, ...] | None = None
    cadence_ns: int | None = None

    def apply(self, settings: Settings) -> Settings:
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return msgspec.structs.replace(settings, **given)


AS_RECORDED = Changes()


class Step(NamedTuple):
    """One input, and the pipeline that has just taken it in."""

    record: Record
    pipeline: Pipeline


class Due(NamedTuple):
    """One input, where it is, and the pipeline that is to take it in."""

    file: Path
    record: Record
    given: Input
    pipeline: Pipeline

    def feed(self) -> None:
        self.pipeline.feed(self.given, self.record.received_ns)
        self.pipeline.commands.clear()


class Middle(NamedTuple):
    """A place in the first of some files, where ``pipeline`` is that of the run: before the record at ``at_ns``."""

    pipeline: Pipeline
    at_ns: int


def play(
    files: Sequence[Path],
    changes: Changes = AS_RECORDED,
    passed: Callable[[Path, int], object] = lambda file, offset: None,
) -> Iterator[Step]:
    """Plays a tape, each run of the collector through a pipeline of its own.

    ``passed`` is told how far into which file it has got. What comes before the first start of a run is left out:
    nobody knows the books of that moment.

    Raises:
        UsageError: if no run starts on the tape.
        TapeCorrupt: at damage.
        SentinelError: if the tape was recorded by a version that worked differently.
    """
    for due in inputs(files, changes, passed):
        due.feed()
        yield Step(due.record, due.pipeline)


def inputs(
    files: Sequence[Path],
    changes: Changes = AS_RECORDED,
    passed: Callable[[Path, int], object] = lambda file, offset: None,
    middle: Middle | None = None,
) -> Iterator[Due]:
    """The same for who must look before each input, and feeds it; from the ``middle`` of a run on, if there is one.

    Raises:
        As ``play``.
    """
    pipeline = None if middle is None else middle.pipeline
    left_out = 0
    for file in files:
        for record in read_tape(file, lambda offset, file=file: passed(file, offset)):  # type: ignore[misc]
            if middle is not None and file is files[0] and record.received_ns < middle.at_ns:
                continue
            if record.kind is Kind.START:
                pipeline = pipeline_of(file, changes, record.payload)
            if pipeline is None:
                left_out += 1
                continue
            try:
                given = _input(record, pipeline.slots)
            except UNREADABLE as error:
                raise _foreign(file, error) from error
            yield Due(file, record, given, pipeline)
    if pipeline is None:
        raise UsageError(f"no run starts in {files[0]}; give the folder that holds the files before it")
    if left_out:
        logger.bind(records=left_out, file=files[0].name).warning("tape_begins_in_the_middle_of_a_run")


def pipeline_of(file: Path, changes: Changes, checkpoint: bytes) -> Pipeline:
    """A new pipeline with the settings and lanes of a tape file.

    Raises:
        SentinelError: if it was recorded by a version that worked differently.
    """
    header = read_header(file)
    try:
        settings = msgspec.convert(header["settings"], Settings, dec_hook=_fraction)
        if settings.cadence_ns <= 0:
            raise ValueError(f"a cadence of {settings.cadence_ns} ns")
        plans = msgspec.convert(header["lanes"], list[LanePlan])
        return Pipeline(changes.apply(settings), plans, _feed_maker(_books(header)), checkpoint or None)
    except (KeyError, ZeroDivisionError, *UNREADABLE) as error:
        raise _foreign(file, error) from error


def _foreign(file: Path, error: Exception) -> SentinelError:
    return SentinelError(f"{file} was recorded by another version of sentinel-ws: {error}")


def _fraction(of: type, text: Any) -> Fraction:
    if of is not Fraction:
        raise NotImplementedError(of)
    return Fraction(text)


def _books(header: dict[str, Any]) -> dict[str, str]:
    """Where the books of each exchange came from; version 0.1 knew one exchange."""
    if "books" not in header:
        return {DEFAULT_EXCHANGE: msgspec.convert(header["book"], str)}
    return msgspec.convert(header["books"], dict[str, str])


def _feed_maker(books: dict[str, str]) -> Callable[[LanePlan], Feed]:
    """Feeds that only listen: what they would say is not sent, so no key is needed.

    Raises:
        KeyError: for an exchange that is not in the catalogue.
    """
    connects = {exchange: VENUES[exchange].listener(book) for exchange, book in books.items()}
    return lambda plan: connects[venue_of(plan.venue).exchange](plan.venue, plan.subscription)


def _input(record: Record, lanes: Container[int]) -> Input:
    """The input a record is of.

    Raises:
        ValueError, msgspec.MsgspecError: if it says nothing known, or is of a lane that there is not.
    """
    given = input_of(record)
    if isinstance(given, Opened | Closed | Frame | FetchedBook) and given.lane not in lanes:
        raise ValueError(f"a record of lane {given.lane}")
    return given


def clock_moved_ns(record: Record) -> int:
    """How far the clock was put forward just before this record: no time passed over it."""
    return max(0, int(record.payload)) if record.kind is Kind.STEP else 0


def digests(pipeline: Pipeline) -> dict[tuple[Market, int], str]:
    """A fingerprint of each proved book, by product and lane: equal on two sides when every level is."""
    return {
        (market, number): lane.book.digest()
        for market, product in pipeline.products.items()
        for number, lane in product.books.lanes.items()
        if lane.is_proved
    }


@click.command()
@click.argument("tape", type=click.Path(path_type=Path))
@since_option(words="Print only what was written from this time on.")
@until_option(words="Stop at this time, which is not included.")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), help="1 is real time.  [default: at full speed]")
@click.option("--edges-bps", metavar="LIST", help="Other bins, such as 1,5,10.")
@click.option("--cadence-ms", type=click.IntRange(10, 60_000), help="Another sampling interval.")
@click.option("--digest", is_flag=True, help="Print a fingerprint of each book at the end, instead of the lines.")
def replay(
    tape: Path,
    since: str | None,
    until: str | None,
    speed: float | None,
    edges_bps: str | None,
    cadence_ms: int | None,
    digest: bool,
) -> None:
    """Derive the lines from TAPE, a file or folder recorded by collect."""
    now_ns = time.time_ns()
    since_ns = 0 if since is None else parse_instant_ns(since, now_ns)
    until_ns = None if until is None else parse_instant_ns(until, now_ns)
    edges = None if edges_bps is None else _edges(edges_bps)
    changes = Changes(edges, None if cadence_ms is None else cadence_ms * NS_PER_MS)
    last: Pipeline | None = None
    files = tape_files(tape)
    with progress(files, "replay") as passed:
        steps = play(files, changes, passed)
        if speed is not None:
            steps = _paced(steps, speed)
        for record, pipeline in steps:
            if until_ns is not None and record.received_ns >= until_ns:
                break
            last = pipeline
            output = pipeline.take()
            if not digest and record.received_ns >= since_ns:
                _print(output)
    if digest and last is not None:
        for (market, lane), fingerprint in digests(last).items():
            click.echo(f"{market.short} lane {lane} {fingerprint}")


def _edges(text: str) -> tuple[Fraction, ...]:
    try:
        edges = tuple(sorted({Fraction(edge.strip()) for edge in text.split(",")}))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{text!r} is not a list of bins; write basis points such as 1,5,10") from None
    if edges[0] <= 0:
        raise UsageError("bins must be wider than 0 basis points")
    return edges


def _print(output: Output) -> None:
    for stream in (output.trades, output.book, output.accounts):
        for lines in stream:
            sys.stdout.buffer.write(lines.text + b"\n")


def _paced(steps: Iterable[Step], speed: float) -> Iterator[Step]:
    """Each step no sooner than ``speed`` times as fast as it was."""
    began_s = time.monotonic()
    first_ns = None
    for step in steps:
        first_ns = step.record.received_ns if first_ns is None else first_ns
        first_ns += clock_moved_ns(step.record)
        due_s = (step.record.received_ns - first_ns) / NS_PER_S / speed
        wait_s = due_s - (time.monotonic() - began_s)
        if wait_s > 0:
            sys.stdout.flush()
            time.sleep(wait_s)
        yield step


@contextmanager
def progress(files: Sequence[Path], title: str) -> Iterator[Callable[[Path, int], object]]:
    """A progress bar over the bytes of ``files``, on stderr and only on a terminal; gives what ``play`` tells."""
    before: dict[Path, int] = {}
    total = 0
    for file in files:
        before[file] = total
        total += file.stat().st_size
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda file, offset: bar.update(task, completed=before[file] + offset)
