"""Makes things that nobody sends out of things that somebody sent, by a seed: bytes, JSON, texts and numbers.

What is made of a recorded frame is nearly a frame, so it comes further into a decoder than random bytes would.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

ODD_BYTES = [
    b'"',
    b"\\",
    b"\0",
    b"\xff",
    b"{",
    b"}",
    b"]",
    b",",
    b"0",
    b"9",
    b".",
    b"-",
    b"e",
    b"nan",
    b"null",
    b"1e400",
    b"\n",
]
ODD_JSON = [
    "null",
    "true",
    "-1",
    "0",
    "-0.0",
    "1e400",
    "1e-400",
    "NaN",
    "9223372036854775807",
    "18446744073709551616",
    "9" * 60,
    "9" * 5000,
    "0." + "1" * 60,
    "1.5",
    "[]",
    "{}",
    "[[]]",
    '""',
    '"nan"',
    '"inf"',
    '"-1"',
    '"1e400"',
    '"1e5"',
    '"0x1"',
    '"1_0"',
    '"٣"',
    '" 1"',
    '"+1"',
    '"0"',
    '"00"',
    '"1."',
    '".5"',
    '"\\u0000"',
    '"\\ud800"',
    '"' + "x" * 3000 + '"',
    '"' + "9" * 5000 + '"',
    '"0.' + "1" * 60 + '"',
    "[" * 3000 + "]" * 3000,
    '{"a":' * 3000 + "1" + "}" * 3000,
    '"1970-01-01T00:00:00Z"',
    '"9999-12-31T23:59:59.999999999Z"',
    '"0000-00-00T99:99:99Z"',
    '"2026-02-30T00:00:00Z"',
]
ODD_TEXTS = [
    "",
    " ",
    "0",
    "1",
    "-1",
    "+1",
    "1_0",
    "1e400",
    "1e-400",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "٣",
    "１２",
    "²",
    "½",
    "0x10",
    "9" * 19,
    "9" * 40,
    "9" * 5000,
    "0." + "3" * 60,
    "-0",
    "1.5",
    "\0",
    "a\0b",
    "\n",
    "\r\n",
    "\t",
    "\\",
    '"',
    "'",
    "=",
    ",",
    "a=b",
    "a,b",
    "..",
    "../../etc/passwd",
    "/",
    "*",
    "[",
    "%",
    "%00",
    "%s",
    "{}",
    "${HOME}",
    "<b>",
    "x" * 5000,
    "\U0001f41f",
    "\u202e",
    "é",
    "null",
    "true",
    "none",
    "-",
    "--",
    "--help",
    "BTC-USD",
    "kraken:BTC/USD",
    ":",
    "a:b:c",
    "coinbase:",
    "24h",
    "24h ago",
    "-1h",
    "1h-",
    "999999999d",
    "9" * 400 + "d",
    "1e9s",
    "0s",
    "١h",
    "nans",
    "yesterday",
    "now",
    "2026-11-23",
    "2026-11-23T10:00:00Z",
    "2026-13-45",
    "0001-01-01",
    "9999-12-31T23:59:59Z",
    "2026-11-23T10:00:00+99:99",
]
MARK = "\x02mark\x02"
"""Stands in a JSON for a text that no encoder would write."""


def damaged(rng: random.Random, content: bytes, odd: Sequence[bytes] = ODD_BYTES) -> bytes:
    """With one to three bytes changed, cut out or put in, or torn."""
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(content) + 1)
        match rng.randrange(5):
            case 0:
                content = content[:at] + rng.choice(odd) + content[at + 1 :]
            case 1:
                content = content[:at] + rng.choice(odd) + content[at:]
            case 2:
                content = content[:at] + content[at + rng.randrange(1, 9) :]
            case 3:
                content = content[:at] if rng.random() < 0.2 else content
            case 4 if at < len(content):
                content = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    return content


def bent(rng: random.Random, content: bytes) -> bytes:
    """A JSON in which one to three parts are others: of another kind or size, twice, gone, or by another name."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return damaged(rng, content)
    oddities = []
    for _ in range(rng.randrange(1, 4)):
        found, odd = _bent(rng, found)
        oddities += odd
    text = json.dumps(found)
    for odd in oddities:
        text = text.replace(json.dumps(MARK), odd, 1)
    return text.encode()


def _bent(rng: random.Random, found: Any) -> tuple[Any, list[str]]:
    places = list(_places(found))
    if not places:
        return MARK, [rng.choice(ODD_JSON)]
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0 if isinstance(holder, dict):
            holder[rng.choice(["", "x", f"{key}2", *holder])] = holder.pop(key)
        case 1:
            del holder[key]
        case 2 if isinstance(holder, list):
            holder.extend([holder[key]] * rng.choice([1, 2, 30]))
        case 3:
            other, elsewhere = rng.choice(places)
            if _is_there(other, elsewhere):
                holder[key] = json.loads(json.dumps(other[elsewhere]))
        case _:
            holder[key] = MARK
            return found, [rng.choice(ODD_JSON)]
    return found, []


def _places(found: Any, depth: int = 0) -> Any:
    if depth > 12:
        return
    keys = list(found) if isinstance(found, dict) else range(min(len(found), 40)) if isinstance(found, list) else ()
    for key in keys:
        yield found, key
        yield from _places(found[key], depth + 1)


def _is_there(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def odd_text(rng: random.Random, *usual: str) -> str:
    """A usual text, an odd one, or something between."""
    match rng.randrange(6):
        case 0 if usual:
            return rng.choice(usual)
        case 1:
            return rng.choice(ODD_TEXTS) + rng.choice(ODD_TEXTS)
        case 2:
            return "".join(
                chr(rng.choice([rng.randrange(128), rng.randrange(0x3000)])) for _ in range(rng.randrange(12))
            )
        case 3 if usual:
            return damaged(rng, rng.choice(usual).encode()).decode(errors="replace")
        case _:
            return rng.choice(ODD_TEXTS)


def made(rng: random.Random, content: bytes) -> bytes:
    """Something of a JSON, in one of the ways above, or as it is."""
    match rng.randrange(8):
        case 0:
            return content
        case 1:
            return rng.randbytes(rng.randrange(200))
        case 2 | 3 | 4:
            return damaged(rng, content)
        case _:
            return bent(rng, content)
