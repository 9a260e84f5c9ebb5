"""Text for terminals, pipes, spreadsheets and files of any locale: what an encoding lacks is written in characters that
all have, and what others have written, such as a venue, commands nobody's terminal and no spreadsheet.
"""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

PLAIN = "sentinel.plain"
"""The name of the error handler, for ``encode`` and streams."""

SPELLED = {
    "·": "-",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "≥": ">=",
    "≤": "<=",
    "→": "->",
    "←": "<-",
    "µ": "u",
    "μ": "u",
    "█": "#",
    "•": "*",
}  # fmt: skip

FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet takes for something to be worked out."""


class _Commands(dict[int, int]):
    """By character, for ``str.translate``: a picture of each that is no text. Each for one, so that styles stay put."""

    def __missing__(self, code: int) -> int:
        kind = unicodedata.category(chr(code))
        if kind == "Cc":
            shown = 0x2400 + code if code < 0x20 else 0x2421 if code == 0x7F else 0xFFFD
        else:  # marks that turn the direction of writing, and ends of lines that few know
            shown = 0xFFFD if kind in ("Cf", "Zl", "Zp", "Cs", "Co") else code
        self[code] = shown
        return shown


_COMMANDS = _Commands()


def visible(text: str) -> str:
    """Of the same length, on one line, and without anything that a terminal obeys: escapes, line ends, marks of
    direction."""
    return text if text.isascii() and text.isprintable() else text.translate(_COMMANDS)


def visible_lines(text: str) -> str:
    """The same of a text whose lines are to stay."""
    return "\n".join(map(visible, text.split("\n")))


def as_cells(row: Iterable[object]) -> list[object]:
    """The same for a spreadsheet, which would work out a text that begins like a formula, and takes a carriage return,
    which Python does not quote, for the end of a row. Numbers stay numbers."""
    return [_cell(value) if isinstance(value, str) else value for value in row]


def _cell(text: str) -> str:
    text = visible_lines(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled, error.object[error.start : error.end])), error.end


def _spelled(character: str) -> str:
    if character in SPELLED:
        return SPELLED[character]
    if "\u2500" <= character <= "\u257f":  # lines of tables and bars
        return "-"
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?"


codecs.register_error(PLAIN, _plain)


def make_printable() -> None:
    """From now on whatever is printed can be, in any locale, and to streams that are closed, too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # as Python has it when the descriptor is closed
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # for as long as the process lives
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAIN)
