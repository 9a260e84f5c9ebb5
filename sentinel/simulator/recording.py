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
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import zstandard
from msgspec import Struct

from sentinel.disk.data_dir import TAPE_SUFFIX
from sentinel.disk.tape import Kind, Record, read_tape, tape_files
from sentinel.errors import TapeCorrupt, UsageError
from sentinel.simulator import wording
from sentinel.simulator.connection import Connection
from sentinel.simulator.faults import Faults
from sentinel.simulator.truth import Truth

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

PIECE_BYTES = 2**16
LINE_BYTES = 64 * 2**20
"""A longer line is no frame: a connection would not take it."""

LATEST_NS = 2**63 - 1
TRADES = (
    """CREATE TABLE trades (product TEXT, trade_id INTEGER, body TEXT, PRIMARY KEY (product, trade_id)) WITHOUT ROWID"""
)
REST_KEYS = ("size", "price", "time", "side")
LARGEST_ID = 2**63 - 1


class Frame(Struct, frozen=True):
    """``number`` is the ``sequence_num`` of an Advanced Trade frame. ``trades`` are the trades in it, oldest first."""

    offset_ns: int
    text: str
    kind: str
    product: str | None = None
    number: int | None = None
    trades: tuple[dict[str, Any], ...] = ()


Heard = tuple[int, str]
"""When a frame was received, and the frame."""


class Recording(Struct, frozen=True):
    """One connection. Its frames stay where they are; what has to be known of them all is gathered once.

    ``first_ns`` is when the first one was received, ``last_beat`` the server's heartbeat counter in the last heartbeat.
    """

    feed: Feed
    heard: Callable[[], Iterator[Heard]] = lambda: iter(())
    first_ns: int = 0
    products: tuple[str, ...] = ()
    has_beats: bool = False
    last_beat: int = 0

    def frames(self) -> Iterator[Frame]:
        """From the beginning, one at a time."""
        describe = _advanced_frame if self.feed == "advanced" else _exchange_frame
        for received_ns, text in self.heard():
            yield describe(received_ns - self.first_ns, text, _parsed(text))


def load(path: Path) -> list[Recording]:
    """A capture (``*.jsonl.zst`` with its ``*.recv_ts.txt.zst``, if there is one), or a tape of our own.

    Raises:
        UsageError: if there is nothing playable in it.
    """
    if path.is_dir() and not any(path.glob(f"*{TAPE_SUFFIX}")):
        raise UsageError(f"{path} is a folder without a tape; a capture is a file that ends in .jsonl or .jsonl.zst")
    is_capture = path.name.endswith((".jsonl", ".jsonl.zst"))
    try:
        recordings = [_surveyed(heard) for heard in (_in_capture(path) if is_capture else _on_tape(path))]
    except (OSError, ValueError, zstandard.ZstdError, TapeCorrupt) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    found = [recording for recording in recordings if recording is not None]
    if not found:
        raise UsageError(f"{path} holds no frames of a Coinbase feed")
    return found


def _surveyed(heard: Callable[[], Iterator[Heard]]) -> Recording | None:
    """None if no frame is one of a Coinbase feed."""
    first_ns: int | None = None
    feeds: set[Feed] = set()
    products: set[str] = set()
    has_beats, last_beat = False, 0
    for received_ns, text in heard():
        first_ns = received_ns if first_ns is None else first_ns
        message = _parsed(text)
        feed = _feed_of(message)
        if feed is not None:
            feeds.add(feed)
            frame = (_advanced_frame if feed == "advanced" else _exchange_frame)(0, text, message)
            products.update(name for name in (frame.product, *(trade["product_id"] for trade in frame.trades)) if name)
            has_beats = has_beats or frame.kind.startswith("heartbeat")
            last_beat = max(last_beat, _counter(frame))
    if first_ns is None or not feeds:
        return None
    of: Feed = "advanced" if "advanced" in feeds else "exchange"
    return Recording(of, heard, first_ns, tuple(sorted(products)), has_beats, last_beat)


def _feed_of(message: dict[str, Any]) -> Feed | None:
    if isinstance(message.get("sequence_num"), int) and isinstance(message.get("channel"), str):
        return "advanced"
    is_exchange = message.get("type") in CHANNELS and isinstance(message.get("product_id"), str)
    return "exchange" if is_exchange else None


