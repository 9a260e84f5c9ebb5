"""The one record of what is missing, in every form in which it is kept."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from sentinel.contract.gaps import Gap


def test_a_checkpoint_of_version_0_1_has_its_numbers_as_a_range() -> None:
    old = {"channel": "trades", "cause": "trades", "start_ns": 5, "end_ns": 9, "missing_count": 3, "repaired_count": 0}
    read = msgspec.msgpack.decode(
        msgspec.msgpack.encode(old | {"range": {"first": 4, "last": 6}, "given_up": None}), type=Gap
    )
    assert read == Gap("trades", "trades", 5, 9, 4, 6, 3)
    assert read.given_up is UNSET
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(read), type=Gap) == read
    nameless = msgspec.msgpack.decode(msgspec.msgpack.encode(old | {"range": None, "given_up": True}), type=Gap)
    assert nameless == Gap("trades", "trades", 5, 9, missing_count=3, given_up=True)


def test_a_certificate_has_the_bytes_that_it_had() -> None:
    written = (
        b'{"channel":"book","cause":"silence","start_ns":5,"end_ns":null,"start_seq":null,"end_seq":null,'
        b'"missing_count":0,"repaired_count":0}'
    )
    assert msgspec.json.encode(Gap("book", "silence", 5)) == written
    assert msgspec.json.decode(written, type=Gap) == Gap("book", "silence", 5)


def test_what_is_given_up_is_lacking_and_not_open() -> None:
    gap = Gap("trades", "trades", 5, 9, 4, 6, missing_count=3, repaired_count=2)
    assert (gap.is_lacking, gap.is_open) == (True, True)
    gap.given_up = True
    assert (gap.is_lacking, gap.is_open) == (True, False)
    gap.repaired_count, gap.given_up = 3, False
    assert (gap.is_lacking, gap.is_open) == (False, False)
