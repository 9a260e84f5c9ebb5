"""The picture in RESULTS.md: share of a core against products and against frames a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

REPEATABLE = {"svg.hashsalt": "sentinel-ws"}
"""The same figures give the same file."""


def draw(curve: list[dict[str, Any]], path: Path) -> None:
    """Two panels; runs that did not get or do all of their load are hollow."""
    most = max(run["products"] for run in curve)
    ratio = min(run["rate"] / run["products"] for run in curve if run["products"] < most)
    by_products = [run for run in curve if run["rate"] == ratio * run["products"]]
    by_rate = sorted((run for run in curve if run["products"] == most), key=lambda run: run["rate"])
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, by_products, "products", f"products, {ratio:g} book frames a second each")
    _panel(right, by_rate, "rate", f"book frames a second, {most} products")
    left.set_ylabel("share of a core")
    with mpl.rc_context(REPEATABLE):
        figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(axes: Axes, runs: list[dict[str, Any]], along: str, label: str) -> None:
    axes.plot([run[along] for run in runs], [run["cores"] for run in runs], color="tab:blue")
    for run in runs:
        face = "white" if run["limit"] else "tab:blue"
        axes.plot(run[along], run["cores"], marker="o", color="tab:blue", markerfacecolor=face)
        if run["limit"]:
            axes.annotate(f"limit: {run['limit']}", (run[along], run["cores"]), (0, -14), textcoords="offset points")
    axes.axhline(1, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel=label, xlim=(0, None), ylim=(0, 1.1))
    axes.grid(alpha=0.3)
