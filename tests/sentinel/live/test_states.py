"""What is told of a loss that was over before anybody looked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from feeds.market import Market
from sentinel.contract.line_protocol import Value
from sentinel.contract.lines import Lines
from sentinel.live import LiveState
from sentinel.live.states import States
from tests.sentinel.archive.market import line

S = 10**9
BTC = Market("coinbase", "BTC-USD")
TAGS = {"exchange": "coinbase", "symbol": "BTC-USD", "collector": "here", "channel": "book", "cause": "silence"}


def looked_at(states: States, proved_ns: int, **facts: Value) -> list[LiveState]:
    books = SimpleNamespace(proved_ns=proved_ns, gaps=[], lanes={}, next_ns=None)
    pipeline: Any = SimpleNamespace(products={BTC: SimpleNamespace(books=books, trades=SimpleNamespace(open_gaps=[]))})
    rows = [Lines(0, line("gaps", TAGS, facts, int(facts["start_ns"])))] if facts else []
    return states.look(pipeline, rows)


def test_it_was_known_to_be_right_up_to_the_loss_and_is_again_up_to_now() -> None:
    states = States()
    states.begin([BTC], 1 * S)
    (starting,) = looked_at(states, 0)
    assert starting == LiveState("BTC-USD", False, "starting", 1 * S, 0, 0, "coinbase")
    lost, back = looked_at(states, 42 * S, start_ns=34 * S, end_ns=41 * S)
    assert lost == LiveState("BTC-USD", False, "silence", 34 * S, 34 * S, 0, "coinbase")
    assert back == LiveState("BTC-USD", True, None, 41 * S, 42 * S, 0, "coinbase")


def test_one_that_goes_on_is_right_up_to_what_proved_it_last() -> None:
    states = States()
    states.begin([BTC], 1 * S)
    looked_at(states, 0)
    (lost,) = looked_at(states, 33 * S, start_ns=34 * S)
    assert (lost.is_proved, lost.since_ns, lost.proved_ns) == (False, 34 * S, 33 * S)
