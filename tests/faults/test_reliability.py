"""The table of docs/reliability.md is made of what campaigns came to."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tests import ROOT
from tests.faults.reliability import BEGINS, CAMPAIGNS, ENDS, PAGE, Result, as_markdown, with_table
from tests.faults.rows import Row


def result(campaign: str, test: str, *rows: Row) -> Result:
    return Result(campaign, test, "abc1234", "2 cores", "2026-11-26", 1.0, list(rows))


def test_rows_of_one_fault_are_one_and_what_nobody_looked_for_is_not_made_up() -> None:
    made = as_markdown(
        [
            result("scenario-kraken", "scenario", Row("clock: back", 2, 0, [0.5, 1.5], [])),
            result("scenario-okx", "scenario", Row("clock: back", 3, 1, [2.5], [])),
            result("killed-freeze", "killed", Row("freezing, killed", 50, 0)),
            result("crash", "crash", Row("killed at: commit", 6, 0, [9.0], [9.5], [0.4, 1.2])),
        ]
    )
    assert "| clock: back | 5 | 1 | 1.5 s, at most 2.5 s | no gap | `scenario` |\n" in made
    assert "| freezing, killed | 50 | 0 | not measured | not measured | `killed` |\n" in made
    assert "* 6 deaths by SIGKILL: none lost" in made
    assert "samples of the last 0.8 s, at most 1.2 s, is in a gap" in made
    assert made.count("commit abc1234") == 1


def test_it_stands_between_its_marks() -> None:
    page = f"before\n{BEGINS}old\n{ENDS}after\n"
    assert with_table(page, "new\n") == f"before\n{BEGINS}new\n{ENDS}after\n"
    assert with_table("no place\n", "new\n") == "no place\n"
    assert with_table(PAGE.read_text(), "") != PAGE.read_text() or BEGINS + ENDS in PAGE.read_text()


def test_every_campaign_can_be_found() -> None:
    assert len({campaign.name for campaign in CAMPAIGNS}) == len(CAMPAIGNS)
    for campaign in CAMPAIGNS:
        module, *_, last = campaign.arguments(1, Path("folder"))
        assert (ROOT / last).exists() if module == "pytest" else find_spec(module)
