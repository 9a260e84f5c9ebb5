"""The figures that were aimed at, and what was reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bench.measured import Measured

Figures = Mapping[str, Any]
STEADY = 1.05
"""Memory is flat while its peak in the second half of a run is not more than this times the one in the first."""


class Target(NamedTuple):
    """``is_met`` is None where nothing was measured, or not under the load it is meant for."""

    what: str
    aim: str
    reached: str
    is_met: bool | None


def targets(measured: Measured) -> list[Target]:
    """In the order of the design; the aims are those of native code."""
    found = measured.found
    peers = (found.get("peers") or [{}])[0].get("ratios", {})
    ratios, scale, one = ((found.get(name) or [{}])[0] for name in ("ratios", "scale", "one product"))
    return [
        _at_least("whole pipeline / decode floor", peers.get("floor_ratio"), 1.0),
        _at_least("whole pipeline / cryptofeed, its book only", peers.get("vs_cryptofeed"), 11),
        _at_least("whole pipeline / ccxt.pro, its book only", peers.get("vs_ccxt"), 24),
        _at_least("book only / orjson + `order_book` (C)", peers.get("vs_order_book_c"), 1.0),
        _at_least("book only / C++ simdjson + `std::map`", peers.get("vs_cpp"), 1.0),
        _at_most(
            "one sample of BTC-USD with its 15 lines / decode of an average update frame",
            ratios.get("sample_with_lines_per_frame_decode"),
            10,
        ),
        _at_most("snapshot of 46,000 levels, decode and build / decode", ratios.get("snapshot_per_decode"), 0.8),
        *(_under_load(target, scale) for target in _scale(scale)),
        _under_load(_at_most("one product: share of a core", one.get("cores"), 0.03, strictly=True), one),
        _under_load(_at_most("one product: memory, MB", one.get("rss_max_mb"), 120, strictly=True), one),
        _under_load(_at_least("journal append / lines of the scale bench", _journal(ratios, scale), 10), scale),
    ]


def _under_load(target: Target, run: Figures) -> Target:
    """A figure of a run that was not given all of its load says nothing for the target."""
    if target.is_met is None or run["limit"] in (None, "collector"):
        return target
    reached = f"{target.reached}, but at {run['load_share']:.0%} of the load: the {run['limit']} gave no more"
    return target._replace(reached=reached, is_met=None)


def _scale(scale: Figures) -> list[Target]:
    name = "400 products, 10,000 frames/s, journal and sink"
    memory = scale.get("rss_mb", [])
    growth = max(memory[len(memory) // 2 :]) / max(memory[: len(memory) // 2]) if len(memory) > 1 else None
    return [
        _at_most(f"{name}: share of a core", scale.get("cores"), 0.4, strictly=True),
        _at_most(f"{name}: 99th percentile of sample lateness, ms", scale.get("lateness_p99_ms"), 20, strictly=True),
        _at_most(f"{name}: memory, MB", scale.get("rss_max_mb"), 1500, strictly=True),
        _at_most(f"{name}: memory at its most, second half / first half", growth, STEADY),
    ]


def _journal(ratios: Figures, scale: Figures) -> float | None:
    stored, lines = ratios.get("journal_lines_per_s"), scale.get("lines_per_s")
    return stored / lines if stored and lines else None


def _at_least(what: str, reached: float | None, aim: float) -> Target:
    return Target(what, f"≥ {aim:,}", _spelled(reached), None if reached is None else reached >= aim)


def _at_most(what: str, reached: float | None, aim: float, *, strictly: bool = False) -> Target:
    is_met = None if reached is None else reached < aim or (reached == aim and not strictly)
    return Target(what, f"{'<' if strictly else '≤'} {aim:,}", _spelled(reached), is_met)


def _spelled(reached: float | None) -> str:
    return "not measured" if reached is None else f"{reached:,.3g}" if reached < 1000 else f"{reached:,.0f}"
