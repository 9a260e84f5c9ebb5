"""A recorded session on the air again, frame for frame as it was received.

Playback starts for a connection at its first subscribe. A client of ``/advanced`` gets every frame, since the frames
are numbered; a client of ``/exchange`` gets the messages of what it asked for, the acknowledgement it
would get today, and the ``error`` frames of the recording. After the last frame the connection is kept alive with the
heartbeats of the feed, numbered on. Nothing is invented: a feed that was not recorded stays quiet but for heartbeats.
A snapshot comes once; a client that wants another one reconnects, and hears the recording from its beginning.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import zstandard
from msgspec import Struct

from sentinel.errors import UsageError
from sentinel.simulator import wording
from sentinel.simulator.connection import Connection
from sentinel.simulator.faults import Faults
from sentinel.simulator.truth import Truth
from sentinel.tape import Kind, read_tape, tape_files

S = 1_000_000_000
UNREAD_BYTES = 4 * 2**20
"""Of a client that reads more slowly than the recording plays."""

CHANNELS = {
    "snapshot": ("level2", "level2_50"),
    "l2update": ("level2", "level2_50"),
    "match": ("matches",),
    "last_match": ("matches",),
    "heartbeat": ("heartbeat",),
    "ticker": ("ticker", "ticker_1000"),
    "status": ("status",),
}
"""Which subscriptions an Exchange message belongs to."""

Feed = Literal["advanced", "exchange"]


class Frame(Struct, frozen=True):
    """``number`` is the ``sequence_num`` of an Advanced Trade frame. ``trades`` are the trades in it, oldest first."""

    offset_ns: int
    text: str
    kind: str
    product: str | None = None
    number: int | None = None
    trades: tuple[dict[str, Any], ...] = ()


class Recording(Struct, frozen=True):
    """The frames of one connection. ``first_ns`` is when the first one was received."""

    feed: Feed
    frames: list[Frame]
    first_ns: int = 0


def load(path: Path) -> list[Recording]:
    """A capture (``*.jsonl.zst`` with its ``*.recv_ts.txt.zst``, if there is one), or a tape of our own.

    Raises:
        UsageError: if there is nothing playable in it.
    """
    recordings = _from_capture(path) if path.name.endswith((".jsonl", ".jsonl.zst")) else _from_tape(path)
    recordings = [recording for recording in recordings if recording.frames]
    if not recordings:
        raise UsageError(f"{path} holds no frames of a Coinbase feed")
    return recordings


def _from_capture(path: Path) -> list[Recording]:
    texts = _lines(path)
    messages = [_parsed(text) for text in texts]
    beside = path.with_name(path.name.replace(".jsonl", ".recv_ts.txt"))
    received = _receive_times(beside) if beside.exists() else None
    if received is None or len(received) != len(texts):
        received = _own_times(messages)
    return [_recording(zip(received, texts, messages, strict=True))]


def _from_tape(path: Path) -> list[Recording]:
    """One recording for each time a connection was open."""
    heard: dict[int, list[tuple[int, str, dict[str, Any]]]] = {}
    finished: list[list[tuple[int, str, dict[str, Any]]]] = []
    moved_ns = 0
    for file in tape_files(path):
        for record in read_tape(file):
            if record.kind == Kind.STEP:  # no time passed while the clock was put forward
                moved_ns += max(0, int(record.payload))
            if record.kind == Kind.OPENED:
                finished.append(heard.setdefault(record.lane, []))
                heard[record.lane] = []
            elif record.kind == Kind.FRAME:
                text = record.payload.decode(errors="replace")
                heard.setdefault(record.lane, []).append((record.received_ns - moved_ns, text, _parsed(text)))
    return [_recording(frames) for frames in [*finished, *heard.values()]]


def _lines(path: Path) -> list[str]:
    content = path.read_bytes()
    if path.name.endswith(".zst"):
        content = zstandard.ZstdDecompressor().stream_reader(content).read()
    return content.decode().splitlines()


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _receive_times(path: Path) -> list[int] | None:
    """The recorder's own times, unless they are whole seconds only: then the messages' times say more."""
    stamps = [line.partition("\t")[0] for line in _lines(path)]
    if not any("." in stamp for stamp in stamps):
        return None
    return [round(float(stamp) * 1e9) for stamp in stamps]


def _own_times(messages: Iterable[dict[str, Any]]) -> list[int]:
    """What the messages say themselves; a message without a time, or from the past, comes with the one before it.

    ``last_match`` tells the time of an old trade, and is not believed.
    """
    times: list[int] = []
    newest = 0
    for message in messages:
        said = message.get("time") or message.get("timestamp")
        if said is not None and message.get("type") != "last_match":
            newest = max(newest, wording.ns_of(str(said)))
        times.append(newest)
    first = next((ns for ns in times if ns), 0)
    return [ns or first for ns in times]


def _recording(frames: Iterable[tuple[int, str, dict[str, Any]]]) -> Recording:
    listed = list(frames)
    is_advanced = any("sequence_num" in message for _, _, message in listed)
    describe = _advanced_frame if is_advanced else _exchange_frame
    first_ns = listed[0][0] if listed else 0
    made = [describe(received_ns - first_ns, text, message) for received_ns, text, message in listed]
    return Recording("advanced" if is_advanced else "exchange", made, first_ns)


def _advanced_frame(offset_ns: int, text: str, message: dict[str, Any]) -> Frame:
    channel = str(message.get("channel"))
    events = message.get("events", [])
    product = next((event["product_id"] for event in events if "product_id" in event), None)
    trades = [trade for event in events for trade in reversed(event.get("trades", []))]
    return Frame(offset_ns, text, channel, product, message.get("sequence_num"), tuple(trades))


def _exchange_frame(offset_ns: int, text: str, message: dict[str, Any]) -> Frame:
    kind = str(message.get("type"))
    trades = (message,) if kind in ("match", "last_match") else ()
    return Frame(offset_ns, text, kind, message.get("product_id"), None, trades)


def _counter(frame: Frame) -> int:
    """The server's heartbeat counter, which goes on after the recording; 0 in other frames."""
    if frame.number is None or frame.kind != "heartbeats":
        return 0
    return int(json.loads(frame.text)["events"][0]["heartbeat_counter"])


