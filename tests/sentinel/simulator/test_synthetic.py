"""What a synthetic market does to a book on request."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.sentinel.simulator.coinbase.client import advanced, ask, hear
from tests.servers.exchange import trading


async def test_a_crossed_book_and_its_end(tmp_path: Path) -> None:
    fault = Fault(kind="cross", at_s=0.2, duration_s=0.4)
    truth = tmp_path / "t"
    async with trading(["BTC-USD"], truth, fault, rate=50) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            heard = await hear(socket, 60)
    written = TruthFile(truth).faults
    assert [fact["fault"] for fact in written] == ["cross"]
    levels: dict[tuple[str, str], float] = {}
    crossed = []
    for message in heard:
        for event in message["events"]:
            for level in event.get("updates", ()):
                levels[level["side"], level["price_level"]] = float(level["new_quantity"])
        bids, asks = (
            [float(price) for (side, price), size in levels.items() if side == name and size]
            for name in ("bid", "offer")
        )
        crossed.append(max(bids) >= min(asks))
    assert True in crossed
    assert crossed[0] is crossed[-1] is False
