"""What the tapes of a data directory say of the hours: which files, how far, and the frames' own numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from feeds.catalogue import venue_of
from feeds.market import Market
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.certificate import Frames, TapeSeal
from sentinel.certificates.hashing import sha256_of
from sentinel.disk.data_dir import TAPE_SUFFIX
from sentinel.disk.files import sync_file
from sentinel.disk.tape import Kind, complete_bytes, created_ns, read_header, read_tape
from sentinel.errors import TapeCorrupt, UsageError
from sentinel.pipeline.inputs import LanePlan, Replan, lane_of
from sentinel.timing.instants import NS_PER_S

GATHERED_NS = 2 * NS_PER_S
"""A file is named by the time it is made, and its first block was gathered before, within a second or so."""


class TapeRecord:
    """The tape files in ``folder``, read for ``hours`` only: their starts, in ns."""

    def __init__(self, folder: Path, hours: Collection[int]) -> None:
        self._hours = set(hours)
        self._spans = _spans(folder)
        self._seals: dict[Path, TapeSeal] = {}
        self._counted: dict[int, list[_Counted]] = {hour_ns: [] for hour_ns in self._hours}
        for file, first_ns, end_ns in self._spans:
            if any(first_ns < hour_ns + HOUR_NS and end_ns > hour_ns for hour_ns in self._hours):
                with suppress(TapeCorrupt, UsageError):  # to say so is for ``verify``, which plays it
                    self._read(file)

    def seals(self, hour_ns: int) -> dict[str, TapeSeal]:
        """The files that overlap an hour, by name."""
        found = {}
        for file, first_ns, end_ns in self._spans:
            if first_ns < hour_ns + HOUR_NS and end_ns > hour_ns:
                if file not in self._seals:
                    whole = complete_bytes(file)
                    sync_file(file)  # its writer may be about to
                    self._seals[file] = TapeSeal(whole, sha256_of(file, whole))
                found[file.name] = self._seals[file]
        return found

    def connections(self, market: Market, hour_ns: int) -> list[Frames]:
        """The numbered connections that carried a market in an hour, in order of their first frame."""
        return [
            Frames(counted.lane, counted.first, counted.last, counted.count)
            for counted in self._counted[hour_ns]
            if market in counted.markets
        ]

    def _read(self, file: Path) -> None:
        plans = msgspec.convert(read_header(file)["lanes"], list[LanePlan])
        markets, numbers = _markets(plans), _numbers(plans)
        running: dict[int, _Counted] = {}
        for kind, lane, received_ns, payload in read_tape(file):
            hour_ns = received_ns - received_ns % HOUR_NS
            if kind is Kind.START:
                running.clear()
            elif kind is Kind.OPENED:
                running.pop(lane, None)
            elif kind is Kind.REPLAN:
                replan = msgspec.msgpack.decode(payload, type=Replan)
                markets, numbers = _markets(replan.lanes), _numbers(replan.lanes)
            if kind is not Kind.FRAME or hour_ns not in self._hours:
                continue
            planned = lane_of(lane)
            number, counted = numbers[planned](payload), running.get(lane)
            if number is None:
                continue
            if counted is None or counted.hour_ns != hour_ns:
                counted = running[lane] = _Counted(hour_ns, lane, markets[planned], number, number)
                self._counted[hour_ns].append(counted)
            counted.last = max(counted.last, number)
            counted.count += 1


@dataclass(slots=True)
class _Counted:
    """One connection in one hour, being read."""

    hour_ns: int
    lane: int
    markets: Collection[Market]
    first: int
    last: int
    count: int = 0


def _markets(plans: Iterable[LanePlan]) -> dict[int, frozenset[Market]]:
    """What each lane carries."""
    return {plan.lane: frozenset(plan.markets) for plan in plans}


def _numbers(plans: Iterable[LanePlan]) -> dict[int, Callable[[bytes], int | None]]:
    """What reads the number of each lane's frames."""
    return {plan.lane: partial(venue_of(plan.venue).frame_number, plan.venue) for plan in plans}


def _spans(folder: Path) -> list[tuple[Path, int, int]]:
    """Each file, when it may begin, and when the next one may: the last has no end yet."""
    files = sorted(folder.glob(f"*{TAPE_SUFFIX}"))
    starts = [created_ns(file) - GATHERED_NS for file in files]
    ends = [end + GATHERED_NS for end in [*starts, 2**63][1:]]
    return list(zip(files, starts, ends, strict=True))
