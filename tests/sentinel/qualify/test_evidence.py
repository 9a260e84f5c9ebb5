"""The figures of a distribution, and the digest by which a document is cited."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from sentinel.qualify.command import _is_unchanged
from sentinel.qualify.evidence import Times, as_json, digest, sealed, times_of
from tests.sentinel.qualify.made import found

S = 1_000_000_000


@pytest.mark.parametrize(
    ("spans_ns", "expected"),
    [
        ([], Times(0)),
        ([3 * S], Times(1, 3.0, 3.0, 3.0)),
        ([4 * S, 1 * S], Times(2, 1.0, 4.0, 4.0)),
        ([3 * S, 1 * S, 2 * S], Times(3, 2.0, 3.0, 3.0)),
        ([number * S for number in range(1, 101)], Times(100, 50.0, 99.0, 100.0)),
        ([number * S for number in range(1, 201)], Times(200, 100.0, 198.0, 200.0)),
    ],
)
def test_each_figure_is_one_that_occurred(spans_ns: list[int], expected: Times) -> None:
    assert times_of(spans_ns) == expected


def test_the_digest_is_of_everything_but_itself() -> None:
    document = {"b": [1, 2.5, None, "ä"], "a": {"y": 1, "x": True}, "sha256": "any"}
    # of {"a":{"x":true,"y":1},"b":[1,2.5,null,"ä"]} in UTF-8
    assert digest(document) == "34e3a24de6f144c96c1a9f4847ada0e077ba820674066e6fae6482ae3f1c7b67"
    assert digest(document | {"sha256": ""}) == digest(document)
    assert digest(document | {"b": []}) != digest(document)


def test_a_document_is_checked_as_it_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "qualification.json"
    path.write_bytes(as_json(sealed(found())))
    assert _is_unchanged(path)
    assert "unchanged" in capsys.readouterr().out
    changed = json.loads(path.read_text())
    changed["products"][0]["missing"] += 1
    path.write_text(json.dumps(changed))
    assert not _is_unchanged(path)
    assert "CHANGED" in capsys.readouterr().out


def test_the_shape_begins_with_what_it_is_and_which_version() -> None:
    document = msgspec.json.decode(as_json(sealed(found())))
    assert list(document)[:4] == ["format", "version", "sha256", "state"]
    assert (document["format"], document["version"]) == ("sentinel-ws qualification", 1)
