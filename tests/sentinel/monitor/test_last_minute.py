"""The last minute, from counters that only grow."""

from __future__ import annotations

import random

from sentinel.collector.service import Service
from sentinel.monitor.last_minute import MARK_EVERY_NS, LastMinute
from sentinel.timing.histogram import quantiles


async def test_what_is_older_than_a_minute_is_forgotten(service: Service) -> None:
    bitcoin, ether = (product.books for product in service.pipeline.products.values())
    recent = LastMinute(service, 0)
    for _ in range(5):
        bitcoin.lateness.add(10_000_000)
    bitcoin.written_count += 5
    ether.withheld_count += 3
    service.loop_lag.add(3_000_000)
    service.pipeline.lanes[0].counts.received += 500
    recent.look(MARK_EVERY_NS)
    assert (recent.written, recent.withheld) == ([5, 0], [0, 3])
    assert 10 < recent.lateness[0].p50_ms == recent.all_lateness.most_ms <= 11.25
    assert recent.lateness[1].most_ms == 0
    assert recent.loop_lag.p50_ms > 3
    assert recent.frames_per_s[0] == 100
    for step in range(2, 14):
        recent.look(step * MARK_EVERY_NS)
    assert (recent.written, recent.withheld) == ([0, 0], [0, 0])
    assert recent.all_lateness.most_ms == recent.lateness[0].p99_ms == recent.loop_lag.p50_ms == 0
    assert recent.frames_per_s[0] == 0


async def test_it_does_not_look_more_often_than_it_must(service: Service) -> None:
    recent = LastMinute(service, 0)
    service.pipeline.lanes[0].counts.received += 500
    recent.look(MARK_EVERY_NS - 1)
    assert recent.frames_per_s[0] == 0
    recent.look(MARK_EVERY_NS)
    assert recent.frames_per_s[0] == 100


async def test_by_row_and_one_by_one_are_the_same(service: Service) -> None:
    draw = random.Random(7)
    recent = LastMinute(service, 0)
    for product in service.pipeline.products.values():
        for _ in range(1000):
            product.books.lateness.add(draw.randrange(10 ** draw.randrange(1, 15)))
    recent.look(MARK_EVERY_NS)
    expected = [quantiles(product.books.lateness.counts) for product in service.pipeline.products.values()]
    assert recent.lateness == expected


async def test_each_product_keeps_its_own_figures_when_another_goes(service: Service) -> None:
    products = service.pipeline.products
    bitcoin, ether = (product.books for product in products.values())
    recent = LastMinute(service, 0)
    bitcoin.written_count += 500
    ether.written_count += 3
    del products[bitcoin.market]
    recent.look(1)
    assert recent.written == [3]
    products.clear()
    recent.look(2)
    assert recent.written == recent.lateness == []
    assert recent.all_lateness.most_ms == 0
