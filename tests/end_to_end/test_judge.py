"""The judges excuse what came late, or not at all, while the machine stood still, and nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.contract.line_protocol import Value
from tests.end_to_end.judge import TruthFile, judge_tops, judge_whole, own_gaps
from tests.end_to_end.store import Store, has
from tests.sentinel.archive.market import line
from tests.servers import stood
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

S = 1_000_000_000
BEGAN_NS = 1_700_000_000 * S
PRODUCT = "BTC-USD"
TAGS = {"collector": "a", "exchange": "coinbase", "symbol": PRODUCT}


def truth(folder: Path, *stands: tuple[float, float], tops: int = 100) -> TruthFile:
    """A market whose bid rises by one each tenth of a second, and when a process stood still: from, for how long."""
    sizes = {"bid_size": "1", "ask": "9999", "ask_size": "1"}
    facts: list[dict[str, Any]] = [
        {"kind": "top", "feed": "advanced", "product": PRODUCT, "sent_ns": at(each / 10), "bid": str(each), **sizes}
        for each in range(tops)
    ]
    path = folder / "truth.jsonl"
    path.write_text("".join(f"{json.dumps(fact)}\n" for fact in facts))
    spans = [
        {"fault": stood.STOOD, "start_ns": at(begun_s), "end_ns": at(begun_s + for_s)} for begun_s, for_s in stands
    ]
    path.with_name(stood.FILE).write_text("".join(f"{json.dumps(span)}\n" for span in spans))
    return TruthFile(path)


def at(seconds: float) -> int:
    return BEGAN_NS + round(seconds * 10) * S // 10


def sample(seconds: float, bid: int) -> bytes:
    values: dict[str, Value] = {"bid": float(bid), "bid_size": 1.0, "ask": 9999.0, "ask_size": 1.0}
    return line("top", TAGS, values, at(seconds))


def gap(start_s: float, end_s: float) -> bytes:
    values: dict[str, Value] = {"start_ns": at(start_s), "end_ns": at(end_s)}
    return line("gaps", TAGS | {"channel": "book", "cause": "silence"}, values, at(start_s))


@pytest.mark.parametrize(
    ("stands", "of_s", "is_good"),
    [
        ([], 4.5, True),
        ([], 3.0, False),
        ([(3.0, 1.5)], 3.0, True),
        ([(3.0, 1.5)], 1.0, False),
        ([(1.0, 0.5)], 3.0, False),
        ([(4.0, 1.0), (2.5, 0.7)], 2.0, True),
    ],
)
def test_a_sample_is_as_old_as_the_machine_stood_still(
    stands: list[tuple[float, float]], of_s: float, is_good: bool, tmp_path: Path
) -> None:
    store = Store(tmp_path, lines=[sample(5.0, round(of_s * 10))])
    if is_good:
        judge_tops(store, truth(tmp_path, *stands), PRODUCT)
    else:
        with pytest.raises(AssertionError):
            judge_tops(store, truth(tmp_path, *stands), PRODUCT)


@pytest.mark.parametrize(
    ("stands", "is_good"),
    [
        ([], False),
        ([(2.0, 3.0)], True),
        ([(2.0, 0.3)], False),
        ([(2.0, 0.3), (2.2, 0.4)], True),
        ([(40.0, 3.0)], False),
    ],
)
def test_a_gap_needs_a_machine_that_stood_still_for_long(
    stands: list[tuple[float, float]], is_good: bool, tmp_path: Path
) -> None:
    store = Store(tmp_path, lines=[sample(1.9, 1), gap(2.0, 5.0), sample(5.0, 1)])
    told = truth(tmp_path, *stands)
    assert (own_gaps(store, told) == []) == is_good
    if is_good:
        judge_whole(store, told, PRODUCT)
    with pytest.raises(AssertionError):  # neither sample nor gap
        judge_whole(Store(tmp_path, lines=[sample(1.9, 1), gap(2.0, 4.9), sample(5.0, 1)]), told, PRODUCT)


async def test_a_collector_that_was_frozen_has_written_it_down(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading([PRODUCT], truth_path) as exchange, collecting(exchange.urls, data, PRODUCT) as collector:
        await until(lambda: has(data, [PRODUCT], top=1))
        collector.freeze()
        await asyncio.sleep(1.0)  # it is this second that is to be found
        collector.thaw()
        await until(lambda: any(span["end_ns"] - span["start_ns"] >= 0.9 * S for span in stood.read(told(tmp_path))))
        assert await collector.stop() == 0
    assert TruthFile(truth_path).long_stood


def told(folder: Path) -> Path:
    return folder / stood.FILE
