"""The accounts of a whole cluster, from the stream of lines that its members publish."""

from __future__ import annotations

import asyncio
import re
from asyncio import Runner
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager

from nats.js.errors import NotFoundError

from feeds.market import Market
from sentinel.cluster.names import partition_of
from sentinel.cluster.session import ClusterError, Session, opened
from sentinel.cluster.stream import TROUBLES, Message, partitions_of, read
from sentinel.config import Cluster
from sentinel.contract.line_protocol import Point, decode
from sentinel.coverage.accounts import Rows, from_points
from sentinel.coverage.holes import FRESH_NS, merge
from sentinel.disk.history import line_pattern
from sentinel.gap_report.orphans import Store
from sentinel.gap_report.report import Window
from sentinel.pipeline.accounts import MINUTE_NS

CLUSTER_FRESH_NS = MINUTE_NS + FRESH_NS
"""What is younger may still be on its way: a minute is published when it is over."""

PATIENCE_S = 5.0
SILENCE_S = 15.0
"""A reader hears every two seconds that there is nothing; one that does not asks servers that lack too many others."""

LATE_NS = 5 * MINUTE_NS
"""Points of one that died are looked for as far as they were published so long after their time."""

ORPHANED_NS = 3 * MINUTE_NS
"""So much is looked into at both ends of a time that is missing: whoever died had not accounted for the minute and a
bit before, and had just taken over, or was just followed, by another."""

GAPS = re.compile(rb"^gaps,.*$", re.MULTILINE)
ACCOUNTS = re.compile(rb"^(?:gaps|coverage|backfill),.*$", re.MULTILINE)


@contextmanager
def reading(settings: Cluster) -> Iterator[tuple[Callable[[Window], Rows], Store]]:
    """What reads the accounts, and the points beside them, by one session with the servers, however much is asked.

    The rows are those that matter to a window, as far back as the stream is kept; of before it the gaps only, which may
    reach into it, and the minutes of an hour, which tell what was collected before.

    Raises:
        ClusterError: if no server answers, none has the stream at the moment, or one refuses our identity.
    """
    with Runner() as runner:
        stack = AsyncExitStack()
        try:
            session = runner.run(stack.enter_async_context(opened(settings, "report", PATIENCE_S)))

            def accounts(window: Window) -> Rows:
                return from_points(runner.run(_accounts(session, window.of_whole_minutes())))

            def points(stream: str, measurement: str, market: Market, start_ns: int, end_ns: int) -> Iterator[Point]:
                ends = (start_ns, min(end_ns, start_ns + ORPHANED_NS)), (max(start_ns, end_ns - ORPHANED_NS), end_ns)
                for span in merge(ends):
                    yield from runner.run(_lines(session, stream, measurement, market, *span))

            def times(market: Market, start_ns: int, end_ns: int) -> Iterator[int]:
                return (point.time_ns for point in points("book", "top", market, start_ns, end_ns))

            def trade_ids(market: Market, start_ns: int, end_ns: int) -> Iterator[int]:
                return map(_trade_id, points("trades", "trades", market, start_ns, end_ns))

            yield accounts, Store(times, trade_ids, is_shared=True)
        finally:
            runner.run(stack.aclose())


async def _accounts(session: Session, window: Window) -> list[Point]:
    points: list[Point] = []
    async with aclosing(_messages(session, "accounts", None, 1)) as messages:
        async for message in messages:
            is_before = message.last_ns < window.start_ns - 60 * MINUTE_NS
            found = map(decode, (GAPS if is_before else ACCOUNTS).findall(message.body))
            points += (point for point in found if point.time_ns < window.end_ns)
    return points


async def _messages(
    session: Session, stream: str, market: Market | None, since_ns: int
) -> AsyncGenerator[Message, None]:
    """What there is of a stream at the moment; of the partition of a market, or of all."""
    names = session.names
    partition = None
    try:
        if market is not None:
            info = await session.jetstream.stream_info(names.lines)
            partition = partition_of(market, partitions_of(info.config))
        last = await session.jetstream.get_msg(names.lines, subject=names.subject(stream, partition))
    except NotFoundError:  # no message, or no stream
        return
    except TROUBLES as error:
        raise ClusterError(f"cluster: the stream {names.lines} does not answer: {error}") from None
    partitions = None if partition is None else [partition]
    async with aclosing(read(session, [stream], partitions, since_ns=since_ns)) as messages:
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    message = await anext(messages)
            except TimeoutError:
                raise ClusterError(f"cluster: the stream {names.lines} does not answer") from None
            if message is None:  # what there was is older
                return
            yield message
            if message.sequence >= (last.seq or 0):
                return


def _trade_id(point: Point) -> int:
    return int(dict(point.fields)["trade_id"])


async def _lines(
    session: Session, stream: str, measurement: str, market: Market, start_ns: int, end_ns: int
) -> list[Point]:
    pattern = line_pattern(measurement, [market])
    points: list[Point] = []
    async with aclosing(_messages(session, stream, market, start_ns - MINUTE_NS)) as messages:
        async for message in messages:
            if message.at_ns > end_ns + LATE_NS:
                break
            if message.first_ns < end_ns and message.last_ns >= start_ns:
                points += _between(pattern, message.body, start_ns, end_ns)
    return points


def _between(pattern: re.Pattern[bytes], body: bytes, start_ns: int, end_ns: int) -> Iterator[Point]:
    points = (decode(found[0]) for found in pattern.finditer(body))
    return (point for point in points if start_ns <= point.time_ns < end_ns)
