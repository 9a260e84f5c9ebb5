"""Takes the picture of the live page that the documents show: ``python -m tests.picture docs/live-page.png``.

A collector collects from the local exchange for some minutes, with faults, and a browser looks at its page.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from PIL import Image

from sentinel.simulator.faults import Fault
from tests.sentinel.monitor.api.test_api import chromium, holds
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.ports import free_port

PRODUCTS = ["BTC-USD", "ETH-USD", "SOL-USD", "ADA-USD", "XRP-USD", "DOGE-USD", "LTC-USD", "LINK-USD"]
FAULTS = [
    Fault(kind="drop", feed="advanced", at_s=100, every_s=170, count=3),
    Fault(kind="stall", feed="advanced", at_s=330, duration_s=14),
    Fault(kind="hide", product="ADA-USD", at_s=500, count=5),
]
MINUTES = 16
WIDTH, HEIGHT = 1280, 800
COLOURS = 128
"""Enough for the page; a third of the size."""

LOOK = "#minutes=15&market=coinbase:ADA-USD&zoom=50"


async def take(output: Path, minutes: float) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        async with (
            trading(PRODUCTS, at / "truth.jsonl", *FAULTS, trade_rate=12) as exchange,
            collecting(exchange.urls, at / "data", *PRODUCTS, "--http", f"127.0.0.1:{port}"),
            chromium() as browser,
        ):
            await asyncio.sleep(minutes * 60)
            page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark")
            await page.goto(f"http://127.0.0.1:{port}/{LOOK}")
            await holds(page, "chart.samples.size > 0 && chart.gaps.length > 0 && day.cells.length > 0")
            await page.screenshot(path=output)
    Image.open(output).quantize(COLOURS).save(output, optimize=True)


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else MINUTES))
