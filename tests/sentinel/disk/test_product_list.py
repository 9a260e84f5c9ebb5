"""What the venues said of products, kept beside the data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from feeds.market import Market
from feeds.rest import Listed
from sentinel.disk.data_dir import PRODUCTS
from sentinel.disk.product_list import ListingsFile, read_listings
from sentinel.errors import UsageError

BTC = Market("coinbase", "BTC-USD")
SWAP = Market("elsewhere", "BTC-USD")
SAYS = {
    BTC: Listed(symbol="BTC-USD", base="BTC", quote="USD"),
    SWAP: Listed(symbol="BTC-USD", base="BTC", quote="USD", kind="perpetual", state="halted"),
}


@pytest.fixture
def said() -> Iterator[list[str]]:
    found: list[str] = []
    logger.remove()
    handler = logger.add(lambda message: found.append(message.record["message"]))
    yield found
    logger.remove(handler)


def test_it_is_read_as_it_was_kept_and_grows(tmp_path: Path) -> None:
    assert read_listings(tmp_path / "nowhere") == {}
    ListingsFile(tmp_path).keep({BTC: SAYS[BTC]})
    ListingsFile(tmp_path).keep({SWAP: SAYS[SWAP]})
    assert read_listings(tmp_path) == SAYS
    gone = Listed(symbol="BTC-USD", base="BTC", quote="USD", state="delisted")
    ListingsFile(tmp_path).keep({BTC: gone})
    assert read_listings(tmp_path) == SAYS | {BTC: gone}
    assert [file.name for file in tmp_path.iterdir()] == [PRODUCTS]


def test_it_is_plain_json_for_others(tmp_path: Path) -> None:
    ListingsFile(tmp_path).keep({SWAP: SAYS[SWAP]})
    (row,) = read_json(tmp_path)["products"]
    assert row == {
        "symbol": "BTC-USD", "base": "BTC", "quote": "USD", "kind": "perpetual", "state": "halted",
        "exchange": "elsewhere",
    }  # fmt: skip


def read_json(folder: Path) -> Any:
    return json.loads((folder / PRODUCTS).read_text())


def test_what_is_no_news_is_not_written_again(tmp_path: Path) -> None:
    ListingsFile(tmp_path).keep(SAYS)
    before = (tmp_path / PRODUCTS).stat().st_ino
    ListingsFile(tmp_path).keep({BTC: SAYS[BTC]})
    assert (tmp_path / PRODUCTS).stat().st_ino == before


def test_the_shards_of_a_directory_are_read_as_one(tmp_path: Path) -> None:
    for number, market in enumerate(SAYS):
        ListingsFile(tmp_path / f"shard=0{number}").keep({market: SAYS[market]})
    assert read_listings(tmp_path) == SAYS


@pytest.mark.parametrize("body", [b"", b"[]", b'{"products": 7}', b"\xff"])
def test_one_that_cannot_be_read_is_said_and_left_as_it_is(tmp_path: Path, body: bytes, said: list[str]) -> None:
    (tmp_path / PRODUCTS).write_bytes(body)
    with pytest.raises(UsageError, match=PRODUCTS):
        read_listings(tmp_path)
    ListingsFile(tmp_path).keep(SAYS)
    assert said == ["product_list_not_kept"]
    assert (tmp_path / PRODUCTS).read_bytes() == body


def test_a_disk_that_refuses_costs_nothing_else(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "data").touch()
    ListingsFile(tmp_path / "data").keep(SAYS)
    assert said == ["product_list_not_kept"]
