"""Errors of ours are a line, whoever had a part in their words."""

from __future__ import annotations

import pytest

from sentinel.errors import UNREADABLE, SentinelError, UsageError


@pytest.mark.parametrize("kind", [SentinelError, UsageError])
def test_an_error_is_one_line_and_commands_no_terminal(kind: type[SentinelError]) -> None:
    assert str(kind("no such file: a\nb\x1b[2Jé🐟\u202e\x00")) == r"no such file: a\nb\x1b[2Jé🐟\u202e\x00"


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "\x00", '{"a": ' + "9" * 5000 + "}"])
def test_what_cannot_be_read_is_refused_in_one_way(text: str) -> None:
    import tomllib

    import msgspec

    for decode in (tomllib.loads, lambda words: msgspec.json.decode(words, type=dict[str, int])):
        with pytest.raises(UNREADABLE):
            decode(text)
