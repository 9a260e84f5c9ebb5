"""How long things took since the start, in the buckets of a Prometheus histogram: counts that only ever grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from sentinel.collector.service import Service
from sentinel.pipeline.product import Product
from sentinel.timing.histogram import BUCKETS, Durations, upper_ms
from sentinel.timing.instants import NS_PER_S

Name = Literal["sample_lateness", "trade_delay", "frame_handling", "loop_lag"]

OF_NETWORKS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OF_PROGRAMS_S = (0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)

UPPER_S = np.array([upper_ms(bucket) / 1000 for bucket in range(BUCKETS)])

Key = tuple[Name, str]
"""What was timed, and whose it was: of an exchange, or of the process."""

Counts = npt.NDArray[np.int64]


class Distribution(Struct, frozen=True):
    """``counts[i]`` were no longer than ``bounds_s[i]``, the last count is of all; ``sum_s`` is all together.

    ``exchange`` is empty where it is of the whole process. A duration may be counted as up to an eighth longer than it
    was, never as shorter.
    """

    name: Name
    exchange: str
    bounds_s: tuple[float, ...]
    counts: list[int]
    sum_s: float


class Distributions:
    """Those of a collector. Products come and go: what one that left has counted stays in its exchange's."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._products: dict[int, Product] = {}
        self._left: dict[Key, tuple[Counts, int]] = {}

    def read(self) -> list[Distribution]:
        """The present moment. Cost: about a microsecond a product."""
        service = self._service
        there = {id(product): product for product in service.pipeline.products.values()}
        for key in self._products.keys() - there.keys():
            gone = self._products[key]
            for of, durations in _of_product(gone):
                self._left[of] = self._with_left(of, [durations])
        self._products = there
        found: dict[Key, list[Durations]] = {of: [] for of in self._left}
        for product in there.values():
            for of, durations in _of_product(product):
                found.setdefault(of, []).append(durations)
        own: list[tuple[Name, Durations]] = [
            ("frame_handling", service.intake.handling),
            ("loop_lag", service.loop_lag),
        ]
        return [
            *(_made(*key, OF_NETWORKS_S, *self._with_left(key, each)) for key, each in sorted(found.items())),
            *(_made(name, "", OF_PROGRAMS_S, *_sum([durations])) for name, durations in own),
        ]

    def _with_left(self, key: Key, there: Sequence[Durations]) -> tuple[Counts, int]:
        counts, total_ns = _sum(there)
        before, before_ns = self._left.get(key, (0, 0))
        return counts + before, total_ns + before_ns


def _of_product(product: Product) -> Iterator[tuple[Key, Durations]]:
    exchange = product.market.exchange
    yield ("sample_lateness", exchange), product.books.lateness
    yield ("trade_delay", exchange), product.trades.delay


def _sum(each: Sequence[Durations]) -> tuple[Counts, int]:
    rows = np.frombuffer(b"".join([durations.counts for durations in each]), np.int64).reshape(-1, BUCKETS)
    return rows.sum(axis=0), sum(durations.total_ns for durations in each)


def _made(name: Name, exchange: str, bounds_s: tuple[float, ...], counts: Counts, total_ns: int) -> Distribution:
    so_far = np.concatenate(([0], counts.cumsum()))
    ends = [*np.searchsorted(UPPER_S, bounds_s, side="right").tolist(), BUCKETS]
    return Distribution(name, exchange, bounds_s, so_far[ends].tolist(), total_ns / NS_PER_S)
