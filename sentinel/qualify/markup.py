"""Pieces of markup that the page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from sentinel.contract.causes import words as cause_words
from sentinel.gap_report.words import duration


class Column(NamedTuple):
    """``is_number`` is set to the right; ``is_wide`` takes a line of its own on a small screen."""

    title: str
    is_number: bool = False
    is_wide: bool = False


def number(title: str) -> Column:
    return Column(title, is_number=True)


def facts(facts: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)


def table(name: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Cells are markup already, and the first one of a row names it. What is too wide is scrolled by keys."""

    def kind(column: Column) -> str:
        names = [name for name, is_so in (("n", column.is_number), ("wide", column.is_wide)) if is_so]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f'<th scope="col"{kind(column)}>{escape(column.title)}</th>' for column in columns)
    body = ""
    for first, *others in rows:
        cells = "".join(
            f'<td{kind(column)} data-of="{escape(column.title)}">{cell}</td>'
            for column, cell in zip(columns[1:], others, strict=True)
        )
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    markup = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">{markup}</div>'


def more(what: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], count: int) -> str:
    if not count:
        return f"<p><small>No {what}.</small></p>"
    left = f" The first {len(rows):,} are shown; qualification.json has more." if count > len(rows) else ""
    return f"<details><summary>{count:,} {what}</summary><p>{left}</p>{table(what, columns, rows)}</details>"


def counts_of(counts: dict[str, int]) -> str:
    words = [f"{count:,} {escape(cause_words(kind))}" for kind, count in sorted(counts.items())]
    return "; ".join(words) or "none"


def or_dash(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def span(seconds: float) -> str:
    return duration(round(seconds * 1e9))


def time_of(seconds: float | None) -> str:
    """``12 ms``, ``1.25 s``, ``3 m 20 s``; a dash for what never happened."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    return f"{seconds:,.2f} s" if seconds < 60 else span(seconds)
