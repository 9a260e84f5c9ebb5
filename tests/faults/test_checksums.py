"""The judge of books with checksums sees what is wrong, and nothing where all is well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.simulator.kraken.facts import FACTS
from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.faults.checksums import S, judge_losses, judge_refuted
from tests.faults.warp import Warp

LATE_NS = S // 10
PRODUCT = "BTC/USD"
REFUTED = {"kind": "refuted", "feed": "kraken", "connection": 1, "product": PRODUCT, "t_ns": 10 * S}
CORRUPT = {
    "kind": "fault", "fault": "corrupt", "feed": "kraken", "connection": 1, "channel": "book", "product": PRODUCT,
    "start_ns": 10 * S, "end_ns": 10 * S,
}  # fmt: skip
DELAY = CORRUPT | {"fault": "delay", "start_ns": 9 * S}


def snapshot(t_ns: int, connection: int) -> dict[str, Any]:
    return {"kind": "snapshot", "feed": "kraken", "connection": connection, "product": PRODUCT, "t_ns": t_ns}


def truth(folder: Path, *facts: dict[str, Any]) -> TruthFile:
    path = folder / "truth.jsonl"
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    return TruthFile(path, "kraken")


@pytest.mark.parametrize(
    ("others", "known_again_s"),
    [
        ([snapshot(2 * S, 1)], None),
        ([snapshot(2 * S, 1), snapshot(12 * S, 1)], 12),
        ([snapshot(2 * S, 1), snapshot(13 * S, 2)], 13),
        ([snapshot(2 * S, 1), snapshot(9 * S, 2)], 10),
        ([DELAY], 10),
    ],
)
def test_samples_of_a_book_that_was_refuted_are_found(
    others: list[dict[str, Any]], known_again_s: int | None, tmp_path: Path
) -> None:
    found = truth(tmp_path, REFUTED, *others)
    instants = list(range(5 * S, 20 * S, CADENCE_NS))
    end_ns = 20 * S if known_again_s is None else known_again_s * S
    sound = [instant for instant in instants if instant <= 10 * S + LATE_NS or instant >= end_ns]
    assert list(judge_refuted(found, PRODUCT, sound, LATE_NS)) == []
    assert list(judge_refuted(found, "ETH/USD", instants, LATE_NS)) == []
    assert bool(list(judge_refuted(found, PRODUCT, instants, LATE_NS))) == (sound != instants)


@pytest.mark.parametrize(
    ("facts", "loss_s", "is_explained"),
    [
        ([REFUTED], (9, 11), True),
        ([REFUTED], (9, None), True),
        ([REFUTED], (5.5, 10.1), True),  # of a stall: the last proof is as old as that is long
        ([REFUTED], (5.5, 9.9), False),
        ([REFUTED], (13, 14), True),  # delayed, and the proof before it, too
        ([REFUTED], (15, 16), False),
        ([REFUTED | {"product": "ETH/USD"}], (9, 11), False),
        ([CORRUPT], (9, 11), True),
        ([CORRUPT | {"channel": "trade"}], (9, 11), False),
        ([CORRUPT | {"fault": "reorder"}], (9, 11), False),  # if it broke anything, a checksum was refuted
        ([], (9, 11), False),
    ],
)
def test_a_loss_that_nothing_explains_is_found(
    facts: list[dict[str, Any]], loss_s: tuple[float, float | None], is_explained: bool, tmp_path: Path
) -> None:
    start_s, end_s = loss_s
    losses = [(round(start_s * S), None if end_s is None else round(end_s * S))]
    problems = list(judge_losses(truth(tmp_path, *facts), FACTS, PRODUCT, losses, Warp()))
    assert (problems == []) == is_explained
