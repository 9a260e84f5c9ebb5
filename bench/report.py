"""RESULTS.md: what was measured, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.measured import WITHOUT, Measured
from bench.targets import Target, targets

HEAD = """# Results

## Against peers

Every contender was given the same recorded frames of BTC-USD, in turns, on one core of the machine below. They do not
all do the same with it: the column *does* says what. *Times* is how many times as fast as the contender sentinel-ws is:
the whole of it, or its book alone, whichever it says.
"""
ABOUT = """## The run

Written by `make bench`; every figure is of one run on one machine. [README.md](README.md) says how to rerun it and how
to read it. Ratios hold on other machines too, seconds do not.
"""
COMPARED = {
    "cryptofeed": ("vs_cryptofeed", "the whole"),
    "ccxt.pro": ("vs_ccxt", "the whole"),
    "orjson + order_book (C)": ("vs_order_book_c", "its book alone"),
    "C++ simdjson + std::map": ("vs_cpp", "its book alone"),
}
"""By contender, which ratio it is, and what of ours is compared."""
MET = {True: "yes", False: "**no**", None: "-"}
SCALE_NAMES = {
    "cores": "share of a core",
    "load_share": "level changes, of those asked for",
    "frames_per_s": "frames/s, trades and heartbeats included",
    "samples_per_s": "samples/s",
    "lines_per_s": "lines/s into the journal",
    "lateness_p50_ms": "sample lateness, median, ms",
    "lateness_p99_ms": "sample lateness, 99th percentile, ms",
    "lateness_max_ms": "sample lateness, most, ms",
    "handling_p50_ms": "socket to book, median, ms",
    "handling_p99_ms": "socket to book, 99th percentile, ms",
    "handling_max_ms": "socket to book, most, ms",
    "loop_lag_p99_ms": "event loop late, 99th percentile, ms",
    "behind_bytes_max": "bytes waiting in the sockets, most",
    "rss_mb": "memory over time, MB",
    "unproved": "books not proved at the end",
    "gaps_open": "gaps open at the end",
    "exchange_cores": "share of the other core, exchange and store",
}
CURVE_NAMES = {
    "products": "products",
    "rate": "book frames/s",
    "load_share": "of the load",
    "cores": "share of a core",
    "samples_per_s": "samples/s",
    "lines_per_s": "lines/s",
    "rss_max_mb": "memory, MB",
    "behind_bytes_end": "bytes behind at the end",
    "exchange_cores": "the other core",
    "limit": "limit",
}
VENUES_NAMES = {
    "venues": "venues",
    "markets": "markets",
    "seconds": "s",
    "cores": "share of a core",
    "thousandths_a_market": "thousandths of a core a market",
    "rss_mb": "memory over time, MB",
}


def text(measured: Measured) -> str:
    """The whole page."""
    parts = [
        HEAD,
        _peers(measured.found.get("peers") or [], measured.pure().found.get("peers") or []),
        ABOUT,
        _table(("", ""), measured.machine.items()),
        "## Targets\n",
        _targets(targets(measured), targets(measured.pure())),
        _failures(measured.failures),
        "## Ratios\n",
        _figures(measured.found.get("ratios") or [], measured.pure().found.get("ratios") or []),
        "## Scale\n\nThe real command, its journal and its InfluxDB sink; the exchange on the other core, its frames"
        " made beforehand and sent at any moment, near the sampling instants as well. A time is the upper bound of a"
        " bucket, at most an eighth above the truth.\n",
        _scale(measured),
        "## Cost against products and frames\n\n![cost](RESULTS.svg)\n",
        _curve(measured.found.get("curve") or []),
        "## Many venues\n\nOne collector and all venues that are simulated, at once; 10 book frames and a trade a"
        " second for each market. The exchanges run on the other core, their frames made as they are sent.\n",
        _venues(measured.found.get("venues") or []),
        "## Suites\n",
        _suites(measured.found.get("suites") or []),
    ]
    return "\n".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _targets(found: list[Target], pure: list[Target]) -> str:
    rows = ((*target[:3], MET[target.is_met], other.reached) for target, other in zip(found, pure, strict=True))
    return _table(("what", "target", "reached", "met", "pure Python"), rows)


def _failures(failures: dict[str, str]) -> str:
    return "\n".join(f"**{name} did not run to its end: {words}**\n" for name, words in failures.items())


def _peers(found: list[dict[str, Any]], pure: list[dict[str, Any]]) -> str:
    if not found:
        return "Not measured.\n"
    rows = []
    facts = found[0]["facts"]
    ratios, without = found[0].get("ratios", {}), pure[0].get("ratios", {}) if pure else {}
    floor = facts["decode floor"]["changes_per_s"]
    for name, fact in facts.items():
        rate = fact.get("changes_per_s")
        speed = ("absent", "") if rate is None else (f"{rate / 1e6:.2f} M", f"{rate / floor:.2f}")
        ratio, whose = COMPARED.get(name, ("", ""))
        times = (_times(ratios.get(ratio), whose), _times(without.get(ratio), whose))
        rows.append((name, fact.get("version", ""), fact["what"], *speed, *times, fact.get("book", fact.get("absent"))))
    head = ("contender", "version", "does", "level changes/s", "of the floor", "times", "times, pure Python")
    return _table((*head, "final book"), rows)


def _times(ratio: float | None, whose: str) -> str:
    return "" if ratio is None else f"{ratio:.3g} ({whose})"


def _figures(found: list[dict[str, Any]], pure: list[dict[str, Any]]) -> str:
    if not found:
        return "Not measured.\n"
    other = pure[0] if pure else {}
    rows = ((name.replace("_", " "), _cell(value), _cell(other.get(name))) for name, value in found[0].items())
    return _table(("figure", "value", "pure Python"), rows)


def _scale(measured: Measured) -> str:
    names = ("scale", f"scale{WITHOUT}", "one product")
    found = {name: measured.found[name][0] for name in names if measured.found.get(name)}
    if "scale" not in found:
        return "Not measured.\n"
    runs = found.values()
    head = [
        "",
        *(
            f"{run['products']} products, {run['rate']:,} book frames/s, {run['duration_s']:g} s"
            f"{WITHOUT if name.endswith(WITHOUT) else ''}"
            for name, run in found.items()
        ),
    ]
    rows = [(spelled, *(_cell(run[name]) for run in runs)) for name, spelled in SCALE_NAMES.items()]
    return _table(head, rows)


def _curve(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Not measured.\n"
    rows = [[_cell(run[name]) for name in CURVE_NAMES] for run in found]
    return _table(list(CURVE_NAMES.values()), rows) + f"\n{_breaks(found)}\n"


def _venues(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Not measured.\n"
    rows = [[_cell(run[name]) for name in VENUES_NAMES] for run in found]
    return _table(list(VENUES_NAMES.values()), rows)


def _breaks(found: list[dict[str, Any]]) -> str:
    """Where it breaks, in words."""
    most = max((run["rate"] for run in found if run["limit"] is None), default=0)
    stopped = min(
        (run for run in found if run["limit"] and run["rate"] > most), key=lambda run: run["rate"], default=None
    )
    if stopped is None:
        return f"Nothing broke; the most asked for was {most:,} book frames a second."
    why = {
        "collector": "the collector's core was full",
        "exchange": "the exchange's core was full before the collector's",
        "machine": "neither core was full, but something else was running on them",
    }
    reason = why[stopped["limit"]]
    return f"The most that was kept up with is {most:,} book frames a second; at {stopped['rate']:,} {reason}."


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return "-" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)


def _suites(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Not measured.\n"
    rows = []
    for bench in sorted(found, key=lambda bench: bench["fullname"]):
        file, _, name = bench["fullname"].removeprefix("bench/").partition("::")
        count, unit = bench["extra_info"]["count"], bench["extra_info"]["unit"]
        median_s = bench["stats"]["median"]
        what = name.removeprefix("test_").replace("_", " ")
        rows.append(
            (file.removesuffix(".py"), what, f"{count / median_s:,.0f} {unit}/s", f"{median_s / count * 1e6:,.3g}")
        )
    return _table(("suite", "what", "rate, median", "µs each"), rows)
