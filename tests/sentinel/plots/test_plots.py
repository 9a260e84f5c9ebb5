"""Pictures of a short run with a fault in it, and the example notebook on the same data."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pyarrow as pa
import pytest
from click.testing import CliRunner

import sentinel.data
from sentinel.errors import UsageError
from sentinel.plots import figures
from sentinel.plots.command import plot
from sentinel.simulator.faults import Fault
from tests import ROOT
from tests.sentinel.recorded import record
from tests.servers.exchange import trading

NOTEBOOK = ROOT / "examples" / "research.ipynb"
STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!doctype html>"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plots")

    async def run() -> None:
        fault = Fault(kind="drop", at_s=1.5, channel="l2_data", feed="advanced")
        async with trading(["BTC-USD"], folder / "truth.jsonl", levels=80, rate=40, trade_rate=20) as exchange:
            await record(exchange, folder / "data", ["BTC-USD"], 6.0, [fault])

    asyncio.run(run())
    return folder / "data"


@pytest.mark.parametrize("kind", ["depth", "flow", "coverage"])
@pytest.mark.parametrize("suffix", STARTS)
def test_each_kind_in_each_format(kind: str, suffix: str, data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / f"picture{suffix}"
    done = CliRunner().invoke(plot, [kind, "BTC-USD", "--data-dir", str(data_dir), "--output", str(output)])
    assert done.exit_code == 0, done.output
    content = output.read_bytes()
    assert content.startswith(STARTS[suffix])
    assert len(content) > 10_000
    if suffix == ".html":
        assert b"<svg" in content
        assert b"http" not in content.replace(b"http://www.w3.org", b"").replace(b"http://purl.org", b"").replace(
            b"https://matplotlib.org", b""
        ).replace(b"http://creativecommons.org", b""), "the page loads nothing"


def test_a_line_is_not_drawn_over_a_hole(data_dir: Path) -> None:
    top = sentinel.data.load("top", "BTC-USD", "1h", columns=["mid"], data_dir=data_dir)
    book = sentinel.data.load("book", "BTC-USD", "1h", columns=["side", "bps", "notional"], data_dir=data_dir)
    lost = [hole for hole in top.holes if hole.cause == "sequence"]
    assert lost, "the dropped frame is a hole"
    first_ns = top.table["time"].cast("int64")[0].as_py()
    figure = figures.depth("BTC-USD", top, book, (first_ns - 10**9, first_ns + 10 * 10**9))
    (line,) = figure.axes[0].lines
    (broken,) = [at for at, value in zip(line.get_xdata(), line.get_ydata(), strict=True) if value != value][-1:]
    assert any(abs(broken * 86_400e9 - hole.start_ns) < 2e6 for hole in top.holes)
    assert len(figure.axes[0].patches) == len(top.holes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["depth", "BTC-USD", "--output", "picture.bmp"], "its name ends in .png, .html, .svg"),
        (["depth", "BTC-USD", "--since", "1h", "--until", "2h"], "--since 1h is not before --until 2h"),
        (["flow", "DOGE-USD"], "no flow of DOGE-USD"),
        (["depth", "BTC-USD", "--output", "/nowhere/picture.png"], "cannot write /nowhere/picture.png"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: list[str], said: str, data_dir: Path) -> None:
    done = CliRunner().invoke(plot, [*arguments, "--data-dir", str(data_dir)])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_the_example_notebook_runs(data_dir: Path, tmp_path: Path) -> None:
    here = shutil.copytree(data_dir, tmp_path / "data")
    copy = Path(shutil.copy(NOTEBOOK, tmp_path))
    committed = nbformat.read(copy, 4)
    shown = str([cell.get("outputs", "") for cell in committed.cells])
    assert shown.count("image/png") == 5, "commit it with its outputs: python examples/run_notebook.py"
    assert "CliRunner" not in str(committed)
    assert copy.stat().st_size < 500_000
    environment = os.environ | {"SENTINEL_DATA_DIR": str(here), "PYTHONPATH": str(NOTEBOOK.parents[1])}
    command = [sys.executable, "-c", "from nbclient.cli import main; main()", "--inplace", str(copy)]
    subprocess.run(command, env=environment, check=True, timeout=200, capture_output=True)
    notebook = nbformat.read(copy, 4)
    text = "\n".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    assert "samples are there" in text
    assert "asks after frame" in text
    assert text.count("image/png") == 5
    assert len([cell for cell in notebook.cells if cell.cell_type == "code"]) == 12


@pytest.mark.parametrize(("integrity", "is_proved"), [("sequence", True), ("checksum", True), ("none", False)])
def test_what_the_venue_proves_is_drawn_as_proved(integrity: str, is_proved: bool) -> None:
    counts = {name: [600] for name in ("samples_due", "samples_written", "samples_withheld", "trades", "missing")}
    accounts = pa.table({"time": pa.array([0], pa.timestamp("ns", "UTC")), "integrity": [integrity], **counts})
    figure = figures.coverage("BTC-USD", accounts, [], (0, 60 * 10**9))
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert ("proved by the venue" in labels, "nothing known against it" in labels) == (is_proved, not is_proved)
