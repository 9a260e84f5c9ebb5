"""Each claim can be broken, and what nothing could have broken is not judged."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.monitor.observation import LaneCounts, Observation
from sentinel.monitor.terminal import Figures
from sentinel.qualify.claims import judge, verdict
from sentinel.qualify.evidence import Claim, GapsFound, Lateness, Process, Qualification, Times, Verified
from sentinel.qualify.state import Known, ProcessState
from tests.sentinel.qualify.made import feed, found, known, points, product


def judged(name: str, of: Qualification, state: Known | None = None) -> Claim:
    return next(claim for claim in judge(of, state or known()) if claim.name == name)


def gap(channel: str = "book", cause: str = "sequence", **changed: Any) -> GapsFound:
    facts = {"count": 1, "open": 0, "missing": 0, "repaired": 0} | changed
    return GapsFound(channel, cause, length=Times(0), **facts)


def process(residue: int = 0, failures: dict[str, int] | None = None) -> ProcessState:
    lane = LaneCounts("coinbase_advanced", 10, 9, 1 - residue, 0, 0, 0, 0, residue, {})
    last = Observation(0, 60.0, 1.0, 1, 1, 1, [], [], [], [lane], failures or {}, 0, Figures())
    return ProcessState(0, 60, 0, last)


@pytest.mark.parametrize(
    ("name", "of", "expected"),
    [
        ("trades", found(), "holds"),
        ("trades", found(products=[product(missing=1)]), "broken"),
        ("trades", found(products=[product(doubled=1)]), "broken"),
        ("trades", found(products=[product(trade_proof="none", missing=3)]), "not judged"),
        ("trades", found(products=[product(trades=0)]), "not judged"),
        ("instants", found(products=[product(withheld=4, named=4)]), "holds"),
        ("instants", found(products=[product(withheld=4, named=3)]), "broken"),
        ("instants", found(products=[product(withheld=3, named=4)]), "broken"),
        ("instants", found(products=[product(withheld=1, named=0), product(withheld=0, named=1)]), "broken"),
        ("instants", found(products=[product(not_collected=1)]), "broken"),
        ("instants", found(products=[]), "not judged"),
        ("accounts", found(), "holds"),
        ("accounts", found(products=[product(stored_samples=599)]), "broken"),
        ("accounts", found(products=[product(due=601)]), "broken"),
        ("accounts", found(products=[]), "not judged"),
        ("losses", found(), "holds"),
        ("losses", found(feeds=[feed(frames_lost=2)]), "broken"),
        ("losses", found(feeds=[feed(frames_lost=2)], gaps=[gap(missing=2)]), "holds"),
        ("losses", found(feeds=[feed(frames_lost=None)]), "not judged"),
        ("losses", found(feeds=[feed(frames=0)]), "not judged"),
        ("healing", found(), "not judged"),
        ("healing", found(gaps=[gap()]), "holds"),
        ("healing", found(gaps=[gap(open=1)]), "broken"),
        ("healing", found(gaps=[gap("trades", "trades", missing=3, repaired=3)]), "holds"),
        ("healing", found(gaps=[gap("trades", "trades", missing=3, repaired=2)]), "broken"),
        ("punctuality", found(), "holds"),
        ("punctuality", found(lateness=Lateness(10, 500.0, 1000.0, 2000.0)), "holds"),
        ("punctuality", found(handling=Lateness(10, 50.0, 100.7, 200.0)), "broken"),
        ("punctuality", found(handling=Lateness(0, 0.0, 0.0, 0.0)), "not judged"),
        ("running", found(processes=[Process(0, 1, 0)]), "holds"),
        ("running", found(processes=[Process(0, 1, None)]), "holds"),
        ("running", found(processes=[Process(0, 1, -9), Process(1, 2, 0)]), "broken"),
        ("running", found(), "not judged"),
        ("certificates", found(), "not judged"),
        ("certificates", found(verified=Verified(2, True, {"chain": 2}, [], {})), "holds"),
        ("certificates", found(verified=Verified(2, False, {"chain": 2}, ["gone"], {})), "broken"),
    ],
)
def test_what_a_claim_is_judged_by(name: str, of: Qualification, expected: str) -> None:
    assert judged(name, of).verdict == expected


def test_a_frame_that_went_nowhere_breaks_the_accounts() -> None:
    assert judged("accounts", found(), known(processes=[process()])).verdict == "holds"
    assert judged("accounts", found(), known(processes=[process(residue=1)])).verdict == "broken"


def test_a_part_that_failed_is_named() -> None:
    claim = judged("running", found(processes=[Process(0, 1, 0)]), known(processes=[process(failures={"repair": 2})]))
    assert claim.verdict == "broken"
    assert claim.found.endswith("parts that failed: repair 2 times")


@pytest.mark.parametrize(
    ("megabytes", "facts", "expected"),
    [
        ([100.0] * 9, {}, "holds"),
        ([100.0] * 8, {}, "not judged"),
        ([100, 120, 120, 120, 120, 120, 120, 126, 125], {}, "holds"),
        ([100, 120, 120, 120, 120, 120, 120, 127, 125], {}, "broken"),
    ],
)
def test_memory_is_judged_by_its_most_in_each_half(
    megabytes: list[float], facts: dict[str, Any], expected: str
) -> None:
    assert judged("steadiness", found(), known(series=points(megabytes, **facts))).verdict == expected


def test_descriptors_that_leak_break_it() -> None:
    half = points([100.0] * 5)
    other = points([100.0] * 9, descriptors=29)[5:]
    assert judged("steadiness", found(), known(series=half + other)).verdict == "broken"
    other = points([100.0] * 9, descriptors=28)[5:]
    assert judged("steadiness", found(), known(series=half + other)).verdict == "holds"


def test_one_broken_claim_is_enough_and_none_judged_is_no_verdict() -> None:
    def claims(*verdicts: Any) -> list[Claim]:
        return [Claim("", "", "", each, "") for each in verdicts]

    assert verdict(claims("holds", "broken", "not judged")) == "broken"
    assert verdict(claims("holds", "not judged")) == "holds"
    assert verdict(claims("not judged")) == "not judged"
