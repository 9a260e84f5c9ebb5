"""The table of docs/reliability.md is made of what campaigns came to."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from tests import ROOT
from tests.faults import crash, table
from tests.faults.played import COINBASE
from tests.faults.reliability import BEGINS, CAMPAIGNS, ENDS, PAGE, Result, _rows, as_markdown, with_table
from tests.faults.rows import Row, write


def result(campaign: str, test: str, *rows: Row) -> Result:
    return Result(campaign, test, "abc1234", "2 cores", "2026-11-26", 1.0, list(rows))


def test_rows_of_one_fault_are_one_and_what_nobody_looked_for_is_not_made_up() -> None:
    made = as_markdown(
        [
            result("scenario-kraken", "scenario", Row("clock: back", 2, 0, [0.5, 1.5], [])),
            result("scenario-okx", "scenario", Row("clock: back", 3, 1, [2.5], [])),
            result("bad-network", "network", Row("flood", 1, 0, per_s=[99.5]), Row("flood", 1, 0, per_s=[1234.5])),
            result("killed-freeze", "killed", Row("freezing, killed", 50, 0)),
            result("crash", "crash", Row("killed at: commit", 6, 0, [9.0], [9.5], [0.4, 1.2])),
        ]
    )
    assert "| clock: back | 5 | 1 | 1.5 s, at most 2.5 s (3 of them) | no gap | `scenario` |\n" in made
    assert "| flood (at least 100 a second were taken) | 2 | 0 |" in made
    assert "| freezing, killed | 50 | 0 | not measured | not measured | `killed` |\n" in made
    assert "* 6 deaths by SIGKILL: none lost" in made
    assert "samples of the last 0.8 s, at most 1.2 s (of the 2 lives that had one), is in a gap" in made
    assert made.count("commit abc1234") == 1


def test_all_deaths_are_counted_and_judged_whether_they_cost_anything_or_not() -> None:
    before = Row("killed at: commit", 6, 0, [9.0], [9.5], [0.4])
    at_once = Row("killed at: connect", 3, 2, [], [], [])
    unjudged = Row("killed, and the run was not judged", 1, 1, [], [], [])
    assert "* 9 deaths by SIGKILL: **2 lost**" in as_markdown([result("crash", "crash", before, at_once)])
    assert "* 7 deaths by SIGKILL: **1 lost**" in as_markdown([result("crash", "crash", before, unjudged)])
    assert "* 1 deaths by SIGKILL: **1 lost**" in as_markdown([result("crash", "crash", Row("crash: ended", 1, 1))])
    passes = Row("power cut in a pass: l2", 4, 1)
    assert "* 10 power cuts, of which only what was synced is left: **1 lost**" in as_markdown(
        [result("power-cut", "power_cut", before, passes)]
    )


def test_a_campaign_that_says_it_is_wrong_is_wrong_whatever_its_rows_say(tmp_path: Path) -> None:
    campaign = next(campaign for campaign in CAMPAIGNS if campaign.name == "crash")
    told = tmp_path / "rows.json"
    write(told, [Row("killed at: commit", 6, 0)])
    assert [row.lost for row in _rows(campaign, ["tests.faults.crash"], told, 0)] == [0]
    assert [row.lost for row in _rows(campaign, ["tests.faults.crash"], told, 1)] == [0, 1]


def test_a_run_that_did_not_come_to_its_end_is_a_run_that_did_not_hold(tmp_path: Path) -> None:
    (death,) = crash.rows([3], {3}, tmp_path)
    assert (death.runs, death.lost) == (1, 1)
    assert {row.lost for row in table.rows([3], {3}, tmp_path, COINBASE.facts)} == {1}


def test_it_stands_between_its_marks() -> None:
    page = f"before\n{BEGINS}old\n{ENDS}after\n"
    assert with_table(page, "new\n") == f"before\n{BEGINS}new\n{ENDS}after\n"
    assert with_table("no place\n", "new\n") == "no place\n"
    assert with_table(PAGE.read_text(), "") != PAGE.read_text() or BEGINS + ENDS in PAGE.read_text()


def test_every_campaign_can_be_found() -> None:
    assert len({campaign.name for campaign in CAMPAIGNS}) == len(CAMPAIGNS)
    for campaign in CAMPAIGNS:
        module, *arguments = campaign.arguments(1, Path("folder"))
        if module == "pytest":
            *_, path, option, only = arguments
            assert option == "-k"
            named = re.findall(r"def (test_\w+)", (ROOT / path).read_text())
            assert all(any(word in name for name in named) for word in only.split(" or "))
        else:
            assert find_spec(module)


def test_a_campaign_of_tests_has_their_times_and_is_wrong_if_pytest_says_so(tmp_path: Path) -> None:
    told = tmp_path / "told.xml"
    told.write_text(
        '<testsuites><testsuite tests="3" skipped="1" failures="0" errors="0"><testcase><properties>'
        '<property name="heal_s" value="6.5"/></properties></testcase></testsuite></testsuites>'
    )
    campaign = next(campaign for campaign in CAMPAIGNS if campaign.name == "cluster-killed")
    assert _rows(campaign, ["pytest"], told, 0) == [Row(campaign.fault, 2, 0, None, [6.5])]
    assert _rows(campaign, ["pytest"], told, 1) == [Row(campaign.fault, 2, 1, None, [6.5])]
    assert campaign.shown(1) == "pytest tests/sentinel/cluster/test_member.py -k 'killed'"


def test_a_pass_that_was_killed_heals_by_the_next_one(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    campaign = next(campaign for campaign in CAMPAIGNS if campaign.name == "killed-archive")
    arguments = campaign.arguments(20, tmp_path)
    assert _rows(campaign, arguments, told, 1) == [Row(campaign.fault, 10, 1)]
    told.write_text("[1.5, 2.5]")
    assert _rows(campaign, arguments, told, 0) == [Row(campaign.fault, 2, 0, None, [1.5, 2.5])]
    assert campaign.shown(20) == "tests.sentinel.archive.killed --what archive --points 10"
