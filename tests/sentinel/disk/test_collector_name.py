"""The name of a data directory's collector: who has the say in it, and when it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from feeds.market import Market
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.disk.collector_name import settle, with_name
from sentinel.disk.data_dir import COLLECTOR_NAME
from sentinel.errors import UsageError
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.pipeline.product import ProductState
from tests.sentinel.pipeline.venue import exchange_lane, opened

BTC, ETH, SOL = (Market("coinbase", f"{coin}-USD") for coin in ("BTC", "ETH", "SOL"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SENTINEL_COLLECTOR", raising=False)


def config(**flags: object) -> Config:
    return load({"products": ("BTC-USD", "ETH-USD")} | flags, None)


def states(**names: str) -> dict[Market, ProductState]:
    (state,) = decode_checkpoint(opened(exchange_lane()).checkpoint()).values()
    return {
        Market("coinbase", f"{coin}-USD"): replace(state, symbol=f"{coin}-USD", collector=name)
        for coin, name in names.items()
    }


def kept(data_dir: Path) -> str:
    return (data_dir / COLLECTOR_NAME).read_text()


def test_at_the_first_start_it_is_the_hosts_and_is_kept() -> None:
    given = config()
    assert settle(given, {}).collector == given.collector
    assert kept(given.data_dir) == f"{given.collector}\n"


def test_what_is_kept_wins_over_accounts_and_host() -> None:
    given = config()
    given.data_dir.mkdir()
    (given.data_dir / COLLECTOR_NAME).write_text("kept\n")
    assert settle(given, states(BTC="older")).collector == "kept"


def test_what_is_configured_wins_over_all_and_is_kept_from_now_on() -> None:
    settle(with_name(config(), "kept"), {})
    given = config(collector="chosen")
    assert settle(given, states(BTC="older")).collector == "chosen"
    assert settle(config(), {}).collector == "chosen"
    assert kept(given.data_dir) == "chosen\n"


def test_without_any_it_is_that_of_most_accounts_of_what_is_collected_on() -> None:
    assert settle(config(), states(BTC="one", ETH="one", SOL="another")).collector == "one"
    assert kept(config().data_dir) == "one\n"


def test_products_that_are_not_collected_have_no_say_unless_there_are_no_others(tmp_path: Path) -> None:
    gone = states(SOL="gone", ADA="gone", DOT="gone")
    assert settle(config(data_dir=tmp_path / "one"), gone | states(BTC="here")).collector == "here"
    assert settle(config(data_dir=tmp_path / "other"), gone).collector == "gone"


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"one\ntwo", b"a\tb"])
def test_what_is_no_name_is_one_clear_line_and_stays(content: bytes) -> None:
    path = config().data_dir / COLLECTOR_NAME
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"^[^\n]*collector\.txt[^\n]*$"):
        settle(config(), {})
    assert path.read_bytes() == content


def test_a_directory_that_cannot_be_written_keeps_nobody_from_collecting(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path / "disk that is not mounted")
    assert settle(config(), states(BTC="one")).collector == "one"
    assert not (tmp_path / "data" / COLLECTOR_NAME).exists()
