"""Books without numbers: what the ticker and the matches say of them, on the real recordings and after surgery."""

from __future__ import annotations

import json
import random

import pytest

from book.events import Delta, Snapshot, Trade
from book.order_book import OrderBook
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.market import Market
from feeds.protocol import Subscription
from sentinel.contract.line_protocol import decode
from sentinel.pipeline import LanePlan, Pipeline, Send, Settings
from tests.captures import GDAX, lines_of

S = 1_000_000_000
START_NS = 1_700_000_000 * S
SESSIONS = [f"{GDAX}/session-2018-04-15T2311.jsonl.zst", f"{GDAX}/session-2018-04-17T0055.jsonl.zst"]
SUBSCRIPTION = Subscription(frozenset({"book", "trades", "quotes"}), ("BTC-USD",))


def unbatched() -> Pipeline:
    """One product's ``level2`` with everything that can speak for it."""
    plan = LanePlan(0, "coinbase_exchange", SUBSCRIPTION)
    feed = CoinbaseExchangeFeed(SUBSCRIPTION, book_channel="level2", authenticate=dict)
    return opened(Pipeline(Settings("judge"), [plan], lambda _: feed))


def batched() -> Pipeline:
    plan = LanePlan(0, "coinbase_exchange", SUBSCRIPTION)
    return opened(Pipeline(Settings("judge"), [plan], lambda _: CoinbaseExchangeFeed(SUBSCRIPTION)))


def opened(pipeline: Pipeline) -> Pipeline:
    pipeline.start(START_NS)
    pipeline.opened(0, START_NS)
    pipeline.commands.clear()
    return pipeline


def play(pipeline: Pipeline, frames: list[bytes]) -> set[str]:
    """Causes of the book's gaps."""
    for number, frame in enumerate(frames):
        pipeline.receive(0, frame, START_NS + (number + 1) * 5_000_000)
    points = [decode(lines.text) for lines in pipeline.take().accounts]
    tags = [dict(point.tags) for point in points if point.measurement == "gaps"]
    return {tag["cause"] for tag in tags if tag["channel"] == "book"}


def witness_of(pipeline: Pipeline):
    (book,) = pipeline.lanes[0].books.values()
    assert book.witness is not None
    return book.witness


@pytest.mark.parametrize("session", SESSIONS)
def test_every_recorded_match_agrees_with_the_book(session: str) -> None:
    frames = lines_of(session)
    pipeline = unbatched()
    assert play(pipeline, frames) == set()
    witness = witness_of(pipeline)
    assert witness.agreed == sum(b'"type":"match"' in frame for frame in frames)
    assert witness.disagreed == 0


@pytest.mark.parametrize("seed", range(8))
def test_updates_cut_out_before_matches_are_found(seed: int) -> None:
    """Two matches in a row whose own level changes are gone."""
    frames = lines_of(SESSIONS[1])
    matches = [number for number, frame in enumerate(frames) if b'"type":"match"' in frame]
    chosen = random.Random(seed).randrange(5, len(matches) - 6)
    cut = set()
    for number in matches[chosen : chosen + 4]:
        match = json.loads(frames[number])
        near = range(max(0, number - 60), number)
        cut |= {at for at in near if b"l2update" in frames[at] and touches(json.loads(frames[at]), match)}
    assert cut
    pipeline = unbatched()
    assert play(pipeline, [frame for number, frame in enumerate(frames) if number not in cut]) == {"witness"}
    (asked,) = (command for command in pipeline.commands if isinstance(command, Send))
    assert [json.loads(message)["type"] for message in asked.messages] == ["unsubscribe", "subscribe"]


def touches(update: dict[str, list[list[str]]], match: dict[str, str]) -> bool:
    return any(float(price) == float(match["price"]) for _, price, _ in update["changes"])


def snapshot(bid: str = "100.00", ask: str = "101.00") -> bytes:
    book = {"type": "snapshot", "product_id": "BTC-USD", "bids": [[bid, "5"], ["99.00", "1"]], "asks": [[ask, "5"]]}
    return json.dumps(book).encode()


def ticker(bid: str, ask: str) -> bytes:
    facts = {"price": bid, "best_bid": bid, "best_ask": ask, "trade_id": 7, "time": "2026-11-23T10:00:00.000000Z"}
    return json.dumps({"type": "ticker", "product_id": "BTC-USD", "sequence": 1, "side": "buy", **facts}).encode()


def update(side: str, price: str, size: str) -> bytes:
    changes = {"changes": [[side, price, size]], "time": "2026-11-23T10:00:00.000000Z"}
    return json.dumps({"type": "l2update", "product_id": "BTC-USD", **changes}).encode()


