"""What others say commands nothing: no terminal, no spreadsheet, no file system, whatever a venue calls its products
and whatever words its answers have. Markup is tried where pages are made, and labels and tags where those are."""

from __future__ import annotations

import ast
import base64
import csv
import io
import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger
from rich.console import Console
from rich.text import Text

from feeds.catalogue import VENUES
from feeds.market import Market
from feeds.rest import Listed
from sentinel.archive.export import as_csv as export_csv
from sentinel.cli import cli
from sentinel.command.foreign import as_cells, hushed, visible
from sentinel.command.tables import Sheet, rendered, show
from sentinel.coverage.accounts import Rows
from sentinel.disk.data_dir import market_of, market_path
from sentinel.exchange.selection import Filter, Selection
from sentinel.gap_report.report import build
from sentinel.gap_report.text import as_csv as report_csv
from sentinel.monitor import command as monitor
from sentinel.monitor import logs
from sentinel.monitor.alerts import Alert
from sentinel.run import ending, products
from sentinel.sql.answers import as_csv as sql_csv
from sentinel.sql.answers import as_table as sql_table
from sentinel.sql.session import Answer
from tests import ROOT
from tests.sentinel.gap_report.test_report import START_NS, gap, minute, window

ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\nforged 12:00:00 INFO all is well\x9b31m \u202egnp.exe \u2028 \x00"
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", " =1", "\n=1"]
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
OURS = re.compile(r"\x1b\[[\d;]*m")
"""What rich writes for colours."""


def assert_harmless(text: str, lines: int | None = None) -> None:
    bare = OURS.sub("", text)
    assert OBEYED.search(bare) is None, bare
    assert lines is None or len(bare.splitlines()) == lines


@given(st.text())
def test_what_is_visible_is_one_line_of_the_same_length(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Zl", "Zp", "Cs"}
    assert all(new in (old, "\ufffd") or ord(new) >= 0x2400 for old, new in zip(text, shown, strict=True))


def test_a_log_line_is_one_line_and_moves_no_cursor() -> None:
    """A venue's close reason could clear the screen of whoever watched, and write lines of its own below ours."""
    stream = io.StringIO()
    logs.configure(Console(file=stream, force_terminal=True, width=40), "INFO")
    try:
        logger.bind(reason=ESCAPES).warning("connection_lost")
        logger.opt(exception=ValueError(ESCAPES)).error("part_failed")
    finally:
        logger.remove()
    assert_harmless(stream.getvalue(), lines=2)


def test_tables_words_and_errors_command_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    sheet = Sheet("product", "words", words=("words",))
    sheet.add_row(Text(ESCAPES, "red"), ESCAPES)
    for width in (40, 400):
        assert_harmless(rendered(sheet, width=width, is_coloured=True))
    show(f"dealt: {ESCAPES}")
    assert_harmless(capsys.readouterr().out)
    ending._tell(f"sentinel-ws: {ESCAPES}")
    assert_harmless(capsys.readouterr().err, lines=1)


def test_an_answer_in_sql_commands_neither_terminal_nor_spreadsheet() -> None:
    texts = [ESCAPES, *FORMULAS, "-", "\r=1", "a\r=1"]
    batch = pa.record_batch({"=words": texts, "number": [-1.5] * len(texts), "count": [-1] * len(texts)})
    for width in (20, 1000):
        assert_harmless(b"".join(sql_table(Answer(batch.schema, iter([batch])), width)).decode())
    rows = list(csv.reader(io.StringIO(b"".join(sql_csv(Answer(batch.schema, iter([batch])))).decode(), newline="")))
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for row in rows for cell in row)
    assert {cell for row in rows for cell in row if cell.startswith("-")} == {"-1.5", "-1"}


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_table_for_spreadsheets_is_a_formula(text: str) -> None:
    listed = products._rendered([products.Row("coinbase", text, text, text, "spot", "trading")], "csv")
    (row,) = csv.DictReader(io.StringIO(listed, newline=""))
    assert [row[name] for name in ("symbol", "base", "quote")] == [f"'{text}"] * 3
    assert as_cells([text, -1, -1.5, "BTC-USD", None]) == [f"'{text}", -1, -1.5, "BTC-USD", None]
    assert as_cells([f"a\r{text}", "\t=1"]) == [f"a\u240d{text}", "\u2409=1"]


