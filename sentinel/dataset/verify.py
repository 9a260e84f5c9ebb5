"""A data set held against its manifest, and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from feeds.market import Market
from sentinel.archive.layout import Series
from sentinel.archive.schedule import HOUR_NS
from sentinel.archive.source import Source
from sentinel.certificates.hashing import sha256_of
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.coverage.holes import Hole, Interval, intersect, merge
from sentinel.dataset import manifest as manifests
from sentinel.dataset.croissant import CROISSANT, croissant
from sentinel.dataset.manifest import MANIFEST, Damaged, Manifest, Place
from sentinel.disk.data_dir import ARCHIVE, hour_of
from sentinel.disk.object_store import Folder, below
from sentinel.errors import UsageError
from sentinel.timing.instants import format_ns

UNVERIFIED = "unverified"
"""The cause of a hole where there are rows that nothing proves; no collector writes it."""


def problems(folder: Folder, manifest: Manifest) -> list[str]:
    """Every file that is missing, changed, or nobody's. Empty when all is as it was frozen."""
    found = []
    for path, frozen in manifest.files.items():
        file = folder / path
        if not file.is_file():
            found.append(f"{file} is missing")
        elif file.stat().st_size != frozen.bytes or sha256_of(file) != frozen.sha256:
            found.append(f"{file} has been changed")
    about = folder / CROISSANT
    if not about.is_file() or about.read_bytes() != croissant(manifest):
        found.append(f"{about} has been changed" if about.is_file() else f"{about} is missing")
    known = {MANIFEST, CROISSANT, *manifest.files}
    everything: list[Folder] = list(folder.rglob("*"))
    everything.sort()
    present = (below(file, folder) for file in everything if not file.is_dir())
    return found + [f"{folder / path} is not in the manifest" for path in present if path not in known]


class Opened(Struct, frozen=True):
    """A data set every byte of which is as it was frozen."""

    folder: Folder
    manifest: Manifest

    def rows(
        self,
        measurement: str,
        market: Market,
        asked: Interval | None,
        columns: Sequence[str] | None,
        *,
        only_verified: bool,
    ) -> tuple[pa.Table, list[Hole]]:
        """Rows with ``start <= time < end``, and what is not among them.

        Raises:
            UsageError: for what was not frozen.
        """
        manifest = self.manifest
        of_market = manifest.market(market)
        if measurement not in MEASUREMENTS or measurement not in manifest.measurements:
            raise UsageError(f"{manifest.reference} has no {measurement}; it has {', '.join(manifest.measurements)}")
        window = manifest.start_ns, manifest.end_ns
        start_ns, end_ns = asked or window
        if start_ns < window[0] or end_ns > window[1]:
            raise UsageError(f"{manifest.reference} is of {format_ns(window[0])} to {format_ns(window[1])}")
        table = Source(self.folder).rows(Series(measurement, market), start_ns, end_ns, columns)
        if MEASUREMENTS[measurement].stream == "accounts":
            return table, []
        is_sampled = measurement != "trades"
        missing = of_market.missing_samples if is_sampled else of_market.missing_trades
        holes = [clipped for hole in missing if (clipped := _within(hole, start_ns, end_ns)) is not None]
        if not only_verified:
            return table, holes
        unproved = [*self._uncertified(measurement, market), *(of_market.unproved if is_sampled else ())]
        away = intersect(unproved, [(start_ns, end_ns)])
        holes += [Hole(*interval, UNVERIFIED) for interval in away]
        return _without(table, away), sorted(holes, key=lambda hole: (hole.start_ns, hole.first_id or 0))

    def _uncertified(self, measurement: str, market: Market) -> list[Interval]:
        """The hours whose file no certificate names as it is."""
        folder = Series(measurement, market).folder(Path(ARCHIVE))
        files = {Path(path): file for path, file in self.manifest.files.items()}
        bare = [path for path, file in files.items() if file.certificate is None and folder in path.parents]
        return merge((hour_of(path), hour_of(path) + HOUR_NS) for path in bare)


def opened(data_dir: Folder, reference: str) -> Opened:
    """The data set of a reference such as ``NAME@1``, after every byte of it was checked.

    Raises:
        UsageError: if there is none.
        Damaged: if anything is not as it was frozen; it names the file.
    """
    place = Place.parse(reference)
    manifest = manifests.read(data_dir, place)
    folder = place.folder(data_dir)
    found = problems(folder, manifest)
    if found:
        more = f", and {len(found) - 1} more: sentinel-ws dataset verify {place}" if len(found) > 1 else ""
        raise Damaged(f"{found[0]}{more}")
    return Opened(folder, manifest)


def _within(hole: Hole, start_ns: int, end_ns: int) -> Hole | None:
    """The part of a hole in an interval; None if it lies outside. Missing trades may lie between two of one instant."""
    if hole.start_ns >= end_ns or (hole.end_ns <= start_ns and hole.start_ns < start_ns):
        return None
    return Hole(max(hole.start_ns, start_ns), min(hole.end_ns, end_ns), hole.cause, hole.first_id, hole.last_id)


def _without(table: pa.Table, away: Sequence[Interval]) -> pa.Table:
    time = table["time"].cast(pa.int64())
    for start_ns, end_ns in away:
        is_kept = pc.or_(pc.less(time, start_ns), pc.greater_equal(time, end_ns))
        table, time = table.filter(is_kept), time.filter(is_kept)
    return table