def _in_capture(path: Path) -> list[Callable[[], Iterator[Heard]]]:
    """The one connection of a capture, with the recorder's own times, if they say more than those in the messages."""
    beside = path.with_name(path.name.replace(".jsonl", ".recv_ts.txt"))
    if beside.exists() and _are_fine(path, beside):
        return [lambda: zip(map(_ns_of_stamp, _lines(beside)), _lines(path), strict=True)]
    first_ns = next((ns for ns, _ in _by_own_times(path) if ns), 0)
    return [lambda: ((ns or first_ns, text) for ns, text in _by_own_times(path))]


def _are_fine(path: Path, beside: Path) -> bool:
    """Whether there is a time for each line, and any of them is of more than whole seconds."""
    has_fractions = False
    for text, stamp in zip_longest(_lines(path), _lines(beside)):
        if text is None or stamp is None:
            return False
        has_fractions = has_fractions or "." in stamp.partition("\t")[0]
    return has_fractions


def _ns_of_stamp(line: str) -> int:
    """Raises ValueError for anything but an instant that a tape can hold."""
    seconds = float(line.partition("\t")[0])
    if not 0 <= seconds * 1e9 < LATEST_NS:
        raise ValueError(f"no time of a frame: {line[:40]!r}")
    return round(seconds * 1e9)


def _by_own_times(path: Path) -> Iterator[Heard]:
    """What the messages say themselves; a message without a time, or from the past, comes with the one before it.

    ``last_match`` tells the time of an old trade, and is not believed.
    """
    newest = 0
    for text in _lines(path):
        message = _parsed(text)
        if _feed_of(message) is not None and message.get("type") != "last_match":
            newest = max(newest, _ns_said(message))
        yield newest, text


def _ns_said(message: dict[str, Any]) -> int:
    try:
        said_ns = wording.ns_of(str(message.get("time") or message.get("timestamp")))
    except ValueError:
        return 0
    return said_ns if said_ns < LATEST_NS else 0


def _on_tape(path: Path) -> list[Callable[[], Iterator[Heard]]]:
    """A connection for each time one was open, in the order of opening."""
    files = tape_files(path)
    lanes: set[int] = set()
    found: list[Callable[[], Iterator[Heard]]] = []
    moved_ns = 0
    for place, file in enumerate(files):
        for number, record in enumerate(read_tape(file)):
            moved_ns += _put_forward_ns(record)
            if record.kind == Kind.OPENED or (record.kind == Kind.FRAME and record.lane not in lanes):
                lanes.add(record.lane)
                found.append(partial(_of_connection, files[place:], number, record.lane, moved_ns))
    return found


def _put_forward_ns(record: Record) -> int:
    """By how much the wall clock was put forward: no time passed meanwhile."""
    return max(0, int(record.payload)) if record.kind == Kind.STEP else 0


def _of_connection(files: Sequence[Path], first: int, lane: int, moved_ns: int) -> Iterator[Heard]:
    """The frames of a lane from the ``first`` record on, until it is opened again; the clock had moved by then."""
    for place, file in enumerate(files):
        for number, record in enumerate(read_tape(file)):
            if not place and number < first:
                continue
            moved_ns += _put_forward_ns(record)
            if record.lane != lane:
                continue
            if record.kind == Kind.OPENED and (place or number > first):
                return
            if record.kind == Kind.FRAME:
                yield record.received_ns - moved_ns, record.payload.decode(errors="replace")


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        if path.name.endswith(".zst"):
            content = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            yield from _split(iter(partial(content.read, PIECE_BYTES), b""))
        else:
            yield from _split(iter(partial(file.read, PIECE_BYTES), b""))


def _split(pieces: Iterator[bytes]) -> Iterator[str]:
    """Raises ValueError for what is no text, or a line too long to be a frame."""
    rest = bytearray()
    for piece in pieces:
        first, *others = piece.split(b"\n")
        rest += first
        if len(rest) > LINE_BYTES:
            raise ValueError(f"a line of more than {LINE_BYTES} bytes")
        for other in others:
            yield rest.removesuffix(b"\r").decode()
            rest = bytearray(other)
    if rest:
        yield rest.decode()


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _advanced_frame(offset_ns: int, text: str, message: dict[str, Any]) -> Frame:
    channel = str(message.get("channel"))
    events = [event for event in _list(message.get("events")) if isinstance(event, dict)]
    product = next((name for event in events if (name := _name(event))), None)
    trades = [trade for event in events for trade in reversed(_list(event.get("trades"))) if _is_trade(trade)]
    number = message.get("sequence_num")
    return Frame(offset_ns, text, channel, product, number if isinstance(number, int) else None, tuple(trades))


