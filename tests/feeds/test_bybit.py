"""What is odd of Bybit: answers without topics, a service that starts anew, trades without numbers, a REST API without
a past."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Generator
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from book.events import Heartbeat, Link, MapDelta, Refused, Snapshot, Subscribed, Trade, Unknown, Unusable
from book.proof import Hole, RangeChain, Verdict
from feeds.bybit.protocol import BybitFeed
from feeds.bybit.rest import BybitRest
from feeds.bybit.trade_ids import PLACES, STEPS, STEPS_KEPT, TradeIds
from feeds.bybit.venue import Bybit, BybitSettings
from feeds.bybit_linear.venue import BybitLinear, BybitLinearSettings
from feeds.errors import NoAnswer
from feeds.market import Market
from feeds.protocol import Subscription
from feeds.rest import Get, Listed, Reply

T = TypeVar("T")
PRODUCTS = ("BTCUSDT", "ETHUSDT")
MS = 1786310819680
NS = MS * 1_000_000


def feed() -> BybitFeed:
    return BybitFeed(Subscription(frozenset({"book", "trades"}), PRODUCTS))


def answered(number: str, *, success: bool = True, ret_msg: str = "subscribe", op: str = "subscribe") -> bytes:
    return json.dumps({"success": success, "ret_msg": ret_msg, "conn_id": "d9", "req_id": number, "op": op}).encode()


def book(kind: str, update: int, bid: str = "1") -> bytes:
    data = {"s": "BTCUSDT", "b": [["65140.4", bid]], "a": [["65140.5", "2"]], "u": update, "seq": 7}
    return json.dumps({"topic": "orderbook.200.BTCUSDT", "type": kind, "ts": MS, "data": data, "cts": MS}).encode()


def fill(execution_id: str, ms: int = MS, size: str = "0.5", seq: Any = 7_000) -> dict[str, Any]:
    return {"T": ms, "s": "BTCUSDT", "S": "Buy", "v": size, "p": "65114.20", "i": execution_id, "BT": False, "seq": seq}


def trades(*fills: dict[str, Any]) -> bytes:
    return json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": MS, "data": fills}).encode()


# Conversation


def test_each_topic_has_a_request_of_its_own_and_is_known_by_its_number() -> None:
    listener = feed()
    asked = [json.loads(message) for message in listener.open()]
    assert asked == [
        {"req_id": "0", "op": "subscribe", "args": ["orderbook.200.BTCUSDT"]},
        {"req_id": "1", "op": "subscribe", "args": ["publicTrade.BTCUSDT"]},
        {"req_id": "2", "op": "subscribe", "args": ["orderbook.200.ETHUSDT"]},
        {"req_id": "3", "op": "subscribe", "args": ["publicTrade.ETHUSDT"]},
    ]
    listener.receive(answered("3"))
    (said,) = listener.receive(answered("0")).events
    assert said == Subscribed({"book": frozenset({"BTCUSDT"}), "trades": frozenset({"ETHUSDT"})})
    listener.resubscribe(["BTCUSDT"])
    (said,) = listener.receive(answered("4", ret_msg="", op="unsubscribe")).events
    assert said == Subscribed({"book": frozenset(), "trades": frozenset({"ETHUSDT"})})
    (said,) = listener.receive(answered("5")).events
    assert said == Subscribed({"book": frozenset({"BTCUSDT"}), "trades": frozenset({"ETHUSDT"})})


def test_a_refusal_names_its_product_and_a_topic_that_one_has_is_none() -> None:
    listener = feed()
    reason = "error:handler not found,topic:orderbook.200.ETHUSDT"
    assert listener.receive(answered("2", success=False, ret_msg=reason)).events == (Refused("ETHUSDT", reason),)
    reason = "error:already subscribed,topic:publicTrade.BTCUSDT"
    (said,) = listener.receive(answered("1", success=False, ret_msg=reason)).events
    assert said == Subscribed({"book": frozenset(), "trades": frozenset({"BTCUSDT"})})


@pytest.mark.parametrize("number", ["", "4", "-1", "9" * 400, "one", "²"])
def test_an_answer_to_nothing_that_was_asked_is_named(number: str) -> None:
    (flaw,) = feed().receive(answered(number)).events
    assert isinstance(flaw, Unusable)
    assert flaw.channel == "subscriptions"
    (refused,) = feed().receive(answered(number, success=False, ret_msg="args size >10")).events
    assert refused == Refused(None, "args size >10")


def test_a_pong_is_called_by_either_name() -> None:
    for op in ("ping", "pong"):
        assert feed().receive(answered("", ret_msg="pong", op=op)).events == (Heartbeat(None),)
    assert feed().receive(answered("", op="auth")).events == (Unknown("auth"),)


# Books


def test_ids_rise_by_one() -> None:
    listener, chain = feed(), RangeChain()
    (snapshot,) = listener.receive(book("snapshot", 90)).events
    assert snapshot == Snapshot("BTCUSDT", {65140.4: 1.0}, {65140.5: 2.0}, Link(90))
    assert chain.begin(snapshot) is Verdict.NEXT
    (delta,) = listener.receive(book("delta", 91, "0")).events
    assert delta == MapDelta("BTCUSDT", {65140.4: 0.0}, {65140.5: 2.0}, 2, Link(last=91, first=91))
    assert chain.check(delta) is Verdict.NEXT
    assert chain.check(delta) is Verdict.DUPLICATE
    (later,) = listener.receive(book("delta", 95)).events
    assert isinstance(later, MapDelta)
    assert chain.check(later) == Hole(92, 94)


def test_a_service_that_starts_anew_sends_a_whole_book_whatever_it_is_called() -> None:
    for kind in ("snapshot", "delta"):
        (event,) = feed().receive(book(kind, 1)).events
        assert event == Snapshot("BTCUSDT", {65140.4: 1.0}, {65140.5: 2.0}, Link(1))
        kept, flaw = feed().receive(book(kind, 1).replace(b'"65140.5"', b'"0"')).events
        assert isinstance(kept, Snapshot)
        assert isinstance(flaw, Unusable)


def test_another_depth_is_another_topic() -> None:
    assert feed().receive(book("delta", 91).replace(b"orderbook.200", b"orderbook.50")).events == (
        Unknown("orderbook"),
    )


def test_a_book_of_one_product_under_the_topic_of_another_is_used_for_neither() -> None:
    (flaw,) = feed().receive(book("delta", 91).replace(b'"s": "BTCUSDT"', b'"s": "ETHUSDT"')).events
    assert isinstance(flaw, Unusable)
    assert (flaw.product, flaw.book_event) == ("BTCUSDT", "delta")


# Trades


def test_a_trade_without_a_number_is_called_by_its_time_its_step_and_its_place_in_it() -> None:
    listener = feed()
    assert listener.receive(trades(fill("a-1"), fill("b-2"))).events == [
        Trade("BTCUSDT", NS, 65114.2, 0.5, "buy", NS, is_live=True),
        Trade("BTCUSDT", NS + 1, 65114.2, 0.5, "buy", NS, is_live=True),
    ]
    (third,) = listener.receive(trades(fill("c-3", seq=7_012))).events
    assert third == Trade("BTCUSDT", NS + 12_000, 65114.2, 0.5, "buy", NS + 12_000, is_live=True)
    again, fourth = listener.receive(trades(fill("b-2"), fill("d-4", MS + 1, seq=7_040))).events
    assert isinstance(again, Trade)
    assert isinstance(fourth, Trade)
    assert (again.trade_id, fourth.trade_id) == (NS + 1, NS + 1_040_000)


def test_whoever_missed_a_step_of_a_millisecond_has_the_same_ids_for_the_others() -> None:
    frames = [trades(fill("a-1"), fill("b-2")), trades(fill("c-3", seq=7_001)), trades(fill("d-4", seq=7_002))]
    for lost in range(3):
        whole, other = feed(), feed()
        heard = [whole.receive(frame).events for frame in frames]
        del heard[lost]
        assert [other.receive(frame).events for frame in frames[:lost] + frames[lost + 1 :]] == heard


def test_steps_that_share_their_places_share_no_id() -> None:
    ids = TradeIds()
    steps = [ids.of("BTCUSDT", MS, name, seq) for name, seq in (("a-1", 7), ("b-2", 7), ("c-3", 7 + STEPS))]
    assert [trade_id for trade_id, _ in steps] == [NS + 7_000, NS + 7_001, NS + 7_002]
    for number in range(3, PLACES):
        ids.of("BTCUSDT", MS, f"n-{number}", 7)
    with pytest.raises(ValueError, match="no place"):
        ids.of("BTCUSDT", MS, "z-9", 7)


def test_what_has_no_place_in_its_step_is_not_remembered() -> None:
    ids, peaks = TradeIds(), []
    tracemalloc.start()
    for number in range(20 * PLACES):
        with suppress(ValueError):
            ids.of("BTCUSDT", MS, f"n-{number}", 7)
        if number in (2 * PLACES, 20 * PLACES - 1):
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert peaks[1] - peaks[0] < 100 * PLACES


@pytest.mark.parametrize("seq", [None, "", "x", -1, 2**62])
def test_a_trade_without_a_number_and_a_step_cannot_be_used(seq: Any) -> None:
    flaw, good = feed().receive(trades(fill("a-1", seq=seq), fill("b-2"))).events
    assert isinstance(flaw, Unusable)
    assert isinstance(good, Trade)
    assert (flaw.trade_id, good.trade_id) == (None, NS)


def test_an_odd_trade_keeps_its_place() -> None:
    first, second = feed().receive(trades(fill("a-1", size="nan"), fill("b-2"))).events
    assert isinstance(first, Unusable)
    assert isinstance(second, Trade)
    assert (first.product, first.trade_id, second.trade_id) == ("BTCUSDT", NS, NS + 1)


@pytest.mark.parametrize("number", ["0", str(2**62), "9" * 64])
def test_a_number_that_is_no_id_costs_its_trade(number: str) -> None:
    flaw, good = feed().receive(trades(fill(number), fill("7"))).events
    assert isinstance(flaw, Unusable)
    assert isinstance(good, Trade)
    assert (flaw.trade_id, good.trade_id) == (None, 7)


def test_few_steps_are_remembered() -> None:
    ids = TradeIds()
    for ms in range(1, 10 * STEPS_KEPT):
        ids.of("BTCUSDT", ms, "a-1", 0)
    last_ms = 10 * STEPS_KEPT - 1
    assert ids.of("BTCUSDT", last_ms, "b-2", 0) == (last_ms * 1_000_000 + 1, last_ms * 1_000_000)
    assert ids.of("BTCUSDT", 1, "b-2", 0) == (1_000_000, 1_000_000)  # forgotten, and so the first one seen


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


def answer(**result: Any) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": MS}


def row(execution_id: str, ms: int = MS, **more: str) -> dict[str, Any]:
    return {
        "execId": execution_id, "symbol": "BTCUSDT", "price": "3", "size": "0.1", "side": "Sell", "time": str(ms),
        "isBlockTrade": False, "isRPITrade": False, "seq": "7000",
    } | more  # fmt: skip


def test_what_is_not_among_the_newest_is_nowhere() -> None:
    rows = [row(str(number)) for number in (910, 905, 903, 880)]
    paths, page = talk(BybitRest("spot").trades("BTCUSDT", 900, 909), answer(category="spot", list=rows))
    assert paths == ["/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=60"]
    assert (page.first, page.last) == (900, 905)  # what is above is asked for next
    assert page.records[0] == Trade("BTCUSDT", 905, 3.0, 0.1, "sell", NS, is_live=False)
    assert [record.trade_id for record in page.records] == [905, 903]
    _, page = talk(BybitRest("spot").trades("BTCUSDT", 1, 800), answer(category="spot", list=rows))
    assert (page.first, page.last, page.records) == (1, 800, [])


def test_a_row_that_comes_twice_counts_once() -> None:
    _, page = talk(BybitRest("spot").trades("BTCUSDT", 1, 9), answer(list=[row("3"), row("2"), row("1"), row("3")]))
    assert [record.trade_id for record in page.records] == [3, 2, 1]


def test_trades_without_numbers_are_numbered_as_on_the_stream() -> None:
    rows = [row("d", MS + 1), row("c", seq="7011"), row("b", seq="7010"), row("a", seq="7010"), row("z")]
    told = feed().receive(trades(*(fill(one["execId"], int(one["time"]), seq=one["seq"]) for one in reversed(rows))))
    paths, page = talk(BybitRest("linear").trades("BTCUSDT", NS + 1, NS + 10**6), answer(list=rows))
    assert paths == ["/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000"]
    assert [record.trade_id for record in page.records] == [NS + 10**6, NS + 11_000, NS + 10_001, NS + 10_000]
    on_the_stream = [event.trade_id for event in told.events if isinstance(event, Trade)]
    assert on_the_stream == [NS, *reversed([record.trade_id for record in page.records])]


def test_nothing_is_answered_of_a_step_that_is_held_but_what_was_asked_of_it_alone() -> None:
    rows = [row("d", seq="7001"), row("c"), row("b"), row("a")]
    for first, last, found in (
        (NS + 2, NS + 10**6, [NS + 1_000]),
        (NS, NS + 10**6, [NS + 1_000, NS + 2, NS + 1, NS]),
        (NS + 1, NS + 1, [NS + 1]),
    ):
        _, page = talk(BybitRest("linear").trades("BTCUSDT", first, last), answer(list=rows))
        assert [record.trade_id for record in page.records] == found
        assert page.first == first


def test_of_a_full_page_the_oldest_step_is_left_out() -> None:
    rows = [row(f"n-{number}", seq=str(7_000 + number // 4)) for number in reversed(range(2, 1002))]
    _, page = talk(BybitRest("linear").trades("BTCUSDT", 1, 2**62 - 1), answer(list=rows))
    assert len(page.records) == 998
    assert page.records[-1].trade_id == NS + 1_000


def test_of_a_full_page_of_spot_the_oldest_millisecond_is_left_out() -> None:
    rows = [row(str(number), MS + number // 4) for number in reversed(range(2, 62))]
    _, page = talk(BybitRest("spot").trades("BTCUSDT", 1, 2**62 - 1), answer(list=rows))
    assert [record.trade_id for record in page.records] == list(reversed(range(4, 62)))


def test_an_odd_row_is_named_and_passed() -> None:
    _, page = talk(BybitRest("spot").trades("BTCUSDT", 1, 9), answer(list=[row("2", price="nan"), row("1")]))
    assert [type(record) for record in page.records] == [Unusable, Trade]
    assert [record.trade_id for record in page.records] == [2, 1]


@pytest.mark.parametrize(
    "reply",
    [
        403,
        {"retCode": 10001, "retMsg": "Not supported symbols", "result": {}},
        {"retCode": 0, "retMsg": "OK", "result": []},
        {"result": {"list": []}},
        answer(list=[row("7", symbol="ETHUSDT")]),
        answer(list=[row(str(number)) for number in range(1, 62)]),
    ],
)
def test_what_is_no_answer_to_it(reply: Any) -> None:
    with pytest.raises(NoAnswer):
        talk(BybitRest("spot").trades("BTCUSDT", 1, 9), reply)


def test_a_book_whose_number_is_of_another_stream() -> None:
    whole = {"s": "BTCUSDT", "b": [["10", "2"]], "a": [["11", "1"]], "ts": MS + 9, "u": 7, "seq": 1, "cts": MS}
    paths, found = talk(BybitRest("linear").book("BTCUSDT"), answer(**whole))
    assert paths == ["/v5/market/orderbook?category=linear&symbol=BTCUSDT&limit=200"]
    assert (found.bids, found.asks, found.venue_ns, found.last) == ({10.0: 2.0}, {11.0: 1.0}, NS, None)
    for odd in ({"a": []}, {"a": [["11", "0"]]}, {"b": [["x", "1"]]}, {"s": "ETHUSDT"}):
        with pytest.raises(NoAnswer):
            talk(BybitRest("linear").book("BTCUSDT"), answer(**(whole | odd)))


def test_products_page_by_page() -> None:
    swap = {"symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading"}
    future = {"symbol": "BTCUSDT-25DEC26", "contractType": "LinearFutures", "status": "PreLaunch"}
    coins = {"baseCoin": "BTC", "quoteCoin": "USDT"}
    first = answer(list=[swap | coins, {"symbol": 7}], nextPageCursor="next%3D2")
    paths, listed = talk(BybitRest("linear").products(), first, answer(list=[future | coins], nextPageCursor=""))
    path = "/v5/market/instruments-info?category=linear&limit=1000"
    assert paths == [path, f"{path}&cursor=next%3D2"]
    assert listed == [
        Listed(symbol="BTCUSDT", base="BTC", quote="USDT", kind="perpetual"),
        Listed(symbol="BTCUSDT-25DEC26", base="BTC", quote="USDT", kind="future", state="halted"),
    ]


@pytest.mark.parametrize("cursors", [["a"], ["a", "b"], ["a b"], ["&category=spot"], ["x" * 10_000]])
def test_pages_of_products_without_an_end_are_no_list(cursors: list[str]) -> None:
    """The last page again and again; or pages that are no pages of this list."""
    one = {"symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading"}
    pages = [answer(list=[one | {"baseCoin": "BTC", "quoteCoin": "USDT"}], nextPageCursor=cursor) for cursor in cursors]
    with pytest.raises(NoAnswer):
        talk(BybitRest("linear").products(), *(pages * 200)[:200])


# The venues


def test_one_name_in_two_markets_is_two_markets() -> None:
    spot, linear = Bybit(), BybitLinear()
    assert Market("bybit", spot.example) != Market("bybit_linear", linear.example)
    assert spot.url(BybitSettings(), "bybit") == "wss://stream.bybit.com/v5/public/spot"
    assert linear.url(BybitLinearSettings(), "bybit_linear") == "wss://stream.bybit.com/v5/public/linear"
    assert linear.symbol.fullmatch("BTCUSDT-25DEC26")
    assert not spot.symbol.fullmatch("BTCUSDT-25DEC26")
    assert not linear.symbol.fullmatch("btcusdt")
