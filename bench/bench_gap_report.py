"""``gap-report``, whole: six hours of ten products' accounts, a gap in each hour."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.conftest import Clock
from bench.corpus import START_NS
from book.bins import DEFAULT_EDGES_BPS
from sentinel.contract.gaps import Gap
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal
from sentinel.gap_report.command import gap_report
from sentinel.pipeline.accounts import MINUTE_NS, Account
from sentinel.pipeline.lines import ProductLines

MINUTES = 360
SYMBOLS = [f"COIN{number}-USD" for number in range(10)]
FIRST_NS = START_NS - START_NS % MINUTE_NS
DUE, WITHHELD_IN_A_GAP = 600, 20


def stored(data_dir: Path) -> int:
    """Fills a journal; gives the number of lines."""
    products = [ProductLines("coinbase", symbol, "bench", DEFAULT_EDGES_BPS) for symbol in SYMBOLS]
    minutes = []
    for minute in range(MINUTES):
        minute_ns = FIRST_NS + minute * MINUTE_NS
        withheld = 0 if minute % 60 else WITHHELD_IN_A_GAP
        account = Account(DUE, DUE - withheld, withheld, 5, 1 + 5 * minute, 5 + 5 * minute, frames_applied=1200)
        lines = [product.coverage(minute_ns, account, "sequence") for product in products]
        if withheld:
            gap = Gap("book", "disconnected", minute_ns, minute_ns + WITHHELD_IN_A_GAP * 100_000_000)
            lines += [product.gap(gap) for product in products]
        minutes.append(lines)

    async def fill() -> None:
        journal = Journal.open(data_dir / JOURNAL)
        try:
            for lines in minutes:
                await journal.append({"accounts": lines})
        finally:
            journal.close()

    asyncio.run(fill())
    return sum(map(len, minutes))


@pytest.mark.parametrize("form", ["table", "json", "html"])
def test_gap_report(clock: Clock, tmp_path: Path, form: str) -> None:
    count = stored(tmp_path)
    window = ["--since", str(FIRST_NS), "--until", str(FIRST_NS + MINUTES * MINUTE_NS)]

    def run(form: str) -> str:
        done = CliRunner().invoke(gap_report, ["--data-dir", str(tmp_path), *window, "--format", form])
        assert done.exit_code == 0, done.output
        return done.stdout

    clock.time(count, "accounts", run, form)
    products = json.loads(run("json"))["products"]
    assert [product["symbol"] for product in products] == SYMBOLS
    withheld = MINUTES // 60 * WITHHELD_IN_A_GAP
    expected = {"due": MINUTES * DUE, "written": MINUTES * DUE - withheld, "withheld": withheld, "not_collected": 0}
    assert all(product["samples"] == expected and len(product["gaps"]) == MINUTES // 60 for product in products)
