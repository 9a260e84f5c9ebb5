"""Any changed byte of a sealed file shows."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from sentinel.disk.sealed import content, is_whole, sealed


class Paper(Struct):
    words: str
    count: int = 0
    sha256: str = ""


PAPER = sealed(Paper("all of it", 3))


def test_the_seal_is_the_hash_of_everything_else() -> None:
    bare = b'{"words":"all of it","count":3,"sha256":""}'
    assert PAPER.sha256 == hashlib.sha256(bare).hexdigest()
    assert sealed(PAPER) == PAPER


def test_its_file_is_for_people_too() -> None:
    text = f'{{\n  "words": "all of it",\n  "count": 3,\n  "sha256": "{PAPER.sha256}"\n}}\n'
    assert content(PAPER) == text.encode()


def test_every_changed_byte_that_can_still_be_read_shows() -> None:
    whole = content(PAPER)
    assert is_whole(msgspec.json.decode(whole, type=Paper), whole)
    read = 0
    for place in range(len(whole)):
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        try:
            paper = msgspec.json.decode(changed, type=Paper)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        read += 1
        assert not is_whole(paper, changed), place
    assert read > 64  # each digit of the hash, and more


@pytest.mark.parametrize("more", [b" ", b"\n"])
def test_so_does_what_says_the_same_in_other_bytes(more: bytes) -> None:
    assert not is_whole(PAPER, content(PAPER) + more)
    assert not is_whole(PAPER, msgspec.json.encode(PAPER))


def test_a_seal_of_other_content_is_none() -> None:
    forged = replace(PAPER, count=4)
    assert not is_whole(forged, content(forged))
    assert is_whole(sealed(forged), content(sealed(forged)))
