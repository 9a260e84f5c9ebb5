"""The judge of books with numbers of their own sees what is wrong, and nothing where all is well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.faults.chains import S, judge_holes, judge_unproved
from tests.throwaway.simulator.tidepool.dialect import FACTS

LOST_NS, LATE_NS = 10 * S, S // 10
LOSS = {
    "kind": "fault", "fault": "drop", "feed": "tidepool", "connection": 1, "channel": "b", "product": "BTC_USD",
    "sequence_first": 11, "sequence_last": 13, "trade_ids": [], "start_ns": LOST_NS, "end_ns": LOST_NS,
}  # fmt: skip
ASKED = {"kind": "connection", "event": "message", "feed": "tidepool", "connection": 2, "text": '["BTC_USD"]'}


def snapshot(t_ns: int, sequence: int) -> dict[str, Any]:
    return {
        "kind": "snapshot", "feed": "tidepool", "connection": None, "product": "BTC_USD",
        "sequence": sequence, "t_ns": t_ns,
    }  # fmt: skip


def truth(folder: Path, *facts: dict[str, Any]) -> TruthFile:
    path = folder / "truth.jsonl"
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    return TruthFile(path, "tidepool")


@pytest.mark.parametrize(
    ("others", "known_again_s"),
    [
        ([], None),
        ([snapshot(12 * S, 13)], 12),
        ([snapshot(12 * S, 12)], None),
        ([snapshot(9 * S, 14)], 9),
        ([snapshot(12 * S, 12), snapshot(13 * S, 20)], 13),
        ([ASKED | {"t_ns": 11 * S}, snapshot(12 * S, 5)], 12),
        ([ASKED | {"t_ns": 13 * S}, snapshot(12 * S, 5)], None),
        ([ASKED | {"t_ns": 11 * S, "text": '["ETH_USD"]'}, snapshot(12 * S, 5)], None),
        ([ASKED | {"t_ns": 8 * S}, snapshot(9 * S, 5)], 8),
    ],
)
def test_samples_of_a_book_that_lacks_a_change_are_found(
    others: list[dict[str, Any]], known_again_s: int | None, tmp_path: Path
) -> None:
    found = truth(tmp_path, LOSS, *others)
    instants = list(range(5 * S, 20 * S, CADENCE_NS))
    end_ns = 20 * S if known_again_s is None else known_again_s * S
    sound = [instant for instant in instants if instant <= LOST_NS + LATE_NS or instant >= end_ns]
    assert list(judge_unproved(found, FACTS, "BTC_USD", sound, LATE_NS)) == []
    assert list(judge_unproved(found, FACTS, "ETH_USD", instants, LATE_NS)) == []
    assert bool(list(judge_unproved(found, FACTS, "BTC_USD", instants, LATE_NS))) == (sound != instants)


@pytest.mark.parametrize(("fault", "is_sound"), [("reorder", True), ("drop", False)])
def test_a_snapshot_that_comes_late_is_a_book_and_one_that_is_lost_is_none(
    fault: str, is_sound: bool, tmp_path: Path
) -> None:
    sent = snapshot(LOST_NS, 13) | {"connection": 1}
    found = truth(tmp_path, sent, LOSS | {"fault": fault})
    instants = list(range(LOST_NS, 20 * S, CADENCE_NS))
    assert (list(judge_unproved(found, FACTS, "BTC_USD", instants, LATE_NS)) == []) == is_sound


ANEW = snapshot(20 * S, 0) | {"connection": 1}
AGAIN = LOSS | {"sequence_first": 8, "sequence_last": 12, "start_ns": 40 * S, "end_ns": 40 * S}
"""Numbers of a connection begin anew with a snapshot of its own."""


@pytest.mark.parametrize(
    ("others", "named", "problems"),
    [
        ([], [(11, 13)], []),
        ([], [], ["is not named"]),
        ([], [(11, 14)], ["did not happen", "is not named"]),
        ([LOSS | {"sequence_first": 14, "sequence_last": 14}], [(11, 14)], []),
        ([LOSS | {"sequence_first": 20, "sequence_last": 20}], [(11, 13)], []),
        ([LOSS | {"fault": "rest", "product": None}], [], []),
        ([LOSS | {"fault": "hide", "channel": None, "sequence_first": None}], [], ["is not named"]),
        (
            [LOSS | {"fault": "reorder", "sequence_first": 20, "sequence_last": 20}],
            [(11, 13), (21, 21)],
            ["did not happen"],
        ),
        ([{"kind": "connection", "event": "closed", "feed": "tidepool", "connection": 1, "t_ns": 11 * S}], [], []),
        ([ANEW, AGAIN], [(11, 13), (8, 12)], []),
        ([ANEW, AGAIN], [(8, 13)], ["did not happen", "is not named", "is not named"]),
        ([snapshot(20 * S, 13), AGAIN], [(8, 13)], []),
    ],
)
def test_holes_are_held_against_what_was_lost(
    others: list[dict[str, Any]], named: list[tuple[int, int]], problems: list[str], tmp_path: Path
) -> None:
    told = list(judge_holes(truth(tmp_path, LOSS, *others), FACTS, "BTC_USD", named))
    assert len(told) == len(problems)
    assert all(words in problem for words, problem in zip(problems, told, strict=True))
