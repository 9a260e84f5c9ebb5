"""What loading gives: rows, and what is not among them, for Arrow, pandas, polars and a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from msgspec import Struct

from sentinel.coverage.holes import Hole
from sentinel.errors import UsageError
from sentinel.timing.instants import NS_PER_S, format_ns

if TYPE_CHECKING:
    import pandas
    import polars

HOLES_SHOWN = 10
ROWS_SHOWN = 5


class MarketHole(Hole, frozen=True):
    """A hole in what was loaded of several markets; ``market`` is whose, as ``kraken:BTC/USD``."""

    market: str = ""

    def __str__(self) -> str:
        return f"{self.market}: {super().__str__()}"


class Loaded(Struct, frozen=True):
    """Rows in order of time, and what is not among them.

    ``is_proved`` is False for trades of a venue whose ids need not be dense: nothing shows one that is missing.
    ``start_ns`` and ``end_ns`` are the window that was asked for, ``known_ns`` up to when of it anything is known:
    what a running collector has of the last second may still be on its way to the disk. Of several markets each row has
    its ``exchange`` and ``symbol``, and each hole is a ``MarketHole``.
    """

    table: pa.Table
    holes: list[Hole]
    is_proved: bool = True
    start_ns: int = 0
    end_ns: int = 0
    known_ns: int = 0

    @property
    def is_whole(self) -> bool:
        return self.is_proved and not self.holes

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def pandas(self) -> pandas.DataFrame:
        """As a DataFrame, by ``time`` to the nanosecond. Whole numbers stay whole where some are missing (``Int64``).

        Raises:
            UsageError: without pandas.
        """
        try:
            import pandas as pd
        except ImportError:
            raise UsageError("pandas is not installed: pip install 'sentinel-ws[pandas]'") from None
        whole: dict[pa.DataType, Any] = {
            pa.int64(): pd.Int64Dtype(),
            pa.int32(): pd.Int32Dtype(),
            pa.bool_(): pd.BooleanDtype(),
        }
        frame: pandas.DataFrame = self.table.to_pandas(types_mapper=whole.get)
        return frame.set_index("time")

    def polars(self) -> polars.DataFrame:
        """As a DataFrame of polars.

        Raises:
            UsageError: without polars.
        """
        try:
            import polars as pl
        except ImportError:
            raise UsageError("polars is not installed: pip install 'sentinel-ws[polars]'") from None
        return pl.DataFrame(pl.from_arrow(self.table))

    def __repr__(self) -> str:
        return f"<{len(self):,} rows, {self._state()}>"

    def _state(self) -> str:
        count = f"{len(self.holes)} hole{'' if len(self.holes) == 1 else 's'}"
        holes = f"{count}: {'; '.join(map(str, self.holes[:3]))}" if self.holes else ""
        if not self.is_proved:
            return f"nothing proves that none is missing{holes and f', {holes}'}"
        return holes or "whole"

    def _repr_html_(self) -> str:
        """For notebooks: how many rows, of which window, what is missing, and what the rows look like."""
        window = f", {format_ns(self.start_ns)} to {format_ns(self.end_ns)}" if self.end_ns else ""
        parts = [f"<p><b>{len(self):,} rows</b>{window}: {self._verdict()}</p>"]
        if self.holes:
            body = "".join(f"<tr>{_cells(_described(hole))}</tr>" for hole in self.holes[:HOLES_SHOWN])
            more = len(self.holes) - HOLES_SHOWN
            rest = f"<p>… and {more:,} more in <code>.holes</code></p>" if more > 0 else ""
            heads = ("missing from", "to", "seconds", "cause", "trades", "market")
            parts.append(f"<table><tr>{_cells(heads, 'th')}</tr>{body}</table>{rest}")
        names = self.table.column_names
        if names and len(self):
            shown = [_row(self.table, at) for at in range(min(ROWS_SHOWN, len(self)))]
            body = "".join(f"<tr>{_cells(row)}</tr>" for row in shown)
            parts.append(f"<table><tr>{_cells(names, 'th')}</tr>{body}</table>")
        return "".join(parts)

    def _verdict(self) -> str:
        if self.is_whole:
            return "nothing is missing"
        unproved = "" if self.is_proved else "nothing proves that none is missing; "
        return f"{unproved}{len(self.holes):,} hole{'' if len(self.holes) == 1 else 's'}"


def _described(hole: Hole) -> tuple[str, ...]:
    ids = "" if hole.first_id is None else f"{hole.first_id} to {hole.last_id}"
    seconds = f"{(hole.end_ns - hole.start_ns) / NS_PER_S:,.1f}"
    market = hole.market if isinstance(hole, MarketHole) else ""
    return format_ns(hole.start_ns), format_ns(hole.end_ns), seconds, hole.cause, ids, market


def _row(table: pa.Table, at: int) -> list[str]:
    values = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            values.append(format_ns(column[at].cast(pa.int64()).as_py()))
        else:
            value = column[at].as_py()
            values.append("" if value is None else str(value))
    return values


def _cells(values: Sequence[object], tag: str = "td") -> str:
    return "".join(f"<{tag}>{escape(str(value))}</{tag}>" for value in values)
