"""A data directory whose products are spread over processes: ``DATA_DIR/shard=00``, ``shard=01``, …, each with a
journal, an archive and tapes of its own.

A product stays where its state is: its ledger, its open gaps and the lines that sinks still wait for are in that
journal. So a new product goes to the emptiest shard, and nothing else ever moves. A journal in the directory itself,
left by a time with one process, is a shard like the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

from feeds.market import Market
from sentinel.disk.data_dir import ARCHIVE, JOURNAL, SHARD, TAPE_SUFFIX, TAPES, journal_in, market_path
from sentinel.disk.journal import JournalReader
from sentinel.disk.object_store import AnyFolder, Folder
from sentinel.errors import SentinelError
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.pipeline.product import ProductState


def shard_folders(data_dir: AnyFolder) -> list[AnyFolder]:
    """The folders of its shards, in order; none if it was only ever collected by one process."""
    folders: list[AnyFolder] = [folder for folder in data_dir.glob(f"{SHARD}*") if folder.is_dir()]
    return sorted(folders)


def data_folders(data_dir: AnyFolder) -> list[AnyFolder]:
    """Everywhere in a data directory where there is a journal or an archive; itself, if there is none."""
    candidates = [data_dir]
    candidates += shard_folders(data_dir)
    found = [folder for folder in candidates if journal_in(folder) or (folder / ARCHIVE).is_dir()]
    return found or [data_dir]


def lost_shards(data_dir: AnyFolder) -> list[AnyFolder]:
    """Shards with neither a journal nor an archive: of a process that never got so far, or data that was lost."""
    folders = data_folders(data_dir)
    return [folder for folder in shard_folders(data_dir) if folder not in folders]


def has_tapes(folder: Path) -> bool:
    """Whether anything was recorded here."""
    return any((folder / TAPES).glob(f"*{TAPE_SUFFIX}"))


def journals(data_dir: Path) -> list[Path]:
    """The journals of a data directory; where it would be, if there is none."""
    found = [folder / JOURNAL for folder in data_folders(data_dir)]
    return [journal for journal in found if journal.exists()] or [data_dir / JOURNAL]


def archives(data_dir: Path) -> list[Path]:
    """The archives of a data directory."""
    return [folder / ARCHIVE for folder in data_folders(data_dir) if (folder / ARCHIVE).is_dir()]


def folder_of(data_dir: AnyFolder, market: Market) -> AnyFolder:
    """Where a product's data are."""
    folders = data_folders(data_dir)
    if len(folders) == 1:
        return folders[0]
    with_state = (folder for folder in folders if market in products_of(folder))
    archived = (folder for folder in folders if any((folder / ARCHIVE).glob(f"*/{market_path(*market)}")))
    return next(chain(with_state, archived), folders[0])


def products_of(folder: Folder) -> dict[Market, ProductState]:
    """The products whose state is in the journal of ``folder``."""
    journal = journal_in(folder)
    if journal is None:
        return {}
    with JournalReader(journal) as reader:
        checkpoint = reader.checkpoint()
    try:
        return decode_checkpoint(checkpoint)
    except SentinelError as error:
        raise SentinelError(f"{folder / JOURNAL}: {error}") from error


def deal(markets: Sequence[Market], data_dir: Path, processes: int) -> dict[Path, list[Market]]:
    """Which folder collects which products: where a product's state is, else where the fewest are.

    There are more folders than ``processes`` if so many hold products already. Folders without products are left out.
    """
    folders = [folder for folder in data_folders(data_dir) if (folder / JOURNAL).exists()]
    new = (data_dir / f"{SHARD}{number:02d}" for number in range(len(folders) + processes))
    while len(folders) < processes:
        folders.append(next(folder for folder in new if folder not in folders))
    homes = {market: folder for folder in folders for market in products_of(folder)}
    dealt: dict[Path, list[Market]] = {folder: [] for folder in folders}
    for market in sorted(markets, key=lambda market: (market not in homes, market)):
        folder = homes.get(market) or min(folders, key=lambda folder: len(dealt[folder]))
        dealt[folder].append(market)
    return {folder: own for folder, own in dealt.items() if own}


@contextmanager
def reading(data_dir: Path) -> Iterator[list[JournalReader]]:
    """The journals of a data directory, open; none if all that is left is an archive.

    Raises:
        UsageError: if there is neither, or a journal is of another version.
    """
    paths = journals(data_dir)
    if archives(data_dir):
        paths = [path for path in paths if path.exists()]
    with ExitStack() as stack:
        yield [stack.enter_context(JournalReader(path)) for path in paths]
