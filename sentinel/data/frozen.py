"""Data sets that were frozen to be cited, held against their manifests."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from sentinel.data import asked
from sentinel.data.asked import DATA_DIR, DataDir
from sentinel.data.loaded import Loaded
from sentinel.dataset.manifest import Manifest
from sentinel.dataset.verify import Opened
from sentinel.dataset.verify import opened as open_dataset
from sentinel.disk.object_store import Folder
from sentinel.timing.instants import Instant


class Dataset(Struct, frozen=True):
    """A data set that was found to be as it was frozen. ``manifest`` says what it is, and what is missing.

    ``folder`` is a data directory of its own: whatever takes a ``data_dir`` reads it.
    """

    folder: Folder
    manifest: Manifest

    def load(
        self,
        measurement: str,
        symbol: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        columns: Sequence[str] | None = None,
        exchange: str | None = None,
        only_verified: bool = True,
    ) -> Loaded:
        """As ``sentinel.data.load``, of the whole data set by default.

        Rows that nothing proves are left out, and are holes of cause ``unverified``, unless ``only_verified`` is False:
        those of hours without a certificate, and samples of books that the venue does not number.

        Raises:
            UsageError: for what was not frozen.
        """
        first = self.manifest.start_ns if start is None else asked.instant(start)
        after = self.manifest.end_ns if end is None else asked.instant(end)
        opened = Opened(self.folder, self.manifest)
        market, window, names = asked.market(symbol, exchange), asked.interval(first, after), asked.columns(columns)
        return Loaded(
            *opened.rows(measurement, market, window, names, only_verified=only_verified), True, *window, window[1]
        )


def dataset(reference: str, *, data_dir: DataDir = DATA_DIR) -> Dataset:
    """The data set ``NAME@1``, after every byte of it was held against its manifest.

    Raises:
        UsageError: if there is none.
        SentinelError: if anything is not as it was frozen; it names the file.
    """
    found = open_dataset(asked.folder(data_dir), reference)
    return Dataset(found.folder, found.manifest)