class RecordingSource:
    """Plays recordings to whoever subscribes: the n-th connection of a feed hears the n-th recording of that feed."""

    needs_keys = False

    def __init__(
        self, recordings: list[Recording], speed: float, faults: Faults, truth: Truth, now_ns: Callable[[], int]
    ) -> None:
        self.connections: list[Connection] = []
        self._recordings = recordings
        self._speed = speed
        self._faults = faults
        self._truth = truth
        self._now_ns = now_ns
        self._trades: dict[str, dict[int, dict[str, Any]]] = {}
        self._feeds: dict[str, list[Recording]] = {"advanced": [], "exchange": []}
        self._waiting: asyncio.Queue[Connection] = asyncio.Queue()  # noqa: TID251 (of connections, few)
        self._started: set[Connection] = set()
        self._beat = max((_counter(frame) for recording in recordings for frame in recording.frames), default=0)
        for recording in recordings:
            self._feeds[recording.feed].append(recording)
        frames = [frame for recording in recordings for frame in recording.frames]
        named = {frame.product for frame in frames} | {
            trade["product_id"] for frame in frames for trade in frame.trades
        }
        self._names = sorted(name for name in named if name)

    def names(self) -> Iterable[str]:
        return self._names

    def answers_subscriptions(self, feed: str) -> bool:
        return feed == "advanced" and bool(self._feeds[feed])

    def welcome(self, connection: Connection, channel: str, products: list[str]) -> None:
        """Playback starts at the first subscription."""
        if connection not in self._started:
            self._started.add(connection)
            self._waiting.put_nowait(connection)

    async def run(self) -> None:
        """Plays to every connection until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._play(await self._waiting.get()))

    async def _play(self, connection: Connection) -> None:
        try:
            choice = self._feeds[connection.feed]
            recording = choice[(connection.number - 1) % len(choice)] if choice else Recording(connection.feed, [])
            has_beats = any(frame.kind.startswith("heartbeat") for frame in recording.frames)
            async with asyncio.TaskGroup() as tasks:
                beating = None if has_beats else tasks.create_task(self._keep_alive(connection))
                await self._play_frames(connection, recording)
                if beating is None:
                    tasks.create_task(self._keep_alive(connection))
        finally:
            self._started.discard(connection)

    async def _play_frames(self, connection: Connection, recording: Recording) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for frame in recording.frames:
            if connection not in self.connections:
                return
            if self._speed:
                wait_s = start_s + frame.offset_ns / S / self._speed - loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
            while connection.unread_bytes > UNREAD_BYTES:  # noqa: ASYNC110 (the transport has no event for it)
                await asyncio.sleep(0.002)
            if self._is_wanted(connection, frame):
                self._publish(connection, frame)
            if not self._speed:
                await asyncio.sleep(0)

    def _is_wanted(self, connection: Connection, frame: Frame) -> bool:
        if connection.feed == "advanced" or frame.kind not in (*CHANNELS, "subscriptions"):
            return True
        return frame.product is not None and any(
            connection.wants(channel, frame.product) for channel in CHANNELS.get(frame.kind, ())
        )

    def _publish(self, connection: Connection, frame: Frame) -> None:
        for trade in frame.trades:
            known = self._trades.setdefault(trade["product_id"], {})
            trade_id = int(trade["trade_id"])
            if trade_id not in known:
                known[trade_id] = trade
                self._write_truth(trade_id, trade)
        if frame.number is not None:
            connection.sequence = frame.number + 1
        ids = [int(trade["trade_id"]) for trade in frame.trades]
        connection.send(frame.kind, frame.product, frame.text, frame.number, ids)

    def _write_truth(self, trade_id: int, trade: dict[str, Any]) -> None:
        self._truth.write(
            "trade",
            product=trade["product_id"],
            trade_id=trade_id,
            price=trade["price"],
            size=trade["size"],
            maker_side=trade["side"].lower(),
            time=trade["time"],
            t_ns=wording.ns_of(trade["time"]),
        )

    async def _keep_alive(self, connection: Connection) -> None:
        while connection in self.connections:
            now_ns = self._now_ns()
            if connection.feed == "advanced":
                self._beat += 1
                head = wording.advanced_head("heartbeats", now_ns)
                connection.send_numbered("heartbeats", None, head, wording.advanced_heartbeat(now_ns, self._beat))
            else:
                for name in sorted(connection.channels.get("heartbeat", ())):
                    last_id = max(self._trades.get(name, {}), default=0)
                    connection.send("heartbeat", name, wording.exchange_heartbeat(name, last_id, now_ns // 1000))
            await asyncio.sleep(1)

    # REST

    def rest_products(self) -> list[dict[str, object]]:
        return [wording.rest_product(name, 2, 8) for name in self._names]

    def rest_trades(self, name: str, after: int | None, before: int | None, limit: int) -> list[dict[str, object]]:
        """The trades played so far, newest first."""
        ids = [
            trade_id
            for trade_id in self._trades.get(name, {})
            if (after is None or trade_id < after) and (before is None or trade_id > before)
        ]
        return [
            {
                "trade_id": trade_id,
                **{key: self._trades[name][trade_id][key] for key in ("size", "price", "time")},
                "side": self._trades[name][trade_id]["side"].lower(),
            }
            for trade_id in sorted(ids, reverse=True)[:limit]
        ]

    def rest_book(self, name: str, level: int) -> dict[str, object]:
        """Empty: a recording has no matching engine behind it."""
        time = wording.instant(self._now_ns() // 1000)
        return {"sequence": 0, "bids": [], "asks": [], "auction_mode": False, "auction": None, "time": time}

    def rest_ticker(self, name: str) -> dict[str, object]:
        newest = self.rest_trades(name, None, None, 1)
        return dict(newest[0]) if newest else {}