def test_a_ticker_may_contradict_an_unbatched_book_once() -> None:
    pipeline = unbatched()
    first_is_old = ticker("1", "2")
    good, bad = ticker("100", "101"), ticker("100", "100.5")
    assert play(pipeline, [snapshot(), first_is_old, good, bad, good, bad]) == set()
    assert play(pipeline, [bad]) == {"witness"}


def test_a_ticker_may_state_the_top_before_or_after_a_batch() -> None:
    pipeline = batched()
    frames = [snapshot(), ticker("1", "2"), update("buy", "100.50", "1")]
    frames += [ticker("100", "101"), ticker("100.5", "101")] * 20
    assert play(pipeline, frames) == set()
    assert witness_of(pipeline).agreed == 40


def moves(number: int) -> bytes:
    """A batch that leaves the best prices as they are."""
    return update("buy", "50.00", str(1 + number % 2))


def test_only_lasting_contradiction_ends_a_batched_book() -> None:
    pipeline = batched()
    bad = ticker("90", "91")
    assert play(pipeline, [snapshot(), bad, *[frame for n in range(9) for frame in (moves(n), bad)]]) == set()
    assert play(pipeline, [moves(9), bad]) == {"witness"}


def test_a_book_whose_stream_has_ended_is_found_without_batches() -> None:
    assert play(batched(), [snapshot(), *[ticker("90", "91")] * 60]) == set()
    assert play(batched(), [snapshot(), *[ticker("90", "91")] * 120]) == {"witness"}


def sweep(start: int, count: int = 12) -> list[bytes]:
    """A taker who eats through ``count`` levels at one instant of the engine: a ticker for each match."""
    return [ticker("100.00", f"{101 + start + number}.00") for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [2, 12, 40])
def test_a_sweep_within_one_batch_contradicts_nothing_however_long_it_is(count: int) -> None:
    pipeline = batched()
    frames = [snapshot(), ticker("1", "2")]
    for _ in range(30):
        eaten = [["sell", "101.00", "0"], ["sell", f"{101 + count}.00", "4"]]
        refilled = [["sell", f"{101 + count}.00", "0"], ["sell", "101.00", "5"]]
        for changes in (eaten, refilled):
            frames += sweep(0, count)
            frames.append(json.dumps({**json.loads(update("buy", "1", "1")), "changes": changes}).encode())
    assert play(pipeline, frames) == set()
    assert witness_of(pipeline).disagreed > 0


def batch_up(frames: list[bytes], per_batch: int = 20) -> list[bytes]:
    """A recording of ``level2`` as ``level2_batch`` would tell it, with the tickers of its matches as they happened.

    Each match's ticker states the best prices of the unbatched book and comes before the batch it is part of.
    """
    told: list[bytes] = []
    feed = CoinbaseExchangeFeed(SUBSCRIPTION, book_channel="level2", authenticate=dict)
    book, waiting = OrderBook(), []
    for frame in frames:
        (event,) = feed.receive(frame).events or (None,)
        if isinstance(event, Snapshot):
            book.replace(event.levels)
        if isinstance(event, Delta):
            book.apply(event.changes)
            waiting.append(json.loads(frame))
            if len(waiting) == per_batch:
                changes = [change for each in waiting for change in each["changes"]]
                told.append(json.dumps(waiting[-1] | {"changes": changes}).encode())
                waiting.clear()
            continue
        told.append(frame)
        if isinstance(event, Trade) and event.is_live:
            top = book.top()
            assert top is not None
            told.append(ticker(repr(top.bid), repr(top.ask)))
    return told


@pytest.mark.parametrize("per_batch", [20, 200])
@pytest.mark.parametrize("session", SESSIONS)
def test_no_batching_of_a_recording_is_contradicted_by_its_tickers(session: str, per_batch: int) -> None:
    assert play(batched(), batch_up(lines_of(session), per_batch)) == set()


def test_impossible_deltas_are_no_reason_to_act() -> None:
    pipeline = unbatched()
    assert play(pipeline, [snapshot(), *[update("buy", f"{price}.00", "0.00") for price in range(20, 60)]]) == set()
    assert witness_of(pipeline).orphan_deletes == 40


def test_a_fresh_snapshot_ends_the_gap() -> None:
    pipeline = unbatched()
    bad = ticker("100", "100.5")
    assert play(pipeline, [snapshot(), bad, bad, bad]) == {"witness"}
    assert not pipeline.products[Market.parse("BTC-USD")].books.is_proved
    assert play(pipeline, [snapshot("100.00", "100.50"), ticker("100", "100.5")]) == {"witness"}
    assert pipeline.products[Market.parse("BTC-USD")].books.is_proved
