"""OKX: every shape of reference protocols section 7 and reference venues section 3.4, and every quirk."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, TypeVar

import pytest

from book.events import (
    Closing,
    Delta,
    Event,
    Heartbeat,
    Link,
    ProductStatus,
    Refused,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    Unusable,
)
from book.proof import Hole, PreviousChain, Verdict
from feeds.errors import NoAnswer, Undecodable, Unplannable
from feeds.okx.protocol import OkxFeed, OkxTradesFeed
from feeds.okx.rest import OkxRest
from feeds.okx.venue import Okx, OkxSettings
from feeds.protocol import Subscription
from feeds.rest import Get, Listed, Reply

T = TypeVar("T")
PRODUCTS = ("BTC-USDT", "BTC-USDT-SWAP", "BTC-USD-220527")


def books(*products: str) -> OkxFeed:
    return OkxFeed(Subscription(frozenset({"book"}), products or PRODUCTS))


def trades(*products: str) -> OkxTradesFeed:
    return OkxTradesFeed(Subscription(frozenset({"trades"}), products or PRODUCTS))


def frame(previous: int, last: int, *, action: str = "update", bids: list[list[str]] | None = None) -> bytes:
    data = {"asks": [], "bids": bids or [], "ts": "1659792392640", "checksum": 0, "prevSeqId": previous, "seqId": last}
    return json.dumps(
        {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [data]}, separators=(",", ":")
    ).encode()


def event(feed: OkxFeed | OkxTradesFeed, text: bytes) -> Event:
    (found,) = feed.receive(text).events
    return found


def judged(chain: PreviousChain, text: bytes) -> Verdict | Hole:
    found = event(books(), text)
    if isinstance(found, Snapshot):
        return chain.begin(found)
    assert isinstance(found, Delta)
    return chain.check(found)


# The conversation


def test_books_and_the_instruments_of_their_kinds_are_asked_for_in_one_message() -> None:
    (message,) = books().open()
    assert json.loads(message) == {
        "op": "subscribe",
        "args": [
            *({"channel": "books", "instId": product} for product in PRODUCTS),
            *({"channel": "instruments", "instType": kind} for kind in ("FUTURES", "SPOT", "SWAP")),
        ],
    }


def test_no_message_is_near_64_kb() -> None:
    many = [f"COIN{number}-USDT-SWAP" for number in range(2_000)]
    messages = trades(*many).open()
    assert sum(len(json.loads(message)["args"]) for message in messages) == 2_000
    assert max(map(len, messages)) < 16_000


@pytest.mark.parametrize(("feed", "channel"), [(OkxFeed, "trades"), (OkxTradesFeed, "book"), (OkxFeed, "quotes")])
def test_each_address_has_its_own_channels(feed: type[OkxFeed] | type[OkxTradesFeed], channel: str) -> None:
    with pytest.raises(Unplannable):
        feed(Subscription(frozenset({channel}), PRODUCTS))


def test_what_is_served_adds_up_and_what_is_left_is_not_served() -> None:
    feed = books()

    def said(word: str, product: str) -> bytes:
        return json.dumps({"event": word, "arg": {"channel": "books", "instId": product}, "connId": "a4"}).encode()

    assert event(feed, said("subscribe", "BTC-USDT")) == Subscribed({"book": frozenset({"BTC-USDT"})})
    both = frozenset({"BTC-USDT", "BTC-USDT-SWAP"})
    assert event(feed, said("subscribe", "BTC-USDT-SWAP")) == Subscribed({"book": both})
    assert feed.receive(said("unsubscribe", "BTC-USDT")).events == ()
    assert event(feed, said("subscribe", "BTC-USDT-SWAP")) == Subscribed({"book": frozenset({"BTC-USDT-SWAP"})})
    instruments = b'{"event":"subscribe","arg":{"channel":"instruments","instType":"SPOT"},"connId":"a4"}'
    assert feed.receive(instruments).events == ()


def test_a_refusal_names_the_product_where_the_venue_does() -> None:
    words = "Wrong URL or channel:books,instId:NO-SUCH doesn't exist. Please use the correct URL."
    found = event(books(), json.dumps({"event": "error", "code": "60018", "msg": words, "connId": "a4"}).encode())
    assert found == Refused("NO-SUCH", f"60018 {words}")
    assert event(books(), b'{"event":"error","code":"60014","msg":"Requests too frequent"}') == Refused(
        None, "60014 Requests too frequent"
    )
    assert event(books(), b'{"event":"error"}') == Refused(None, "")


def test_a_notice_says_that_the_connection_is_going_to_end() -> None:
    words = "The connection will soon be closed for a service upgrade. Please reconnect."
    notice = json.dumps({"event": "notice", "code": "64008", "msg": words, "connId": "a4"}).encode()
    assert event(books(), notice) == event(trades(), notice) == Closing(f"64008 {words}")


def test_pong_is_a_sign_of_life_and_half_of_it_is_nothing() -> None:
    for feed in (books(), trades()):
        assert event(feed, b"pong") == Heartbeat(None)
        assert (feed.facts.ping, feed.facts.ping_after_s) == (b"ping", 5)
        for torn in (b"pon", b"", b"pong ", b'"pong"'):
            with pytest.raises(Undecodable):
                feed.receive(torn)


def test_words_and_channels_of_tomorrow_are_unknown() -> None:
    assert event(books(), b'{"event":"channel-conn-count","connCount":"4"}') == Unknown("channel-conn-count")
    assert event(books(), b'{"arg":{"channel":"tickers","instId":"X"},"data":[{}]}') == Unknown("tickers")
    assert event(trades(), frame(1, 2)) == Unknown("books")


# Books


def test_a_snapshot_and_an_update_carry_their_ids() -> None:
    snapshot = event(books(), frame(-1, 10, action="snapshot", bids=[["8476.97", "256", "0", "12"]]))
    assert snapshot == Snapshot("BTC-USDT", {8476.97: 256.0}, {}, Link(last=10, previous=-1))
    update = event(books(), frame(10, 15, bids=[["8476.97", "0", "0", "0"]]))
    assert isinstance(update, Delta)
    assert (update.by_side(), update.count, update.link) == (({8476.97: 0.0}, {}), 1, Link(last=15, previous=10))


def test_the_chain_holds_through_keep_alives_and_a_maintenance_and_names_a_hole() -> None:
    chain = PreviousChain()
    for text in (
        frame(-1, 10, action="snapshot"),
        frame(10, 15),
        frame(15, 15),  # nothing changed
        frame(15, 15),
        frame(15, 3),  # the official example of a reset
        frame(3, 5),
        frame(5, 93),
    ):
        assert judged(chain, text) is Verdict.NEXT
    assert judged(chain, frame(5, 93)) is Verdict.DUPLICATE
    assert judged(chain, frame(101, 108)) == Hole(94, 101, is_dense=False)


def test_a_reset_right_after_the_snapshot_is_no_loss() -> None:
    chain = PreviousChain()
    assert judged(chain, frame(-1, 900, action="snapshot")) is Verdict.NEXT
    assert judged(chain, frame(900, 2)) is Verdict.NEXT
    assert judged(chain, frame(2, 4)) is Verdict.NEXT


def test_a_frame_without_ids_proves_nothing() -> None:
    text = frame(10, 15).replace(b',"prevSeqId":10,"seqId":15', b"")
    found = event(books(), text)
    assert isinstance(found, Delta)
    assert found.link is None


@pytest.mark.parametrize("data", ["[]", "null", "{}", '[{"asks":[],"bids":[]},{"asks":[],"bids":[]}]'])
def test_a_frame_with_no_data_or_too_much_costs_its_own_book(data: str) -> None:
    text = f'{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"update","data":{data}}}'
    found = event(books(), text.encode())
    assert isinstance(found, Unusable)
    assert (found.product, found.channel, found.book_event) == ("BTC-USDT", "book", "delta")


# States


def instruments(**states: str) -> bytes:
    rows = [{"instType": "SPOT", "instId": name.replace("_", "-"), "state": state} for name, state in states.items()]
    return json.dumps({"arg": {"channel": "instruments", "instType": "SPOT"}, "data": rows}).encode()


def test_only_news_of_our_own_products_is_told() -> None:
    feed = books("BTC-USDT", "ETH-USDT")
    told = feed.receive(instruments(BTC_USDT="live", ETH_USDT="preopen", NO_USDT="suspend")).events
    assert told == [ProductStatus("ETH-USDT", "halted")]
    assert feed.receive(instruments(BTC_USDT="live", ETH_USDT="preopen")).events == []
    told = feed.receive(instruments(BTC_USDT="suspend", ETH_USDT="live")).events
    assert told == [ProductStatus("BTC-USDT", "halted"), ProductStatus("ETH-USDT", "trading")]
    assert feed.receive(instruments(ETH_USDT="of tomorrow")).events == [ProductStatus("ETH-USDT", "halted")]


def test_an_instrument_that_cannot_be_read_costs_itself() -> None:
    odd = instruments(BTC_USDT="live", ETH_USDT="suspend").replace(b'"BTC-USDT"', b"7")
    flaw, status = books("BTC-USDT", "ETH-USDT").receive(odd).events
    assert isinstance(flaw, Unusable)
    assert flaw.book_event is None
    assert status == ProductStatus("ETH-USDT", "halted")


# Trades

TRADES = (
    b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474",'
    b'"px":"42219.9","sz":"0.12060306","side":"buy","ts":"1630048897897","source":"0"},{"instId":"BTC-USDT",'
    b'"tradeId":"130639475","px":"42219.8","sz":"1","side":"sell","ts":"1630048897898","source":"1"}]}'
)


def test_a_trade_has_the_takers_side() -> None:
    assert trades().receive(TRADES).events == [
        Trade("BTC-USDT", 130639474, 42219.9, 0.12060306, "buy", 1_630_048_897_897_000_000, is_live=True),
        Trade("BTC-USDT", 130639475, 42219.8, 1.0, "sell", 1_630_048_897_898_000_000, is_live=True),
    ]


def test_an_odd_trade_costs_itself() -> None:
    flaw, good = trades().receive(TRADES.replace(b'"0.12060306"', b'"nan"')).events
    assert isinstance(flaw, Unusable)
    assert (flaw.product, flaw.channel, flaw.trade_id) == ("BTC-USDT", "trades", 130639474)
    assert isinstance(good, Trade)
    (flaw,) = trades().receive(b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":7}').events
    assert isinstance(flaw, Unusable)


# REST


def talk(conversation: Generator[Get, Reply, T], *answers: Any) -> tuple[list[str], T]:
    """Holds a conversation: the paths that were asked for, and its result."""
    paths = []
    replies = iter(answers)
    request = next(conversation)
    while True:
        paths.append(request.path)
        answer = next(replies)
        reply = Reply(answer) if isinstance(answer, int) else Reply(200, json.dumps(answer).encode())
        try:
            request = conversation.send(reply)
        except StopIteration as done:
            return paths, done.value


def answer(*data: Any) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": list(data)}


def row(trade_id: int, **more: str) -> dict[str, str]:
    return {
        "instId": "BTC-USDT", "side": "sell", "sz": "0.1", "px": "3", "source": "0", "tradeId": str(trade_id),
        "ts": "1630048897897",
    } | more  # fmt: skip


def test_a_page_goes_down_from_the_last_one_wanted() -> None:
    paths, page = talk(OkxRest().trades("BTC-USDT", 900, 1100), answer(*(row(n) for n in range(1100, 1000, -1))))
    assert paths == ["/api/v5/market/history-trades?instId=BTC-USDT&type=1&after=1101&limit=100"]
    assert (page.first, page.last) == (1001, 1100)
    first = page.records[0]
    assert first == Trade("BTC-USDT", 1100, 3.0, 0.1, "sell", 1_630_048_897_897_000_000, is_live=False)


def test_a_page_of_ids_that_are_not_dense_goes_below_what_was_asked_for() -> None:
    _, page = talk(OkxRest().trades("BTC-USDT", 900, 910), answer(row(908), row(903), row(870), row(1)))
    assert (page.first, page.last) == (900, 910)
    assert [record.trade_id for record in page.records] == [908, 903]
    _, page = talk(OkxRest().trades("BTC-USDT", 900, 910), answer())
    assert (page.first, page.last, list(page.records)) == (900, 910, [])


def test_an_odd_row_is_named_and_passed() -> None:
    _, page = talk(OkxRest().trades("BTC-USDT", 1, 2), answer(row(2, px="nan"), row(1)))
    assert [type(record) for record in page.records] == [Unusable, Trade]
    assert [record.trade_id for record in page.records] == [2, 1]


@pytest.mark.parametrize(
    "reply",
    [
        500,
        {"code": "51001", "msg": "Instrument ID does not exist", "data": []},
        {"code": "0", "msg": "", "data": {}},
        {"data": []},
        answer(row(7, instId="ETH-USDT")),
        answer(row(70)),
    ],
)
def test_what_is_no_answer_to_it(reply: Any) -> None:
    with pytest.raises(NoAnswer):
        talk(OkxRest().trades("BTC-USDT", 1, 9), reply)


def test_a_book_has_the_number_of_its_last_update_if_the_venue_says_it() -> None:
    whole = {"asks": [["11", "1", "0", "1"]], "bids": [["10", "2", "0", "1"]], "ts": "1630048897897"}
    paths, book = talk(OkxRest().book("BTC-USDT"), answer(whole | {"seqId": 77}))
    assert paths == ["/api/v5/market/books?instId=BTC-USDT&sz=400"]
    assert (book.bids, book.asks, book.last) == ({10.0: 2.0}, {11.0: 1.0}, 77)
    assert book.venue_ns == 1_630_048_897_897_000_000
    assert talk(OkxRest().book("BTC-USDT"), answer(whole))[1].last is None
    nothing = [["11", "0", "0", "1"]]
    odd_books = ({"asks": []}, {"asks": nothing}, {"bids": [["x", "1"]]})
    for odd in (answer(), answer(whole, whole), *(answer(whole | each) for each in odd_books)):
        with pytest.raises(NoAnswer):
            talk(OkxRest().book("BTC-USDT"), odd)


def test_products_of_three_kinds() -> None:
    spot = {"instType": "SPOT", "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "state": "live"}
    swap = {"instId": "BTC-USD-SWAP", "baseCcy": "", "quoteCcy": "", "instFamily": "BTC-USD", "state": "suspend"}
    future = {"instId": "BTC-USDT-261225", "instFamily": "BTC-USDT", "state": "preopen"}
    paths, listed = talk(OkxRest().products(), answer(spot), answer(swap), answer(future, {"instId": 7}))
    assert paths == [f"/api/v5/public/instruments?instType={kind}" for kind in ("SPOT", "SWAP", "FUTURES")]
    assert listed == [
        Listed(symbol="BTC-USDT", base="BTC", quote="USDT"),
        Listed(symbol="BTC-USD-SWAP", base="BTC", quote="USD", kind="perpetual", state="halted"),
        Listed(symbol="BTC-USDT-261225", base="BTC", quote="USDT", kind="future", state="halted"),
    ]
    _, unknown = talk(OkxRest().unknown(["BTC-USDT", "NO-SUCH"]), answer(spot), answer(swap), answer(future))
    assert unknown == ["NO-SUCH"]


# The venue


def test_two_addresses_and_the_feed_of_each() -> None:
    venue, settings = Okx(), OkxSettings(url="ws://one:1", business_url="ws://two:2")
    assert venue.book(settings) == "okx"
    assert venue.trades(settings) == {"okx_trades"}
    assert (venue.url(settings, "okx"), venue.url(settings, "okx_trades")) == ("ws://one:1", "ws://two:2")
    assert list(venue.books) == ["okx"]
    for symbol in (*PRODUCTS, venue.example):
        assert venue.symbol.fullmatch(symbol)
    for symbol in ("BTC", "btc-usdt", "BTC-USD-220527-30000-C"):
        assert not venue.symbol.fullmatch(symbol)
