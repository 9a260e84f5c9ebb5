"""Options that mean the same in every command, written once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from sentinel.errors import UsageError
from sentinel.timing.instants import parse_duration_s

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

TIME = "2026-11-23T10:00:00Z, a date, yesterday, or 24h ago"
SUFFIXES = {
    ".arrow": "arrow",
    ".bz2": "bzip2",
    ".csv": "csv",
    ".feather": "arrow",
    ".gz": "gzip",
    ".htm": "html",
    ".html": "html",
    ".json": "json",
    ".jsonl": "jsonl",
    ".lp": "lp",
    ".md": "markdown",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".xz": "xz",
    ".zip": "zip",
    ".zst": "zstd",
}
"""What a file is by its name."""


class Option(click.Option):
    """An option that is also read by ``old`` names, which no help shows."""

    def __init__(self, *args: Any, old: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._old = old

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        shown, self.opts = self.opts, [*self.opts, *self._old]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


class Duration(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 knows no ParamType[...]
    """``30s``, ``5m``, ``48h``, ``2d``, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration_s(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def since_option(default: str | None = None, words: str = f"{TIME}.", **more: Any) -> Decorator[Any]:
    """``--since TIME``; without a ``default`` from the beginning, and None then."""
    return _time_option("--since", words, default, "the beginning", old=["--from"], **more)


def until_option(default: str | None = None, words: str = "Not included.", implied: str = "the end") -> Decorator[Any]:
    """``--until TIME``; without a ``default`` to what is ``implied``, and None then."""
    return _time_option("--until", words, default, implied, old=["--to"])


def _time_option(name: str, words: str, default: str | None, implied: str, **more: Any) -> Decorator[Any]:
    if default is not None:
        return click.option(name, cls=Option, metavar="TIME", help=words, default=default, show_default=True, **more)
    note = "" if more.get("required") else f"  [default: {implied}]"
    return click.option(name, cls=Option, metavar="TIME", help=words + note, **more)


def format_option(*formats: str) -> Decorator[Any]:
    """``--format``, which ``form_of`` gives its value where it was left out."""
    words = f"Else as the name of --output says.  [default: {formats[0]}]"
    return click.option("--format", "form", type=click.Choice(formats), help=words)


plain_format_option = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
output_option = click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="A file.  [default: stdout]"
)
config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Instead of ./sentinel.toml."
)
symbol_option = click.option(
    "--symbol",
    "symbols",
    cls=Option,
    multiple=True,
    old=["--symbols", "--market", "--markets", "--product", "--products"],
    help="BTC-USD, or EXCHANGE:SYMBOL; may be given again, or with commas.  [default: all]",
)
exchange_option = click.option(
    "--exchange",
    "exchanges",
    cls=Option,
    multiple=True,
    old=["--exchanges", "--venue"],
    help="Only of this one; may be given again, or with commas.  [default: all]",
)


def words_of(given: Sequence[str]) -> list[str]:
    """Words that were given one by one, or with commas, each once."""
    return list(dict.fromkeys(word.strip() for text in given for word in text.split(",") if word.strip()))


def form_of(form: str | None, output: Path | None, formats: Sequence[str]) -> str:
    """The format that was asked for, or that the name of the file says; else the first.

    Raises:
        UsageError: if the name says one that the command does not write.
    """
    if form is not None:
        return form
    named = None if output is None else SUFFIXES.get(output.suffix.lower())
    if named is None:
        return formats[0]
    if named not in formats:
        raise UsageError(f"{output}: {named} is not written here; --format can be {', '.join(formats)}")
    return named
