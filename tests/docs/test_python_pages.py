"""Every block of Python in the pages for programmers is run as it stands, against a simulated exchange."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from click.testing import CliRunner

from sentinel.run.archive import archive
from sentinel.simulator.faults import Fault
from sentinel.testing.plugin import Simulate
from tests import ROOT
from tests.sentinel.recorded import record
from tests.servers.exchange import trading
from tests.servers.patient import patience
from tests.servers.waiting import LONGEST_S, until

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[Any]:
    """Those of a page, by the line they begin in."""
    text = (ROOT / "docs" / page).read_text()
    found = []
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1)) + 1
        # as many lines before it as in the page, so that a traceback names the right one
        found.append(pytest.param("\n" * (line - 1) + block[1], id=f"line {line}"))
    return found


def compiled(block: str, page: str) -> CodeType:
    code = compile(block, f"docs/{page}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    return code


class Printed:
    """``print`` for a block, and how often it was called."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, *words: object) -> None:
        self.lines.append(" ".join(map(str, words)))


@pytest.mark.parametrize("block", [block for block in blocks("live.md") if "cluster=" not in block.values[0]])
async def test_live(block: str, simulated_exchange: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that go on for ever are cancelled when they have printed something."""
    monkeypatch.chdir(tmp_path)
    simulated_exchange("BTC-USD", "ETH-USD", trade_rate=10)
    simulated_exchange("BTC/USD", venue="kraken", trade_rate=10)
    printed = Printed()
    imports = "from sentinel.live import watch, watch_order_book, watch_samples, watch_trades\n"
    space: dict[str, Any] = {"print": printed}
    exec(imports, space)
    tasks = asyncio.all_tasks()
    running = asyncio.ensure_future(eval(compiled(block, "live.md"), space))
    async with asyncio.timeout(LONGEST_S):
        while not running.done() and len(printed.lines) < 12:
            await asyncio.sleep(0.02)
    assert printed.lines
    if running.done():
        running.result()
    running.cancel()
    await asyncio.wait([running])
    for task in asyncio.all_tasks() - tasks:
        task.cancel()
    await until(lambda: asyncio.all_tasks() == tasks)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("research")

    async def run() -> None:
        hide = Fault(kind="hide", at_s=1.5, count=2, from_rest=True)
        products = ["BTC-USD", "ETH-USD"]
        async with trading(products, folder / "truth.jsonl", levels=80, rate=40, trade_rate=20) as exchange:
            await record(exchange, folder / "data", products, 8.0, [hide])

    asyncio.run(run())
    with patience():  # as it was recorded
        done = CliRunner().invoke(archive, ["--until", "now", "--data-dir", str(folder / "data")])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def research(data: Path) -> Iterator[dict[str, Any]]:
    """What the blocks before have left behind."""
    before = Path.cwd()
    os.chdir(data)
    yield {"print": Printed()}
    os.chdir(before)


@pytest.mark.parametrize("block", blocks("research.md"))
def test_research(block: str, research: dict[str, Any], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as on the page, a second after the collector has stopped."""
    stopped_s = (data / "data" / "journal.sqlite3").stat().st_mtime + 1
    monkeypatch.setattr(time, "time", lambda: stopped_s)
    # of the other venue there is nothing here
    block = block.replace('["BTC-USD", "kraken:BTC/USD"]', '["BTC-USD", "ETH-USD"]')
    before = len(research["print"].lines)
    exec(compiled(block, "research.md"), research)
    assert len(research["print"].lines) > before


def test_testing(tmp_path: Path) -> None:
    conftest, test, alone = (block.values[0] for block in blocks("testing.md"))
    (tmp_path / "conftest.py").write_text(str(conftest))
    (tmp_path / "test_bot.py").write_text(str(test))
    (tmp_path / "alone.py").write_text(str(alone))
    for command in (["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_bot.py"], ["alone.py"]):
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST_S
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["live.md", "research.md", "testing.md"])
def test_pages_import_nothing_but_what_is_public(page: str) -> None:
    public = {"sentinel.data", "sentinel.live", "sentinel.testing", "sentinel.testing.plugin"}
    for block in blocks(page):
        for node in ast.walk(ast.parse(str(block.values[0]))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            ours = {name for name in names if name.split(".")[0] in ("sentinel", "book", "feeds")}
            assert ours <= public, f"{page} imports {ours}"


def test_the_example_is_a_program(simulated_exchange: Simulate, tmp_path: Path) -> None:
    simulated_exchange("BTC-USD", trade_rate=10)
    command = [sys.executable, "-u", str(ROOT / "examples" / "live.py"), "BTC-USD"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    out, errors = subprocess.PIPE, subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=out, stderr=errors, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        try:
            lines = [program.stdout.readline() for _ in range(110)]
        finally:
            program.send_signal(2)
        assert program.wait(timeout=LONGEST_S) == 0
        assert program.stderr.read() == ""
    assert lines[0] == "BTC-USD: no book, starting\n"
    assert "BTC-USD: the book is proved, 0 trades are missing\n" in lines
