"""Text for terminals, pipes and files of any locale: what an encoding lacks is written in characters that all have."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
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
