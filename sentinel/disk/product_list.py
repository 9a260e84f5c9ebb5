"""What the venues say of the markets that were ever collected in a data directory: base, quote, kind and state, as of
the last look at each venue's list. Readers look names up in it; a start without the venues' lists chooses from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from loguru import logger
from msgspec import Struct

from feeds.market import Market
from feeds.rest import Listed
from sentinel.disk.data_dir import PRODUCTS
from sentinel.disk.files import make_folder, replacing
from sentinel.disk.object_store import Folder
from sentinel.disk.shards import shard_folders
from sentinel.errors import UNREADABLE, UsageError

Listings = dict[Market, Listed]


class ListedAt(Listed, frozen=True, kw_only=True):
    """``{"symbol":"BTC-USD","base":"BTC","quote":"USD","kind":"spot","state":"trading","exchange":"coinbase"}``"""

    exchange: str


class ProductList(Struct, frozen=True):
    """The file."""

    products: list[ListedAt]


def read_listings(data_dir: Folder) -> Listings:
    """Of a data directory, its shards included; nothing if there is none yet.

    Raises:
        UsageError: if it cannot be read.
    """
    folders: list[Folder] = [data_dir, *shard_folders(data_dir)]
    return {market: one for folder in folders for market, one in _read(folder).items()}


class ListingsFile:
    """That of one collector. What a look does not bring stays as it was."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def keep(self, found: Mapping[Market, Listed]) -> None:
        """Enters what is news. A disk that refuses costs no data: it is told, and the next look tries again."""
        try:
            kept = _read(self._data_dir)
            if any(kept.get(market) != one for market, one in found.items()):
                _write(self._data_dir, kept | dict(found))
        except (OSError, UsageError) as error:
            logger.bind(reason=str(error)).error("product_list_not_kept")


def _read(folder: Folder) -> Listings:
    path = folder / PRODUCTS
    try:
        products = msgspec.json.decode(path.read_bytes(), type=ProductList).products
    except FileNotFoundError:
        return {}
    except (OSError, *UNREADABLE) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    return {Market(one.exchange, one.symbol): _listed(one) for one in products}


def _listed(one: ListedAt) -> Listed:
    return Listed(**{name: getattr(one, name) for name in Listed.__struct_fields__})


def _write(folder: Path, listings: Listings) -> None:
    products = [
        ListedAt(exchange=market.exchange, **msgspec.structs.asdict(one)) for market, one in sorted(listings.items())
    ]
    make_folder(folder)
    with replacing(folder / PRODUCTS) as new:
        new.write_bytes(msgspec.json.format(msgspec.json.encode(ProductList(products))) + b"\n")
