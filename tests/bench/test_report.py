"""RESULTS.md says what was measured, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import plot
from bench.measured import WITHOUT, Measured
from bench.report import ABOUT, HEAD, text
from bench.scale import limit
from bench.targets import targets
from tests import ROOT


def run(**changed: Any) -> dict[str, Any]:
    """A run of the scale bench that did all that was asked of it."""
    names = ("handling_p50_ms", "handling_p99_ms", "handling_max_ms", "loop_lag_p99_ms", "lateness_p50_ms")
    zeros = dict.fromkeys((*names, "lateness_max_ms", "unproved", "gaps_open"), 0)
    usual = {
        **zeros,
        "products": 400,
        "rate": 10_000,
        "processes": 1,
        "duration_s": 60,
        "cores": 0.3,
        "exchange_cores": 0.9,
        "load_share": 1.0,
        "frames_per_s": 11_000,
        "samples_per_s": 4000,
        "lines_per_s": 60_000,
        "limit": None,
        "lateness_p99_ms": 16.78,
        "rss_mb": [200, 210, 205, 211],
        "rss_max_mb": 211,
        "behind_bytes_end": 0,
        "behind_bytes_max": 10,
    }
    return usual | changed


def measured(**found: Any) -> Measured:
    return Measured({"commit": "abc"}, found, {})


def verdicts(found: Measured) -> dict[str, bool | None]:
    return {target.what: target.is_met for target in targets(found)}


def test_a_figure_is_met_only_on_the_right_side_of_its_target() -> None:
    ratios = {"floor_ratio": 1.0, "vs_cryptofeed": 10.99, "vs_ccxt": None, "vs_order_book_c": 1.2, "vs_cpp": 0.33}
    sample = {"sample_with_lines_per_frame_decode": 10.1}
    met = verdicts(measured(peers=[{"ratios": ratios}], ratios=[sample], scale=[run()]))
    assert met["whole pipeline / decode floor"] is True
    assert met["whole pipeline / cryptofeed, its book only"] is False
    assert met["whole pipeline / ccxt.pro, its book only"] is None
    assert [met[what] for what in met if what.startswith("one sample")] == [False]
    assert [met[what] for what in met if what.startswith("400 products")] == [True] * 4


def test_memory_that_grows_is_not_flat() -> None:
    met = verdicts(measured(scale=[run(rss_mb=[200, 201, 230, 260])]))
    assert met["400 products, 10,000 frames/s, journal and sink: memory at its most, second half / first half"] is False


def test_a_run_without_its_load_meets_nothing() -> None:
    found = measured(scale=[run(cores=0.3, load_share=0.35, limit="machine")])
    judged = [target for target in targets(found) if target.what.startswith("400 products")]
    assert [target.is_met for target in judged] == [None] * 4
    assert "0.3, but at 35% of the load" in judged[0].reached


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"cores": 1.0}, None),
        ({"cores": 0.99, "load_share": 0.8}, "collector"),
        ({"exchange_cores": 0.99, "load_share": 0.8}, "exchange"),
        ({"samples_per_s": 2000}, "machine"),
    ],
)
def test_what_kept_a_run_from_its_load(changed: dict[str, Any], expected: str | None) -> None:
    assert limit(run(**changed)) == expected


def test_parts_that_failed_are_named_and_the_rest_is_shown() -> None:
    found = measured(scale=[run()], **{"one product": [run(products=1, rate=20)]})
    found.failures["peers"] = "no recording"
    page = text(found)
    assert "**peers did not run to its end: no recording**" in page
    assert "| share of a core | 0.3 | 0.3 |" in page
    assert "| whole pipeline / decode floor | ≥ 1.0 | not measured | - | not measured |" in page


def test_the_targets_are_shown_in_both_modes() -> None:
    ratios = {"floor_ratio": 1.2, "pure_floor_ratio": 0.48, "vs_cryptofeed": 12.0, "vs_ccxt": None, "vs_cpp": 1.1}
    found = measured(peers=[{"ratios": ratios, "facts": {"decode floor": {"changes_per_s": 1, "what": ""}}}])
    found.found |= {"scale": [run(cores=0.3)], f"scale{WITHOUT}": [run(cores=0.6)]}
    page = text(found)
    assert "| whole pipeline / decode floor | ≥ 1.0 | 1.2 | yes | 0.48 |" in page
    assert "| whole pipeline / cryptofeed, its book only | ≥ 11 | 12 | yes | 4.8 |" in page
    assert "| book only / C++ simdjson + `std::map` | ≥ 1.0 | 1.1 | yes | not measured |" in page
    assert "journal and sink: share of a core | < 0.4 | 0.3 | yes | 0.6 |" in page
    assert "| share of a core | 0.3 | 0.6 |" in page


def test_the_page_begins_with_the_comparison_against_peers() -> None:
    ratios = {"floor_ratio": 1.2, "pure_floor_ratio": 0.48, "vs_cryptofeed": 12.0, "vs_order_book_c": 1.5}
    facts = {
        "decode floor": {"changes_per_s": 4e6, "what": "decode"},
        "cryptofeed": {"changes_per_s": 4e5, "what": "decode, book", "version": "3", "book": "right"},
        "orjson + order_book (C)": {"changes_per_s": 1e6, "what": "decode, book", "book": "right"},
        "C++ simdjson + std::map": {"what": "decode, book", "absent": "no compiler"},
    }
    page = text(measured(peers=[{"ratios": ratios, "facts": facts}]))
    titles = [line for line in page.splitlines() if line.startswith("#")]
    assert titles[:4] == ["# Results", "## Against peers", "## The run", "## Targets"]
    assert "| cryptofeed | 3 | decode, book | 0.40 M | 0.10 | 12 (the whole) | 4.8 (the whole) | right |" in page
    assert "| orjson + order_book (C) |  | decode, book | 1.00 M | 0.25 | 1.5 (its book alone) |  | right |" in page
    assert "| C++ simdjson + std::map |  | decode, book | absent |  |  |  | no compiler |" in page


def test_what_is_kept_begins_as_what_would_be_written() -> None:
    kept = (ROOT / "bench" / "RESULTS.md").read_text()
    assert kept.startswith(HEAD)
    assert ABOUT in kept


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    curve = [run(products=1, rate=25, cores=0.02), run(), run(rate=20_000, cores=1.0, limit="collector")]
    for name in ("first", "second"):
        plot.draw(curve, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert "collector" in text(measured(curve=curve))
