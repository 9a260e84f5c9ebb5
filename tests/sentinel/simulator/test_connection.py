"""Faults of frames and connections are seen on the wire, and written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.sentinel.simulator.coinbase.client import advanced, ask, hear
from tests.servers.exchange import trading


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(kind="drop", channel="heartbeats", feed="advanced"), [0, 2, 3]),
        (Fault(kind="duplicate", channel="heartbeats", feed="advanced"), [0, 1, 1, 2]),
        (Fault(kind="reorder", channel="heartbeats", feed="advanced"), [0, 2, 1, 3]),
        (Fault(kind="jump", channel="heartbeats", feed="advanced", skip=5), [0, 6, 7]),
    ],
)
async def test_a_fault_is_seen_on_the_wire_and_written_down(
    fault: Fault, seen: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentinel.simulator.coinbase.live.HEARTBEAT_NS", 100_000_000)  # ten heartbeats a second
    truth = tmp_path / "t"
    async with trading(["BTC-USD"], truth, fault, trade_rate=0) as exchange:
        async with advanced(exchange, ask("heartbeats")) as socket:
            heard = [message["sequence_num"] for message in await hear(socket, len(seen))]
    (written,) = TruthFile(truth).faults
    if fault.kind == "stall":  # how many heartbeats it took depends on how long the machine takes for one
        lost_last = written["sequence_last"]
        assert lost_last >= 1
        seen = [0, lost_last + 1, lost_last + 2]
    assert heard == seen
    assert written["fault"] == fault.kind
    lost = [number for number in range(max(seen)) if number not in seen] or [1]
    assert (written["sequence_first"], written["sequence_last"]) == (lost[0], lost[-1])


async def test_a_stall_is_silent_for_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.simulator.coinbase.live.HEARTBEAT_NS", 100_000_000)
    stall = Fault(kind="stall", channel="heartbeats", feed="advanced", duration_s=0.15)
    async with trading(["BTC-USD"], tmp_path / "t", stall, trade_rate=0) as exchange:
        async with advanced(exchange, ask("heartbeats")) as socket:
            begin, after, next_one = [message["sequence_num"] for message in await hear(socket, 3)]
    (written,) = TruthFile(tmp_path / "t").faults
    assert begin == 0
    assert after > 1, "at least the heartbeat that began it"
    assert next_one == after + 1
    assert (written["sequence_first"], written["sequence_last"]) == (1, after - 1)


async def test_a_corrupt_frame_is_no_json(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", Fault(kind="corrupt", how="truncate")) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            with pytest.raises(ValueError, match=r"."):
                json.loads(await socket.recv())


async def test_a_frame_with_a_level_that_is_no_number_keeps_its_own_number(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", Fault(kind="corrupt", how="nan", channel="l2_data")) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            heard = await hear(socket, 3)
    assert "nan" in {
        level["new_quantity"] for m in heard if m["channel"] == "l2_data" for level in m["events"][0]["updates"]
    }
    assert [message["sequence_num"] for message in heard] == [0, 1, 2]
    (written,) = TruthFile(tmp_path / "t").faults
    assert (written["sequence_first"], written["sequence_last"], written["product"]) == (None, None, "BTC-USD")


@pytest.mark.parametrize("kind", ["close", "abort"])
async def test_a_connection_can_be_ended(kind: Any, tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", Fault(kind=kind, code=1012)) as exchange:
        async with advanced(exchange, ask("heartbeats")) as socket:
            with pytest.raises(ConnectionClosed) as ended:
                await hear(socket, 5)
    assert (ended.value.rcvd.code if ended.value.rcvd else None) == (1012 if kind == "close" else None)