def _exchange_frame(offset_ns: int, text: str, message: dict[str, Any]) -> Frame:
    kind = str(message.get("type"))
    trades = (message,) if kind in ("match", "last_match") and _is_trade(message) else ()
    return Frame(offset_ns, text, kind, _name(message), None, trades)


def _list(part: Any) -> list[Any]:
    return part if isinstance(part, list) else []


def _name(message: dict[str, Any]) -> str | None:
    name = message.get("product_id")
    return name if isinstance(name, str) else None


def _is_trade(trade: Any) -> bool:
    """Whether REST can say it again: an odd one is on the air as it is, and known to nobody else."""
    if not (isinstance(trade, dict) and {"product_id", "trade_id", "price", "size", "side", "time"} <= trade.keys()):
        return False
    try:
        wording.ns_of(trade["time"])
        is_id = 0 < int(trade["trade_id"]) <= LARGEST_ID
    except (ValueError, TypeError, AttributeError, OverflowError):
        return False
    return is_id and isinstance(trade["side"], str) and _name(trade) is not None


def _counter(frame: Frame) -> int:
    """The server's heartbeat counter, which goes on after the recording; 0 in other frames, and where it is odd."""
    if frame.number is None or frame.kind != "heartbeats":
        return 0
    try:
        return int(json.loads(frame.text)["events"][0]["heartbeat_counter"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return 0


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
        self._trades = sqlite3.connect("")  # those of a day do not fit in memory: SQLite moves them to disk
        self._trades.execute(TRADES)
        self._feeds: dict[str, list[Recording]] = {"advanced": [], "exchange": []}
        self._waiting: asyncio.Queue[Connection] = asyncio.Queue()  # noqa: TID251 (of connections, few)
        self._started: set[Connection] = set()
        self._beat = max((recording.last_beat for recording in recordings), default=0)
        for recording in recordings:
            self._feeds[recording.feed].append(recording)
        self._names = sorted({name for recording in recordings for name in recording.products})

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
        with closing(self._trades):
            async with asyncio.TaskGroup() as tasks:
                while True:
                    tasks.create_task(self._play(await self._waiting.get()))

    async def _play(self, connection: Connection) -> None:
        try:
            choice = self._feeds[connection.feed]
            recording = choice[(connection.number - 1) % len(choice)] if choice else Recording(connection.feed)
            async with asyncio.TaskGroup() as tasks:
                beating = None if recording.has_beats else tasks.create_task(self._keep_alive(connection))
                await self._play_frames(connection, recording)
                if beating is None:
                    tasks.create_task(self._keep_alive(connection))
        finally:
            self._started.discard(connection)

    async def _play_frames(self, connection: Connection, recording: Recording) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for frame in recording.frames():
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
            trade_id = int(trade["trade_id"])
            values = (trade["product_id"], trade_id, json.dumps({key: trade[key] for key in REST_KEYS}))
            if self._trades.execute("INSERT OR IGNORE INTO trades VALUES (?, ?, ?)", values).rowcount:
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
                    query = "SELECT coalesce(max(trade_id), 0) FROM trades WHERE product = ?"
                    (last_id,) = self._trades.execute(query, (name,)).fetchone()
                    connection.send("heartbeat", name, wording.exchange_heartbeat(name, last_id, now_ns // 1000))
            await asyncio.sleep(1)

    # REST

    def rest_products(self) -> list[dict[str, object]]:
        return [wording.rest_product(name, 2, 8) for name in self._names]

    def rest_trades(self, name: str, after: int | None, before: int | None, limit: int) -> list[dict[str, object]]:
        """The trades played so far, newest first."""
        query = """SELECT trade_id, body FROM trades WHERE product = ? AND trade_id < ? AND trade_id > ?
            ORDER BY trade_id DESC LIMIT ?"""
        bounds = (LARGEST_ID if after is None else after, -1 if before is None else before)
        found = self._trades.execute(query, (name, *bounds, limit))
        trades = [{"trade_id": trade_id, **json.loads(body)} for trade_id, body in found]
        return [{**trade, "side": trade["side"].lower()} for trade in trades]

    def rest_book(self, name: str, level: int) -> dict[str, object]:
        """Empty: a recording has no matching engine behind it."""
        time = wording.instant(self._now_ns() // 1000)
        return {"sequence": 0, "bids": [], "asks": [], "auction_mode": False, "auction": None, "time": time}

    def rest_ticker(self, name: str) -> dict[str, object]:
        newest = self.rest_trades(name, None, None, 1)
        return dict(newest[0]) if newest else {}
