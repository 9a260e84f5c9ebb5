"""Line protocol: whole samples and single trades as the pipeline writes them, any point, and back again."""

from __future__ import annotations

from bench.conftest import Clock
from bench.corpus import START_NS
from bench.recorded_run import output
from book.bins import DEFAULT_EDGES_BPS, BookMeasure
from book.events import PriceLevel, Side, Trade
from book.order_book import OrderBook
from book.sampler import Sample
from sentinel.contract.line_protocol import Point, decode, encode
from sentinel.pipeline.lines import ProductLines

LINES = ProductLines("coinbase", "BTC-USD", "bench", DEFAULT_EDGES_BPS)


def written() -> list[bytes]:
    """A minute of one product's lines."""
    return [line for block in output(1).book for line in block.text.split(b"\n")]


def test_encode_samples(clock: Clock) -> None:
    book = OrderBook()
    book.replace(
        [
            PriceLevel(side, (6_500_000 + sign * number) / 100, number / 7)
            for side, sign in ((Side.BID, -1), (Side.ASK, 1))
            for number in range(1, 1000)
        ]
    )
    measure = BookMeasure().measure(book)
    assert measure is not None
    lines = clock.time(15, "lines", LINES.sample, Sample(START_NS, measure, 12_345_678, 42)).text.split(b"\n")
    top, *bins = map(decode, lines)
    assert dict(top.fields)["mid"] == measure.mid
    assert [dict(point.fields)["volume"] for point in bins] == [depth.volume for depth in measure.bids + measure.asks]


def test_encode_trade(clock: Clock) -> None:
    trade = Trade("BTC-USD", 1_081_862_675, 80_691.53, 0.00000001, "buy", START_NS, True)
    line = clock.time(1, "lines", lambda: LINES.trade(trade, START_NS + 1, is_repaired=False).text)
    assert dict(decode(line).fields) == {
        "price": trade.price,
        "recv_ns": START_NS + 1,
        "size": trade.size,
        "trade_id": trade.trade_id,
    }


def test_encode_points(clock: Clock) -> None:
    lines = written()
    points = [decode(line) for line in lines]

    def run() -> list[bytes]:
        return [encode(point) for point in points]

    assert [decode(line) for line in clock.time(len(points), "lines", run)] == points


def test_decode(clock: Clock) -> None:
    lines = written()

    def run() -> list[Point]:
        return [decode(line) for line in lines]

    points = clock.time(len(lines), "lines", run)
    assert [decode(encode(point)) for point in points] == points
    assert {point.measurement for point in points} == {"book", "top"}
