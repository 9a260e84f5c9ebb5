"""Options that mean the same everywhere, under their names of old, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sentinel.cli import cli
from sentinel.command.encoding import PLAIN
from sentinel.command.near import respelled, suggestion
from sentinel.command.options import form_of, since_option, words_of
from sentinel.errors import UsageError
from sentinel.exchange.venues import VENUES

FORMATS = ("table", "csv", "json", "jsonl", "parquet", "html", "lp")


@pytest.mark.parametrize("name", ["csv", "json", "jsonl", "parquet", "html", "lp"])
def test_the_name_of_the_file_says_the_format(name: str) -> None:
    assert form_of(None, Path(f"x.{name}"), FORMATS) == name
    assert form_of(None, Path(f"X.{name.upper()}"), FORMATS) == name
    assert form_of("table", Path(f"x.{name}"), FORMATS) == "table"


def test_a_name_that_says_nothing_leaves_the_default() -> None:
    assert form_of(None, Path("x.txt"), FORMATS) == "table"
    assert form_of(None, Path("x"), FORMATS) == "table"
    assert form_of(None, None, FORMATS) == "table"


def test_a_format_that_is_not_written_here_is_refused() -> None:
    with pytest.raises(UsageError, match="html is not written here; --format can be lp, csv"):
        form_of(None, Path("x.html"), ("lp", "csv"))


@pytest.mark.parametrize(("name", "said"), [("x.csv.gz", "gzip"), ("x.csv.zst", "zstd"), ("x.xlsx", "xlsx")])
def test_a_name_of_what_no_command_writes_is_not_filled_with_something_else(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"{said} is not written here"):
        form_of(None, Path(name), FORMATS)


def test_an_old_name_works_and_is_in_no_help() -> None:
    @click.command()
    @since_option()
    def command(since: str | None) -> None:
        click.echo(since)

    assert CliRunner().invoke(command, ["--from", "1h"]).output == "1h\n"
    assert CliRunner().invoke(command, ["--since", "1h"]).output == "1h\n"
    assert "--from" not in CliRunner().invoke(command, ["--help"]).output


def test_words_with_commas_and_without() -> None:
    assert words_of(["BTC-USD,ETH-USD", "SOL-USD", " BTC-USD, "]) == ["BTC-USD", "ETH-USD", "SOL-USD"]


def leaves(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command there is."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


WITHOUT_CONFIGURATION = {("capabilities",), ("replay",), ("simulate",), ("tape-from",)}


def test_every_command_that_reads_a_configuration_takes_one() -> None:
    lacking = {
        path for path, command in leaves() if "--config" not in {name for each in command.params for name in each.opts}
    }
    assert lacking == WITHOUT_CONFIGURATION


def test_one_name_for_one_thing() -> None:
    """``--from`` and ``--markets`` were two of them."""
    shown = {name for _, command in leaves() for each in command.params for name in each.opts if name.startswith("--")}
    assert not shown & {"--from", "--to", "--market", "--markets", "--symbols", "--data", "--out", "--file"}
    for path, command in leaves():
        names = {name for each in command.params for name in each.opts}
        assert ("--since" in names) == ("--until" in names), path
        assert "--format" not in names or names & {"--output", "--config"}, path


@pytest.mark.parametrize(
    ("word", "exchange", "meant"),
    [
        ("btc-usd", "coinbase", "BTC-USD"),
        ("BTC/USD", "coinbase", "BTC-USD"),
        ("BTCUSD", "coinbase", "BTC-USD"),
        ("btc_usd", "coinbase", "BTC-USD"),
        ("btcusdt", "binance", "BTCUSDT"),
        ("BTC-USDT", "bybit", "BTCUSDT"),
        ("XBTUSD", "kraken", "XBT/USD"),
        ("BTC-USD", "kraken", "BTC/USD"),
        ("...", "coinbase", None),
        ("BTC", "coinbase", None),
    ],
)
def test_a_near_miss_of_a_product(word: str, exchange: str, meant: str | None) -> None:
    assert respelled(word, VENUES[exchange].symbol) == meant


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("ETH-US", "; did you mean ETH-USD?"),
        ("BTCUSD", "; did you mean BTC-USD?"),
        ("btc/usd", "; did you mean BTC-USD?"),
        ("XYZ", ""),
        ("BTC-EUR", ""),
        ("DOT-USD", ""),
        ("BTC-USD", ""),
    ],
)
def test_what_is_listed_and_near(word: str, words: str) -> None:
    assert suggestion(word, ["BTC-USD", "ETH-USD", "SOL-USD"]) == words


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("3 µs · 5 × 2 ≥ 1 …", "ascii", b"3 us - 5 x 2 >= 1 ..."),
        ("3 µs · 5 × 2 ≥ 1 …", "latin-1", b"3 \xb5s \xb7 5 \xd7 2 >= 1 ..."),
        ("─┬│ é 漢", "ascii", b"--- e ?"),
    ],
)
def test_what_an_encoding_lacks_is_spelled(text: str, encoding: str, written: bytes) -> None:
    assert text.encode(encoding, PLAIN) == written
