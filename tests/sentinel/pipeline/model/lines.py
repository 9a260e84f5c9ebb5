"""What a disk holds, read back line by line; the last writing of a gap and of a minute's accounts counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sentinel.contract.line_protocol import decode
from tests.sentinel.pipeline.model.collector import Batch

Facts = dict[str, Any]


@lru_cache(maxsize=20_000)
def _body(body: bytes) -> tuple[str, tuple[tuple[str, str], ...], Facts]:
    point = decode(body + b" 0")
    return point.measurement, point.tags, dict(point.fields)


@dataclass(frozen=True)
class Line:
    """One line. ``run`` and ``turn`` are those of the commit that stored it."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    facts: Facts
    time_ns: int
    run: int

    @property
    def identity(self) -> tuple[object, ...]:
        return self.measurement, self.tags, self.time_ns


@dataclass
class ProductLines:
    """One product's lines, in the order of their writing. ``gaps`` and ``coverage`` by identity."""

    tops: list[Line] = field(default_factory=list)
    bins: dict[tuple[int, int], dict[tuple[str, str], Facts]] = field(default_factory=lambda: defaultdict(dict))
    flows: list[Line] = field(default_factory=list)
    trades: list[Line] = field(default_factory=list)
    gaps: dict[tuple[object, ...], Line] = field(default_factory=dict)
    coverage: dict[tuple[object, ...], Line] = field(default_factory=dict)

    def gaps_of(self, channel: str) -> list[Facts]:
        found = (dict(line.tags) | line.facts for line in self.gaps.values())
        return [gap for gap in found if gap["channel"] == channel]

    def open_book_gaps(self) -> list[Facts]:
        return [gap for gap in self.gaps_of("book") if "end_ns" not in gap]

    def named_ids(self) -> set[int]:
        """Ids in gaps that are not repaired; one repaired in part still names those it has got."""
        named: set[int] = set()
        for gap in self.gaps_of("trades"):
            if gap["repaired_count"] < gap["missing_count"]:
                assert gap["end_seq"] - gap["start_seq"] < 10_000, f"a gap beyond belief: {gap}"
                named |= set(range(gap["start_seq"], gap["end_seq"] + 1))
        return named

    def missing_ids(self) -> set[int]:
        """Ids that are named and not stored, of whatever numbering."""
        return self.named_ids() - {line.facts["trade_id"] for line in self.trades}


def read(batches: Iterable[Batch], *, with_book: bool = True) -> dict[str, ProductLines]:
    """By product. Without the book: trades and accounts only."""
    found: dict[str, ProductLines] = defaultdict(ProductLines)
    for batch in batches:
        read_more(found, batch, with_book=with_book)
    return found


def read_more(found: dict[str, ProductLines], batch: Batch, *, with_book: bool = True) -> None:
    """One commit more."""
    for item in (*batch.trades, *batch.accounts, *(batch.book if with_book else ())):
        for text in item.split(b"\n"):
            body, _, time_ns = text.rpartition(b" ")
            measurement, tags, facts = _body(body)
            _enter(found[dict(tags)["symbol"]], Line(measurement, tags, facts, int(time_ns), batch.run))


def _enter(product: ProductLines, line: Line) -> None:
    match line.measurement:
        case "trades":
            product.trades.append(line)
        case "top":
            product.tops.append(line)
        case "book":
            tags = dict(line.tags)
            product.bins[line.run, line.time_ns][tags["side"], tags["bps"]] = line.facts
        case "flow":
            product.flows.append(line)
        case "gaps":
            product.gaps[line.identity] = line
        case _:
            product.coverage[line.identity] = line
