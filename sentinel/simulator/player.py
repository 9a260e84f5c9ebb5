"""A recorded session on the air again, frame for frame as it was received.

Playback starts for a connection at its first subscribe. After the last frame the connection is kept alive with the
heartbeats of the feed. Nothing is invented: a feed that was not recorded stays quiet but for heartbeats. A snapshot
comes once; a client that wants another one reconnects, and hears the recording from its beginning.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Protocol

from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.instants import ns_of
from sentinel.simulator.recording import LARGEST_ID, Frame, RecordedTrade, Recording

S = 1_000_000_000
UNREAD_BYTES = 4 * 2**20
"""Of a client that reads more slowly than the recording plays."""

TRADES = """
    CREATE TABLE trades (
        product TEXT, trade_id INTEGER, price TEXT, size TEXT, maker_side TEXT, time TEXT,
        PRIMARY KEY (product, trade_id)
    ) WITHOUT ROWID"""


class Prompter(Protocol):
    """What playing a recording needs to know of the venue."""

    def is_wanted(self, connection: Connection, frame: Frame) -> bool:
        """Whether a client has asked for a frame of the recording."""

    def keep_alive(self, connection: Connection) -> None:
        """Says, once a second, that the connection is alive, where the recording does not."""


class Player:
    """Plays recordings to whoever subscribes: the n-th connection of a feed hears the n-th recording of that feed."""

    def __init__(self, stage: Stage, recordings: list[Recording], speed: float) -> None:
        """``speed`` is a factor; 0 plays without waits."""
        self.stage = stage
        self.last_beat = max((recording.last_beat for recording in recordings), default=0)
        self._speed = speed
        self._trades = sqlite3.connect("")  # those of a day do not fit in memory: SQLite moves them to disk
        self._trades.execute(TRADES)
        self._feeds: dict[str, list[Recording]] = {feed: [] for feed in stage.facts.feeds}
        self._waiting: asyncio.Queue[Connection] = asyncio.Queue()  # noqa: TID251 (of connections, few)
        self._started: set[Connection] = set()
        for recording in recordings:
            self._feeds[recording.feed].append(recording)
        self._names = sorted({name for recording in recordings for name in recording.products})

    def names(self) -> Iterable[str]:
        return self._names

    def has(self, feed: str) -> bool:
        """Whether there is a recording of this feed."""
        return bool(self._feeds[feed])

    def begin(self, connection: Connection) -> None:
        """Playback starts, at the first subscription."""
        if connection not in self._started:
            self._started.add(connection)
            self._waiting.put_nowait(connection)

    def last_trade_id(self, name: str) -> int:
        """Of the trades played so far; 0 before the first."""
        query = "SELECT coalesce(max(trade_id), 0) FROM trades WHERE product = ?"
        (last_id,) = self._trades.execute(query, (name,)).fetchone()
        return int(last_id)

    def trades(self, name: str, after: int | None, before: int | None, limit: int) -> list[RecordedTrade]:
        """The newest of the trades played so far with ids below ``after`` and above ``before``, newest first."""
        query = """SELECT * FROM trades WHERE product = ? AND trade_id < ? AND trade_id > ?
            ORDER BY trade_id DESC LIMIT ?"""
        bounds = (LARGEST_ID if after is None else after, -1 if before is None else before)
        return [RecordedTrade(*row) for row in self._trades.execute(query, (name, *bounds, limit))]

    async def run(self, prompter: Prompter) -> None:
        """Plays to every connection until cancelled."""
        with closing(self._trades):
            async with asyncio.TaskGroup() as tasks:
                while True:
                    tasks.create_task(self._play(await self._waiting.get(), prompter))

    async def _play(self, connection: Connection, prompter: Prompter) -> None:
        try:
            choice = self._feeds[connection.feed]
            recording = choice[(connection.number - 1) % len(choice)] if choice else None
            async with asyncio.TaskGroup() as tasks:
                has_beats = recording is not None and recording.has_beats
                beating = None if has_beats else tasks.create_task(self._keep_alive(connection, prompter))
                if recording is not None:
                    await self._play_frames(connection, recording, prompter)
                if beating is None:
                    tasks.create_task(self._keep_alive(connection, prompter))
        finally:
            self._started.discard(connection)

    async def _play_frames(self, connection: Connection, recording: Recording, prompter: Prompter) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for offset_ns, frame in recording.frames():
            if connection not in self.stage.connections:
                return
            if self._speed:
                wait_s = start_s + offset_ns / S / self._speed - loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
            while connection.unread_bytes > UNREAD_BYTES:  # noqa: ASYNC110 (the transport has no event for it)
                await asyncio.sleep(0.002)
            if prompter.is_wanted(connection, frame):
                self._publish(connection, frame)
            if not self._speed:
                await asyncio.sleep(0)

    def _publish(self, connection: Connection, frame: Frame) -> None:
        for trade in frame.trades:
            values = (trade.product, trade.trade_id, trade.price, trade.size, trade.maker_side, trade.time)
            if self._trades.execute("INSERT OR IGNORE INTO trades VALUES (?, ?, ?, ?, ?, ?)", values).rowcount:
                self._write_truth(trade)
        numbers = None
        if frame.number is not None:
            numbers = frame.number, frame.number
            connection.sequence = frame.number + 1
        connection.send(frame.kind, frame.product, frame.text, numbers, [trade.trade_id for trade in frame.trades])

    def _write_truth(self, trade: RecordedTrade) -> None:
        self.stage.truth.write(
            "trade",
            product=trade.product,
            trade_id=trade.trade_id,
            price=trade.price,
            size=trade.size,
            maker_side=trade.maker_side,
            time=trade.time,
            t_ns=ns_of(trade.time),
        )

    async def _keep_alive(self, connection: Connection, prompter: Prompter) -> None:
        while connection in self.stage.connections:
            prompter.keep_alive(connection)
            await asyncio.sleep(1)
