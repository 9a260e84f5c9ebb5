"""``l2`` from tapes: which hours are due, and writing them. Rerun at any time: the outcome is the same.

A run of a collector may last for months, and its tapes do not: so with each hour written goes the state to go on from,
``tapes/l2.swstate``. Without it, all there is is played from the first start of a run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import zstandard
from msgspec import Struct

from book.events import Alias, Subscribed
from feeds.errors import FeedError
from feeds.market import Market
from sentinel.archive import manifest, uncertified
from sentinel.archive.damage import table_of
from sentinel.archive.l2 import L2, LOST, Rows, write
from sentinel.archive.l2_reader import NOT_ARCHIVED
from sentinel.archive.layout import Series
from sentinel.archive.schedule import HOUR_NS
from sentinel.disk.data_dir import L2_STATE
from sentinel.disk.files import clear, replacing
from sentinel.disk.journal.batches import packer
from sentinel.disk.tape import Kind, read_tape, tape_files
from sentinel.disk.unpacking import unpack
from sentinel.errors import UNREADABLE, TapeCorrupt, UsageError
from sentinel.pipeline.inputs import Frame, LanePlan, Opened
from sentinel.pipeline.resume import LaneState, lane_states, restore
from sentinel.replay.followed import Follower, TrackState
from sentinel.replay.play import AS_RECORDED, Due, Middle, inputs, pipeline_of

SETTLED_NS = 61_000_000_000
"""How long after its end an hour is left alone: a book that is not proved by then is known to be lost."""

VERSION = 1
TOLD_MOST = 1024
"""Frames kept of a connection for who takes it up in the middle: its acknowledgements."""


class TapeState(Struct, frozen=True):
    """A place on a tape: in ``file``, before the first record at ``at_ns``, the end of the last hour written."""

    version: int
    file: str
    at_ns: int
    lanes: list[LaneState]
    tracks: list[TrackState]
    plans: list[LanePlan] = []
    """Those of then, if it is known: since the file was begun products may have joined or left."""


def read_state(tapes: Path) -> TapeState | None:
    """How far the archive has the tapes; None if nobody knows."""
    try:
        content = unpack(zstandard.ZstdDecompressor(), (tapes / L2_STATE).read_bytes())
        state = msgspec.msgpack.decode(content, type=TapeState)
    except (OSError, zstandard.ZstdError, *UNREADABLE):
        return None
    return state if state.version == VERSION else None


class L2Archiver:
    """Writes the hours that ``since_ns <= time < until_ns`` touches, cut at its end; ``files`` are those written.

    ``is_over``: nobody is recording, so that the tapes end where their last run does. ``keeps_state``: another pass
    may go on from here; one that leaves hours out must not.
    """

    def __init__(
        self,
        tapes: Path,
        root: Path,
        until_ns: int,
        *,
        since_ns: int = 0,
        is_over: bool,
        keeps_state: bool = True,
    ) -> None:
        self.files: list[Path] = []
        self._tapes = tapes
        self._root = root
        self._since_ns = since_ns
        self._until_ns = until_ns
        self._is_over = is_over
        self._keeps_state = keeps_state and not since_ns
        self._follower = Follower()
        self._told: dict[int, deque[bytes]] = {}
        self._states: dict[int, bytes] = {}
        self._settled_ns = 0
        """When the first hour that is not written yet is settled."""

    def write_hours(
        self, *, from_start: bool, passed: Callable[[Path, int], object] = lambda file, offset: None
    ) -> None:
        """Plays what is due: ``from_start`` all there is, else from where an earlier pass ended.

        Raises:
            TapeCorrupt: at damage, when all the rest is written.
            SentinelError: if a tape was recorded by a version that worked differently.
        """
        files = tape_files(self._tapes)
        state = read_state(self._tapes) if self._keeps_state else None
        if from_start and state is not None and _begins_by(files, state.file):
            state = None
        files, middle = (files, None) if state is None else self._take_up(state, files)
        damage: TapeCorrupt | None = None
        while files:
            try:
                self._play(files, middle, passed)
                break
            except TapeCorrupt as error:
                damage = damage or error
                self._follower.end("undecodable")
                files, middle = files[[str(file) for file in files].index(error.file) + 1 :], None
        if damage is not None:
            raise damage

    def _play(self, files: Sequence[Path], middle: Middle | None, passed: Callable[[Path, int], object]) -> None:
        try:
            for due in inputs(files, AS_RECORDED, passed, middle):
                self._take(due)
                if due.record.received_ns >= self._until_ns + SETTLED_NS:
                    self._write_begun()
                    return
        except UsageError:  # the start of what there is was pruned, and nothing says how it went on
            pass
        if self._is_over:
            self._follower.end("stopped")
            self._write(self._until_ns)
            self._write_begun()

    def _take_up(self, state: TapeState, files: list[Path]) -> tuple[list[Path], Middle | None]:
        """Goes on where an earlier pass ended, if that is still there: the files from there on, and the place."""
        names = [file.name for file in files]
        if state.file not in names:
            return files, None
        files = files[names.index(state.file) :]
        try:
            pipeline = pipeline_of(files[0], AS_RECORDED, b"")
            if state.plans:
                pipeline.replan(state.plans, state.at_ns)
            restore(pipeline, state.lanes, state.at_ns)
        except (FeedError, LookupError):  # written by a version that knew the venue otherwise
            return files, None
        self._told = {lane.lane: deque(lane.frames, TOLD_MOST) for lane in state.lanes}
        self._follower.go_on(pipeline, state.tracks, state.at_ns)
        self._settled_ns = state.at_ns + HOUR_NS + SETTLED_NS
        return files, Middle(pipeline, state.at_ns)

    def _take(self, due: Due) -> None:
        now_ns = due.record.received_ns
        hour_ns = self._follower.before(due)
        if hour_ns is not None and self._keeps_state:
            self._states[hour_ns] = self._state(due, hour_ns)
        match due.given:
            case Frame(lane, frame):
                meaning = due.pipeline.read(lane, frame)
                if meaning is not None and any(isinstance(event, Subscribed | Alias) for event in meaning.events):
                    self._told[lane].append(frame)
                due.pipeline.receive(lane, frame, now_ns, meaning)
                due.pipeline.commands.clear()
            case Opened(lane):
                self._told[lane] = deque(maxlen=TOLD_MOST)
                due.feed()
            case _:
                due.feed()
        due.pipeline.take()
        self._follower.after(due)
        if due.record.kind is Kind.START or now_ns >= self._settled_ns:
            self._write(min(now_ns - SETTLED_NS, self._until_ns))
            self._settled_ns = (now_ns - SETTLED_NS) // HOUR_NS * HOUR_NS + HOUR_NS + SETTLED_NS

    def _state(self, due: Due, hour_ns: int) -> bytes:
        lanes = lane_states(due.pipeline, {lane: list(frames) for lane, frames in self._told.items()})
        plans = [lane.plan for lane in due.pipeline.lanes]
        state = TapeState(VERSION, due.file.name, hour_ns, lanes, self._follower.states(), plans)
        return packer().compress(msgspec.msgpack.encode(state))

    def _write(self, until_ns: int) -> None:
        """Writes the hours that end by then, and after them the state they lead to."""
        end_ns = until_ns // HOUR_NS * HOUR_NS
        tracks = self._follower.tracks.values()
        for hour_ns in sorted({hour_ns for track in tracks for hour_ns in track.hours if hour_ns < end_ns}):
            if hour_ns > self._since_ns - HOUR_NS:
                self._write_hour(hour_ns)
        for track in tracks:
            track.written(end_ns)
        past = sorted(hour_ns for hour_ns in self._states if hour_ns <= end_ns)
        if past and self._keeps_state:
            clear(self._tapes)
            with replacing(self._tapes / L2_STATE) as temporary:
                temporary.write_bytes(self._states[past[-1]])
        for hour_ns in past:
            del self._states[hour_ns]

    def _write_begun(self) -> None:
        """Writes the hour that ``until_ns`` cuts, for what it is worth: a later pass writes it anew."""
        hour_ns = self._until_ns - self._until_ns % HOUR_NS
        for track in self._follower.tracks.values():
            rows = track.hours.get(hour_ns)
            if rows is not None:
                rows.cut(self._until_ns - 1)
                if rows.last_kind not in (None, LOST):
                    rows.lose(self._until_ns, NOT_ARCHIVED)
        self._write_hour(hour_ns)

    def _write_hour(self, hour_ns: int) -> None:
        found = ((track.market, track.hours.get(hour_ns)) for track in self._follower.tracks.values())
        files = [self._write_file(market, hour_ns, rows) for market, rows in found if rows]
        manifest.update(files)
        uncertified.note(self._root, [*map(uncertified.hour, files)])
        self.files += files

    def _write_file(self, market: Market, hour_ns: int, rows: Rows) -> Path:
        """What the file has of before these rows stays: the tape it came from may have been pruned."""
        path = Series(L2, market).file(self._root, hour_ns)
        table = rows.table()
        first_ns = table["time"].cast(pa.int64())[0].as_py()
        if first_ns > hour_ns and path.exists():
            earlier = table_of(path)
            earlier = earlier.filter(pc.less(earlier["time"].cast(pa.int64()), first_ns))
            table = pa.concat_tables([earlier, table]).unify_dictionaries().combine_chunks()
        write(path, table)
        return path


def _begins_by(files: Sequence[Path], name: str) -> bool:
    """Whether a run begins in one of the files up to that with this name."""
    for file in files:
        first = next(read_tape(file), None)
        if first is not None and first.kind is Kind.START:
            return True
        if file.name == name:
            return False
    return True
