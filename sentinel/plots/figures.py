"""The figures: depth, flow and coverage of one product. What is missing is shaded and never drawn over.

Colours are Okabe and Ito's, which the colour-blind can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from sentinel.contract.causes import words
from sentinel.contract.gaps import NOT_COLLECTED
from sentinel.data import Hole, Loaded
from sentinel.timing.instants import format_ns

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
COLUMNS = 600
"""A picture shows no more instants than it has pixels for."""

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
MINUTE_NS = 60 * NS_PER_S
Numbers = npt.NDArray[np.float64]
Interval = tuple[int, int]


def depth(symbol: str, top: Loaded, book: Loaded, interval: Interval) -> Figure:
    """Mid, and below it how much rests within each distance of it: bids downwards, asks upwards."""
    figure, (above, below) = _panels(f"Depth of {symbol}", interval, (1, 2))
    times, mid = _series(top.table, "mid")
    _line(above, times, mid, top.holes)
    above.set_ylabel("mid, quote currency")
    edges = sorted(set(book.table["bps"].to_pylist()))
    instants = _instants(book.table, interval)
    grid = np.full((2 * len(edges), len(instants) - 1), np.nan)
    time = _ns(book.table)
    column = np.searchsorted(instants, time, "right") - 1
    row = np.searchsorted(edges, book.table["bps"].to_numpy())
    is_bid = np.array(book.table["side"].cast(pa.string()).to_pylist()) == "bid"
    volume = book.table["notional"].to_numpy()
    grid[np.where(is_bid, len(edges) - 1 - row, len(edges) + row), column] = volume  # rows rise in time: the last stays
    shown = grid[np.isfinite(grid) & (grid > 0)]
    if shown.size:
        norm = LogNorm(float(shown.min()), max(float(shown.max()), float(shown.min()) * 1.01))
        corners = np.arange(2 * len(edges) + 1) - 0.5
        mesh = below.pcolormesh(_days(instants), corners, grid, norm=norm, cmap="cividis", rasterized=True)
        figure.colorbar(mesh, ax=below, label="resting, quote currency", pad=0.01)
    labels = [f"-{edge:g}" for edge in reversed(edges)] + [f"+{edge:g}" for edge in edges]
    below.set_yticks(range(len(labels)), labels)
    below.axhline(len(edges) - 0.5, color="white", linewidth=0.8)
    below.set_ylabel("within basis points of mid")
    for axes, holes in ((above, top.holes), (below, book.holes)):
        _shade(axes, holes, interval)
    _name(above, top.holes)
    return figure


def flow(symbol: str, loaded: Loaded, interval: Interval) -> Figure:
    """Price paid, taker volume each way, and the sum of their difference since midnight."""
    figure, panels = _panels(f"Flow of {symbol}", interval, (2, 2, 2))
    price, volume, delta = panels
    times, vwap = _series(loaded.table, "vwap")
    _line(price, times, vwap, loaded.holes, is_sparse=True)
    price.set_ylabel("VWAP, quote currency")
    instants = _instants(loaded.table, interval)
    step_s = (instants[1] - instants[0]) / NS_PER_S
    middle = _days((instants[1:] + instants[:-1]) / 2)
    for name, sign, color, label in (("buy", 1, GREEN, "taker buys"), ("sell", -1, RED, "taker sells")):
        times, sizes = _series(loaded.table, f"{name}_volume")
        sums, _ = np.histogram(times, bins=instants, weights=np.nan_to_num(sizes))
        volume.bar(middle, sign * sums, width=step_s / 86_400, color=color, label=label)
    volume.set_ylabel(f"volume each {step_s:g} s,\nbase currency")
    volume.legend(loc="upper left", fontsize="small", ncols=2)
    volume.axhline(0, color=GREY, linewidth=0.8)
    times, cvd = _series(loaded.table, "cvd")
    _line(delta, times, cvd, loaded.holes)
    delta.set_ylabel("CVD since midnight,\nbase currency")
    for axes in panels:
        _shade(axes, loaded.holes, interval)
    _name(price, loaded.holes)
    return figure


def coverage(symbol: str, accounts: pa.Table, holes: Sequence[Hole], interval: Interval) -> Figure:
    """Samples of each minute, as written and withheld; trades of each minute, and those that are missing."""
    figure, (samples, trades) = _panels(f"Coverage of {symbol}", interval, (2, 1))
    minutes = _days(_ns(accounts) + MINUTE_NS // 2)
    width = 0.95 * MINUTE_NS / NS_PER_DAY
    due, written, withheld = (_filled(accounts, f"samples_{name}") for name in ("due", "written", "withheld"))
    proved = np.array(accounts["integrity"].cast(pa.string()).to_pylist()) != "none"
    share = np.divide(100 * written, due, out=np.zeros_like(written), where=due > 0)
    lost = np.divide(100 * withheld, due, out=np.zeros_like(written), where=due > 0)
    parts = (
        (proved, share, 0.0, GREEN, "proved by the venue"),
        (~proved, share, 0.0, ORANGE, "nothing known against it"),
        (lost > 0, lost, share, RED, "withheld"),
    )
    for chosen, height, bottom, color, label in parts:
        if chosen.any():
            base = np.broadcast_to(bottom, height.shape)[chosen]
            samples.bar(minutes[chosen], height[chosen], bottom=base, width=width, color=color, label=label)
    samples.set(ylabel="samples, % of those due", ylim=(0, 100))
    samples.legend(loc="lower left", ncols=3, fontsize="small")
    trades.bar(minutes, _filled(accounts, "trades"), width=width, color=BLUE, label="trades")
    missing = _filled(accounts, "missing")
    if missing.any():  # mostly one or two among hundreds: a bar could not be seen
        trades.plot(minutes[missing > 0], missing[missing > 0], "v", color=RED, label="missing at first")
    trades.set(ylabel="trades a minute", ylim=(0, 1.35 * trades.get_ylim()[1]))
    trades.legend(loc="upper left", fontsize="small", ncols=2)
    away = [hole for hole in holes if hole.cause == NOT_COLLECTED]
    for axes in (samples, trades):
        _shade(axes, away, interval)
    _name(trades, away)
    return figure


def _panels(title: str, interval: Interval, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(11, 2.2 + 1.1 * sum(heights)), dpi=110, layout="constrained")
    panels: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    first, last = (format_ns(ns // NS_PER_S * NS_PER_S) for ns in interval)
    figure.suptitle(f"{title}   {first} to {last}", fontsize="large")
    locator = AutoDateLocator(tz="UTC")  # type: ignore[no-untyped-call]
    for axes in panels:
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_xlim(*_days(np.array(interval, np.float64)))
        axes.margins(x=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator, tz="UTC"))  # type: ignore[no-untyped-call]
    panels[-1].set_xlabel("UTC")
    return figure, panels


def _line(axes: Axes, times: Numbers, values: Numbers, holes: Sequence[Hole], *, is_sparse: bool = False) -> None:
    """A line that ends where a hole begins. ``is_sparse``: an instant without a value is no hole but passed over."""
    if is_sparse:
        times, values = times[np.isfinite(values)], values[np.isfinite(values)]
    if len(times) > 4 * COLUMNS:
        kept = np.unique(np.linspace(0, len(times) - 1, 4 * COLUMNS).astype(int))
        times, values = times[kept], values[kept]
    breaks = np.array([hole.start_ns for hole in holes], np.float64)
    places = np.searchsorted(times, breaks)
    axes.plot(_days(np.insert(times, places, breaks)), np.insert(values, places, np.nan), color=BLUE, linewidth=1)


def _shade(axes: Axes, holes: Sequence[Hole], interval: Interval) -> None:
    for hole in holes:
        first, last = max(hole.start_ns, interval[0]), min(hole.end_ns, interval[1])
        axes.axvspan(*_days(np.array((first, last), np.float64)), color=GREY, alpha=0.45, linewidth=0.5)


def _name(axes: Axes, holes: Sequence[Hole]) -> None:
    """Says above a panel what is shaded."""
    causes = sorted({words(hole.cause) for hole in holes})
    if causes:
        axes.set_title(f"shaded: {', '.join(causes)}", loc="right", fontsize="small", color="#555555")


def _instants(table: pa.Table, interval: Interval) -> Numbers:
    """The bounds of the picture's columns: whole multiples of what is between two rows, or a second."""
    times = np.unique(_ns(table))
    between = int(np.diff(times).min()) if len(times) > 1 else NS_PER_S
    length = interval[1] - interval[0]
    step = between * max(1, -(-length // (between * COLUMNS)))
    return np.arange(interval[0], interval[1] + step, step, dtype=np.float64)


def _series(table: pa.Table, column: str) -> tuple[Numbers, Numbers]:
    return _ns(table).astype(np.float64), _filled(table, column, np.nan)


def _filled(table: pa.Table, column: str, absent: float = 0.0) -> Numbers:
    values: Numbers = table[column].cast(pa.float64()).fill_null(absent).to_numpy()
    return values


def _ns(table: pa.Table) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = table["time"].cast(pa.int64()).to_numpy()
    return times


def _days(times_ns: npt.NDArray[Any]) -> Numbers:
    """What matplotlib counts time in: days since 1970."""
    return times_ns / NS_PER_DAY
