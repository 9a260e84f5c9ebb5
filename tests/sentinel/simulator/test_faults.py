"""The file of faults."""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path

import msgspec
import pytest

from sentinel.errors import UsageError
from sentinel.simulator import faults
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.faults import KINDS, Fault
from tests import ROOT


@pytest.mark.parametrize(
    "text",
    [
        "[[fault]]\nkind = 'explode'",
        "[[fault]]\nkind = 'drop'\nwhen = 3",
        "[[fault]",
        "[[fault]]\nkind = 'drop'\nfeed = 'elsewhere'",
        "[[fault]]\nkind='drop'\ncount='x'",
        "[[fault]]\nkind='drop'\ncount=0",
        "[[fault]]\nkind='drop'\nconnection=0",
        "[[fault]]\nkind='drop'\nat_s=-1",
        "[[fault]]\nkind='halt'\nevery_s=0",
        "[[fault]]\nkind='halt'\nduration_s=-2.5",
        "[[fault]]\nkind='drop'\nprobability=2.0",
    ],
)
def test_a_wrong_fault_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"faults\.toml"):
        faults.load(path, COINBASE.facts.feeds, COINBASE.facts.faults, 1, time.time_ns)


def test_faults_that_are_armed_take_the_place_of_others_and_count_from_then() -> None:
    now_s = 100.0
    stage = faults.Faults([Fault(kind="halt")], 1, lambda: round(now_s * 1e9))
    stage.begin()
    now_s = 103.0
    stage.arm([Fault(kind="cross", at_s=2.0)])
    assert stage.lasting("halt") is None
    assert stage.lasting("cross") is None
    now_s = 105.0
    assert stage.elapsed_s() == 2.0
    assert stage.lasting("cross") is not None
    stage.arm([])
    assert not stage


def test_the_manual_names_every_kind_of_fault() -> None:
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| ", page.partition("| kind |")[2], re.MULTILINE)) == KINDS
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(msgspec.convert(tomllib.loads(example), dict[str, list[Fault]])["fault"]) == 3
