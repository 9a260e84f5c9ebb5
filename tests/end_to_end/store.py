"""What a collector left on disk, read back for a judge: the last writer of each point wins, as in InfluxDB."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from sentinel.contract.line_protocol import Point, Value, decode, measurement_of
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader


class Store:
    """Every line of a journal, or those of one exchange, or of some measurements; none before there is a journal.
    ``written`` counts lines, ``points`` holds one of each identity."""

    def __init__(
        self,
        data_dir: Path,
        exchange: str | None = None,
        measurements: Collection[str] | None = None,
        *,
        lines: Iterable[bytes] | None = None,
    ) -> None:
        """``lines`` are taken for the journal's, in the order of writing, where it does not have all of them any
        more."""
        self.written: dict[str, int] = {}
        self.points: dict[str, dict[tuple[tuple[tuple[str, str], ...], int], Point]] = {}
        for line in _lines_of(data_dir) if lines is None else lines:
            if measurements is not None and measurement_of(line).decode() not in measurements:
                continue
            point = decode(line)
            if exchange is not None and exchange != dict(point.tags)["exchange"]:
                continue
            name = point.measurement
            self.written[name] = self.written.get(name, 0) + 1
            self.points.setdefault(name, {})[point.tags, point.time_ns] = point
        self._in_order: dict[str, dict[str | None, list[Point]]] = {}

    def of(self, measurement: str, symbol: str | None = None) -> list[Point]:
        """Points in order of time."""
        if measurement not in self._in_order:
            found: dict[str | None, list[Point]] = {None: []}
            for point in sorted(
                self.points.get(measurement, {}).values(), key=lambda point: (point.time_ns, point.tags)
            ):
                found[None].append(point)
                found.setdefault(dict(point.tags).get("symbol"), []).append(point)
            self._in_order[measurement] = found
        return list(self._in_order[measurement].get(symbol, ()))

    def trades(self, symbol: str) -> dict[int, Point]:
        """By trade id; an id stored as two points is an error of the store, and is told."""
        found: dict[int, Point] = {}
        for point in self.of("trades", symbol):
            trade_id = whole(fields(point)["trade_id"])
            assert trade_id not in found, f"trade {trade_id} of {symbol} is two points"
            found[trade_id] = point
        return found

    def missing_trades(self, symbol: str, gaps: Iterable[Point] | None = None) -> set[int]:
        """Ids that these gaps, or all of the product's, name as missing and that are in no point."""
        named: set[int] = set()
        for gap in self.of("gaps", symbol) if gaps is None else gaps:
            facts = fields(gap)
            if dict(gap.tags)["channel"] == "trades" and facts["repaired_count"] != facts["missing_count"]:
                named.update(range(whole(facts["start_seq"]), whole(facts["end_seq"]) + 1))
        return named - set(self.trades(symbol))


def has(data_dir: Path, symbols: Iterable[str], **least: int) -> bool:
    """Whether so many points of each of these measurements are stored by now, of each product."""
    store = Store(data_dir, measurements=least)
    return all(len(store.of(name, symbol)) >= count for symbol in symbols for name, count in least.items())


def _lines_of(data_dir: Path) -> Iterator[bytes]:
    if not (data_dir / JOURNAL).exists():
        return
    with JournalReader(data_dir / JOURNAL) as reader:
        for batch in reader.batches():
            yield from batch.lines()


def fields(point: Point) -> dict[str, Value]:
    return dict(point.fields)


def whole(value: Value) -> int:
    assert isinstance(value, int)
    return value
