"""What a synthetic market does to a book on request."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.sentinel.simulator.coinbase.client import advanced, ask, hear
from tests.servers.exchange import trading


async def test_a_crossed_book_and_its_end_are_the_truth(tmp_path: Path) -> None:
    """As long as it is to be crossed, whatever the market does meanwhile, what is told is what is written down."""
    fault = Fault(kind="cross", at_s=0.2, duration_s=0.7)
    truth = tmp_path / "t"
    async with trading(["BTC-USD"], truth, fault, rate=50, trade_rate=50) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            heard = await hear(socket, 120)
    written = TruthFile(truth)
    (cross,) = written.faults
    assert cross["fault"] == "cross"
    tops = iter(written.tops["BTC-USD"])
    levels: dict[tuple[str, str], float] = {}
    crossed = []
    for message in heard:
        changes = [level for event in message["events"] for level in event.get("updates", ())]
        levels |= {(level["side"], level["price_level"]): float(level["new_quantity"]) for level in changes}
        if changes:
            bids, asks = (
                {float(price): size for (side, price), size in levels.items() if side == name and size}
                for name in ("bid", "offer")
            )
            best = max(bids), min(asks)
            sent_ns = next(t_ns for t_ns, *top in tops if top == [best[0], bids[best[0]], best[1], asks[best[1]]])
            crossed.append((cross["start_ns"] <= sent_ns < cross["end_ns"], best[0] >= best[1]))
    assert crossed[0] == crossed[-1] == (False, False)
    assert set(crossed) == {(False, False), (True, True)}
