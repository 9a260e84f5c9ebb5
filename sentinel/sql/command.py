"""``sentinel-ws sql``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sentinel.command.foreign import visible
from sentinel.command.options import config_option, form_of, format_option, output_option
from sentinel.command.tables import width_of_stdout
from sentinel.config.loading import load
from sentinel.disk.files import written
from sentinel.disk.folder_option import FOLDER
from sentinel.disk.object_store import Folder
from sentinel.errors import SentinelError, UsageError

if TYPE_CHECKING:
    from sentinel.sql.session import Answer, Session

PARQUET = "parquet"
PROMPT, MORE = "sql> ", "...> "


@click.command()
@click.argument("query", required=False)
@format_option("table", "csv", "json", PARQUET)
@output_option
@config_option
@click.option("--data-dir", type=FOLDER, help="Where archive and journal are; may be a URL.  [default: data]")
@click.option("--allow-files", is_flag=True, help="Let queries read and write other files.")
def sql(
    query: str | None,
    form: str | None,
    output: Path | None,
    config_file: Path | None,
    data_dir: Folder | None,
    allow_files: bool,
) -> None:
    """Query what was collected in SQL: trades, top, book, l2, flow, gaps and coverage.

    Without QUERY, reads statements that end in a semicolon, from the terminal or stdin. Conditions on time, symbol and
    exchange choose the files that are opened.
    """
    if query is None and output is not None:
        raise UsageError("--output is for one query, given as an argument")
    form = form_of(form, output, ("table", "csv", "json", PARQUET))
    if form == PARQUET and output is None:
        raise UsageError("Parquet needs a file: give --output FILE")
    config = load({}, config_file)
    try:
        from sentinel.sql.session import Session
    except ModuleNotFoundError as error:
        raise UsageError("sql needs DuckDB: pip install 'sentinel-ws[sql]'") from error
    bins = [f"imbalance_{edge}" for edge in config.book.edges_bps]
    with Session(data_dir or config.data_dir, bins, allows_files=allow_files) as session:
        if query is not None:
            for statement in session.statements(query):
                _tell(session.ask(statement), form, output)
        elif sys.stdin.isatty():
            _talk(session, form)
        else:
            for text in _statements(iter(sys.stdin)):
                for statement in session.statements(text):
                    _tell(session.ask(statement), form, None)


def _tell(answer: Answer | None, form: str, output: Path | None) -> None:
    from sentinel.sql.answers import FORMATS, as_table, write_parquet

    if answer is None:
        return
    if output is None and form == "table":
        for text in as_table(answer, width_of_stdout()):
            sys.stdout.write(text.decode())
        return
    if output is None:
        sys.stdout.buffer.writelines(FORMATS[form](answer))
        sys.stdout.buffer.flush()
        return
    with written(output) as temporary:
        if form == PARQUET:
            write_parquet(answer, temporary)
        else:
            with temporary.open("wb") as file:
                file.writelines(FORMATS[form](answer))


def _talk(session: Session, form: str) -> None:
    """Answers until the end of the input; a mistake ends nothing."""
    import readline  # noqa: F401  # lines can be edited, and called again

    click.echo(
        "DuckDB's SQL over trades, top, book, l2, flow, gaps, coverage. DESCRIBE shows columns, Ctrl-D ends.", err=True
    )
    for text in _statements(_typed()):
        try:
            for statement in session.statements(text):
                _tell(session.ask(statement), form, None)
        except SentinelError as error:
            click.echo(visible(str(error)), err=True)


def _typed() -> Iterator[str]:
    prompt = PROMPT
    while True:
        try:
            line = input(prompt)
        except EOFError:
            click.echo(err=True)
            return
        except KeyboardInterrupt:  # as a shell does: away with what was begun
            click.echo(err=True)
            prompt = PROMPT
            yield "\0"
            continue
        yield line + "\n"
        prompt = PROMPT if line.rstrip().endswith(";") else MORE


def _statements(lines: Iterator[str]) -> Iterator[str]:
    """What ends with a semicolon at the end of a line, or with the input. A line of one NUL begins anew."""
    begun = ""
    for line in lines:
        begun = "" if line == "\0" else begun + line
        if begun.rstrip().endswith(";"):
            yield begun
            begun = ""
    if begun.strip():
        yield begun
