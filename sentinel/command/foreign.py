"""What others have written, such as venues and stores: it commands no terminal and no spreadsheet, and gives away
nothing that they were told in confidence.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

LEAST_SECRET = 4
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


def hushed(text: str, *secrets: str) -> str:
    """Without the secrets that somebody was told and says again, as they are or as they travel. What is shorter than
    ``LEAST_SECRET`` is in many words, and no secret."""
    for secret in (secret for secret in secrets if len(secret) >= LEAST_SECRET):
        for form in _forms(secret):
            text = text.replace(form, "…")
    return text


def _forms(secret: str) -> list[str]:
    """As it is, quoted, and in base64 whatever stands before it, such as a user's name."""
    raw = secret.encode()
    forms = [secret, quote(secret, safe=""), quote(secret), quote_plus(secret)]
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        # the first and the last character may be made of other bytes, too
        bare = encoded[(0, 2, 3)[before] : len(encoded) - ((before + len(raw)) % 3 > 0)]
        forms += [bare, bare.replace("+", "-").replace("/", "_")]
    return sorted(set(forms), key=len, reverse=True)
