"""The recording of Deribit through the feed, its chains and its books, against decimals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from book.bins import DEFAULT_EDGES_BPS, BookMeasure
from book.events import Delta, Refused, Snapshot, Subscribed, Unknown
from book.order_book import OrderBook
from book.proof import Chain, Hole, Verdict, make_chain
from feeds.deribit.protocol import DeribitFeed
from feeds.deribit.rest import DeribitRest
from feeds.protocol import Subscription
from feeds.rest import Listed, Reply
from tests.book.oracle import OracleBook
from tests.captures import lines_of

DERIBIT = "deribit-cryptofeed-2021-07-22"
BUSIEST = "BTC-24SEP21-8000-P"


@dataclass
class Replay:
    """What the feed said of the recording, what the chains said of that, and what the oracle read."""

    kinds: Counter[str] = field(default_factory=Counter)
    books: dict[str, OrderBook] = field(default_factory=dict)
    measures: dict[str, BookMeasure] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    oracles: dict[str, OracleBook] = field(default_factory=dict)
    verdicts: list[tuple[str, Verdict | Hole]] = field(default_factory=list)
    served: dict[str, frozenset[str]] = field(default_factory=dict)
    measured: int = 0

    def take(self, event: object) -> None:
        self.kinds["Delta" if isinstance(event, Delta) else type(event).__name__] += 1
        match event:
            case Snapshot(product=product):
                self.books[product], self.measures[product] = OrderBook(), BookMeasure(DEFAULT_EDGES_BPS)
                self.books[product].replace(event.bids, event.asks)
                chain = make_chain("previous")
                assert chain is not None
                self.chains[product] = chain
                self.verdicts.append((product, chain.begin(event)))
            case Delta(product=product):
                self.verdicts.append((product, self.chains[product].check(event)))
                self.books[product].apply(event)
            case Subscribed():
                self.served = event.channels
            case Refused():
                raise AssertionError(event)

    def read(self, frame: bytes) -> str | None:
        """The same frame as the oracle sees it: decimals as they are written."""
        message = json.loads(frame, parse_float=str, parse_int=str)
        data = message.get("params", {}).get("data", {})
        if not message.get("params", {}).get("channel", "").startswith("book."):
            return None
        changes = [
            (side, price, "0" if action == "delete" else size)
            for side in ("bid", "ask")
            for action, price, size in data[f"{side}s"]
        ]
        oracle = self.oracles.setdefault(data["instrument_name"], OracleBook())
        (oracle.replace if data["type"] == "snapshot" else oracle.apply)(changes)
        name: str = data["instrument_name"]
        return name

    def judge(self, product: str) -> None:
        book, oracle = self.books[product], self.oracles[product]
        assert dict(book.bids) == {float(price): float(size) for price, size in oracle.bids.items()}
        assert dict(book.asks) == {float(price): float(size) for price, size in oracle.asks.items()}
        measured = self.measures[product].measure(book)
        assert (measured is None) == (not oracle.bids or not oracle.asks)
        if measured is None:
            return
        self.measured += 1
        for index, edge in enumerate(DEFAULT_EDGES_BPS):
            assert tuple(measured.bids[index]) == oracle.depth("bid", edge)
            assert tuple(measured.asks[index]) == oracle.depth("ask", edge)
        top = oracle.top()
        found = measured.top
        assert (found.bid, found.ask, measured.mid, measured.microprice) == (
            top["bid"],
            top["ask"],
            top["mid"],
            top["microprice"],
        )


def replay(frames: Sequence[bytes]) -> Replay:
    products = tuple(sorted({name.split(".")[1] for name in json.loads(frames[0])["result"]}))
    feed = DeribitFeed(Subscription(frozenset({"book", "trades"}), products))
    found = Replay()
    for frame in frames:
        meaning = feed.receive(frame)
        assert meaning.sequence is None
        for event in meaning.events:
            found.take(event)
        product = found.read(frame)
        if product is not None:
            found.judge(product)
    assert feed.outbox() == []
    return found


def test_every_chain_is_whole_and_every_book_is_the_oracles() -> None:
    found = replay(lines_of(f"{DERIBIT}/raw.jsonl.zst"))
    assert found.kinds == {"Subscribed": 1, "Snapshot": 10, "Delta": 36, "Unknown": 89}
    assert {verdict for _, verdict in found.verdicts} == {Verdict.NEXT}
    assert len(found.books) == len(found.served["book"]) == len(found.served["trades"]) == 10
    assert found.measured > 0
    assert all(not book.is_crossed for book in found.books.values())


def test_tickers_are_unknown_by_their_kind() -> None:
    feed = DeribitFeed(Subscription(frozenset({"book"}), (BUSIEST,)))
    tickers = [frame for frame in lines_of(f"{DERIBIT}/raw.jsonl.zst") if b'"channel":"ticker.' in frame]
    assert {event for frame in tickers for event in feed.receive(frame).events if isinstance(event, Unknown)} == {
        Unknown("ticker")
    }


@pytest.mark.parametrize("place", [0, 7, 28])
def test_a_frame_cut_out_is_named_as_exactly_that_hole(place: int) -> None:
    frames = lines_of(f"{DERIBIT}/raw.jsonl.zst")
    start = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.%s.' % BUSIEST.encode()
    changes = [number for number, frame in enumerate(frames) if frame.startswith(start) and b'"type":"change"' in frame]
    assert len(changes) == 30
    cut = frames.pop(changes[place])
    feed = DeribitFeed(Subscription(frozenset({"book"}), (BUSIEST,)))
    chain = make_chain("previous")
    assert chain is not None
    verdicts: list[Verdict | Hole] = []
    for frame in frames:
        for event in feed.receive(frame).events:
            if isinstance(event, Snapshot) and event.product == BUSIEST:
                verdicts.append(chain.begin(event))
            elif isinstance(event, Delta) and event.product == BUSIEST:
                verdicts.append(chain.check(event))
    lost = json.loads(cut)["params"]["data"]
    hole = Hole(lost["prev_change_id"] + 1, lost["change_id"], is_dense=False)
    assert [verdict for verdict in verdicts if verdict is not Verdict.NEXT] == [hole]


def test_the_recorded_lists_of_instruments() -> None:
    counts: Counter[str] = Counter()
    for line in lines_of(f"{DERIBIT}/http.jsonl.zst")[1:3]:
        conversation = DeribitRest().products()
        next(conversation)
        with pytest.raises(StopIteration) as end:
            conversation.send(Reply(200, json.loads(line)["data"].encode()))
        listed: list[Listed] = end.value.value
        counts.update(one.kind for one in listed)
        assert {one.state for one in listed} == {"trading"}
        assert f"{listed[0].base}-PERPETUAL" in {one.symbol for one in listed if one.kind == "perpetual"}
    assert counts.total() == 398 + 426
    assert counts["perpetual"] == 2
    assert counts["option"] > 10 * counts["future"]
