"""Surgery on the real recordings: what is cut out is what the gaps name, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Sequence

import pytest

from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.protocol import Feed, Subscription
from sentinel.contract.line_protocol import decode
from sentinel.pipeline import LanePlan, Pipeline, Settings
from tests.captures import GDAX, MATCHES, lines_of

S = 1_000_000_000
START_NS = 1_700_000_000 * S
FRAME_NS = 20_000_000
SETTLE_NS = 20 * S


def gaps_of(
    feed: Feed, products: tuple[str, ...], frames: Sequence[bytes]
) -> dict[tuple[str, str], set[tuple[int, int]]]:
    """(symbol, cause) -> the ranges named, after playing the frames and a quiet time."""
    channels = frozenset({"book", "trades"}) if feed.integrity == "sequence" else frozenset({"trades"})
    plan = LanePlan(0, feed.venue, Subscription(channels, products))
    pipeline = Pipeline(Settings("judge"), [plan], lambda _: feed)
    pipeline.start(START_NS)
    pipeline.opened(0, START_NS)
    now_ns = START_NS
    for frame in frames:
        now_ns += FRAME_NS
        pipeline.receive(0, frame, now_ns)
    pipeline.tick(now_ns + 2 * S)
    found: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for line in (lines.text for lines in pipeline.take().accounts):
        point = decode(line)
        tags, fields = dict(point.tags), dict(point.fields)
        if point.measurement == "gaps" and "start_seq" in fields:
            assert fields["missing_count"] == int(fields["end_seq"]) - int(fields["start_seq"]) + 1
            found.setdefault((tags["symbol"], tags["cause"]), set()).add((fields["start_seq"], fields["end_seq"]))  # type: ignore[arg-type]
    return found


def runs(numbers: Collection[int]) -> set[tuple[int, int]]:
    """Ascending numbers as ranges."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return set(found)


@pytest.mark.parametrize("seed", range(20))
def test_frames_cut_out_of_the_advanced_recording(seed: int, advanced_frames: list[bytes]) -> None:
    products = ("BTC-USD", "ETH-USD")
    rng = random.Random(seed)
    cut = set()
    for _ in range(rng.randrange(1, 6)):
        first = rng.randrange(20, len(advanced_frames) - 20)
        cut.update(range(first, first + rng.choice((1, 1, 2, 7))))
    kept = [frame for number, frame in enumerate(advanced_frames) if number not in cut]
    found = gaps_of(CoinbaseAdvancedFeed(Subscription(frozenset({"book", "trades"}), products)), products, kept)
    for product in products:
        assert found.get((product, "sequence"), set()) == runs(cut)
        lost = trade_ids(advanced_frames, product) - trade_ids(kept, product)
        # a trade at either end of what is left cannot be told from one that never was
        seen = trade_ids(kept, product)
        lost = {trade_id for trade_id in lost if min(seen) < trade_id < max(seen)}
        assert found.get((product, "trades"), set()) == runs(lost)
    assert set(found) <= {(product, cause) for product in products for cause in ("sequence", "trades")}


def trade_ids(frames: Sequence[bytes], product: str) -> set[int]:
    """Of either feed, by plain JSON."""
    found = set()
    for frame in frames:
        if b"trade" not in frame:
            continue
        message = json.loads(frame)
        trades = [trade for event in message.get("events", []) for trade in event.get("trades", [])]
        trades += [message] if message.get("type") in ("match", "last_match") else []
        found.update(int(trade["trade_id"]) for trade in trades if trade["product_id"] == product)
    return found


@pytest.mark.parametrize(
    ("recording", "products"),
    [
        (f"{MATCHES}/raw.jsonl.zst", ("BTC-USD", "ETH-USD", "LTC-USD")),
        (f"{GDAX}/session-2018-04-15T2311.jsonl.zst", ("BTC-USD",)),
        (f"{GDAX}/session-2018-04-17T0055.jsonl.zst", ("BTC-USD",)),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_matches_cut_out_of_the_exchange_recordings(recording: str, products: tuple[str, ...], seed: int) -> None:
    frames = [frame for frame in lines_of(recording) if b'"match"' in frame or b'"last_match"' in frame]
    rng = random.Random(seed)
    cut = set(rng.sample(range(len(frames)), rng.randrange(1, len(frames) // 4)))
    kept = [frame for number, frame in enumerate(frames) if number not in cut]
    found = gaps_of(CoinbaseExchangeFeed(Subscription(frozenset({"trades"}), products)), products, kept)
    for product in products:
        seen = trade_ids(kept, product)
        lost = {number for number in trade_ids(frames, product) - seen if min(seen) < number < max(seen)}
        assert found.get((product, "trades"), set()) == runs(lost)
    assert {cause for _, cause in found} <= {"trades"}