def test_numbers_below_zero_stay_numbers_in_csv() -> None:
    line = rb"trades,exchange=\=x,symbol=@y price=-1.5,size=-2i 1"
    text = b"".join(export_csv("trades", [[line]])).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["price"], row["size"], row["symbol"]) == ("-1.5", "-2", "'@y")


@pytest.mark.parametrize("kind", ["gaps", "causes", "products"])
def test_no_cell_of_the_gap_report_is_a_formula(kind: str) -> None:
    rows_of = Rows([minute(0, symbol="@x"), minute(1, symbol="@x")], [gap(START_NS, START_NS + 1, symbol="@x")])
    text = report_csv(build(rows_of, window(2)), kind)
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) > 1
    assert {tuple(row[:2]) for row in rows[1:]} == {("coinbase", "'@x")}


def test_an_alert_commands_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(*_: object) -> Any:
        return SimpleNamespace(alerts=[Alert("sink_barred", ESCAPES, ESCAPES, 1)])

    monkeypatch.setattr(monitor, "_ask", ask)
    done = CliRunner().invoke(cli, ["alerts", "list", "--http", "127.0.0.1:1"])
    assert_harmless(done.output, lines=1)


# names of files

HOSTILE = ["..", "../..", "../../etc/cron.d/x", "A\x00B", "CON", "a/b", "*", "~", "-rf", "A" * 151, "Ä" * 26, "$(id)"]


@pytest.mark.parametrize("exchange", sorted(VENUES))
def test_no_list_of_a_venue_makes_a_name_that_no_folder_can_have(exchange: str, tmp_path: Path) -> None:
    """A name of 250 characters was collected, and no hour of any market was archived from then on."""
    long = VENUES[exchange].example.replace("BTC", "B" * 250)
    names = [VENUES[exchange].example, long, "B" * 250, *HOSTILE]
    listed = [Listed(symbol=name, base=name, quote=name) for name in names]
    wanted = Selection((), (Market(exchange, "all"),), Filter())
    found = wanted.matched(exchange, listed)
    assert VENUES[exchange].example in {market.symbol for market in found}
    for market in found:
        folder = tmp_path / market_path(*market)
        assert folder.parent.parent == tmp_path
        assert market_of(folder) == market
        folder.mkdir(parents=True)


@given(st.text(min_size=1, max_size=40))
def test_whatever_a_market_is_called_its_folder_is_below_the_archive(symbol: str) -> None:
    folder = market_path("kraken", symbol) if not any("\ud800" <= one <= "\udfff" for one in symbol) else None
    if folder is not None:
        assert len(folder.parts) == 2
        assert folder.parts[1].startswith("symbol=")
        assert not set(folder.parts[1]) & set('/\\\x00*?"<>|:\n')


@given(st.text("abcXYZ019+/=&% ", min_size=4), st.text(max_size=4), st.text(max_size=4))
def test_what_is_hushed_is_in_no_dress(secret: str, before: str, after: str) -> None:
    plain, user = f"{before}{secret}{after}", f"{before}:{secret}"
    for dressed in (plain, quote(plain, safe=""), quote_plus(plain), base64.b64encode(user.encode()).decode()):
        said = hushed(f"<<{dressed}>>", secret)
        assert dressed not in said
        assert "…" in said
    assert hushed("nothing of it", secret) in ("nothing of it", hushed("nothing of it", secret))


def test_what_is_too_short_to_be_a_secret_leaves_words_whole() -> None:
    assert hushed("a token", "a", "") == "a token"


# what is read is never run

RUNS = {"eval", "exec", "compile", "pickle", "marshal", "shelve", "dill", "joblib", "yaml", "xml", "lxml"}


def test_nothing_that_is_read_can_be_run() -> None:
    """No format of ours, and none that we read, can hold code; no shell is ever asked."""
    found = []
    for file in (file for top in ("book", "feeds", "sentinel") for file in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = {node.func.id}
            elif isinstance(node, ast.keyword) and node.arg == "shell":
                names = {"exec"}
            found += [f"{file}: {name}" for name in names & RUNS]
    assert found == []
