"""A run over a local exchange: a collector that is killed is started again, and results are there before the end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from sentinel.errors import SentinelError
from sentinel.qualify import running
from sentinel.qualify.evidence import Qualification
from sentinel.qualify.running import Run, document
from sentinel.qualify.state import ProcessState, SessionState
from sentinel.qualify.verified import verify_all
from tests.sentinel.qualify.made import known
from tests.servers.collector import environment
from tests.servers.exchange import trading
from tests.servers.waiting import until


async def test_a_collector_that_dies_is_started_again_and_results_are_there_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LOOK_EVERY_S", 0.5)
    monkeypatch.setattr(running, "WRITE_EVERY_S", 0.5)
    said: list[str] = []
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl", levels=40) as venue:
        arguments = ["BTC-USD", "--data-dir", str(tmp_path / "data"), "--record", "--processes", "1", "--is-observed"]
        places = environment(venue.urls, tmp_path / "data")
        run, stop = (
            Run(known(settings={"archive": True}), tmp_path, tmp_path / "data", arguments, places, said.append),
            asyncio.Event(),
        )
        working = asyncio.create_task(run.run(stop, 3600.0, with_replay=True))
        path = tmp_path / running.DOCUMENT

        def proved() -> bool:
            return run.last is not None and run.last.figures.proved == 1

        await until(lambda: path.exists() and bool(msgspec.json.decode(path.read_bytes())["products"]))
        meanwhile = msgspec.json.decode(path.read_bytes(), type=Qualification)
        assert meanwhile.state == "running"
        assert (tmp_path / running.PAGE).exists()
        assert run.child_pid is not None
        first_pid = run.child_pid
        os.kill(first_pid, signal.SIGKILL)
        await until(lambda: run.child_pid != first_pid)
        await until(lambda: any(state.last is not None for state in run.known.processes[1:]))
        await until(lambda: run.known.processes[-1].last is not None and run.last is run.known.processes[-1].last)
        await venue.quiet_end(2)
        quiet_ns = time.time_ns()

        def is_at_rest() -> bool:
            """That all is repaired of what the kill has cost."""
            said = run.last
            is_news = said is not None and said.at_ns > quiet_ns
            return is_news and (said.figures.trades_to_repair, said.figures.open_gaps) == (0, 0)

        await until(is_at_rest)
        stop.set()
        found = await working
    assert found.state == "cut short"
    assert [each.status for each in found.processes] == [-signal.SIGKILL, 0]
    verdicts = {claim.name: claim.verdict for claim in found.claims}
    assert verdicts["running"] == "broken"
    assert (verdicts["instants"], verdicts["accounts"], verdicts["trades"]) == ("holds", "holds", "holds")
    # on a busy machine the venue may say nothing for a while
    assert [gap.cause for gap in found.gaps if gap.channel == "book" and gap.cause != "silence"] == ["stopped"]
    assert any("ended by itself with status -9" in words for words in said)
    assert found.notes == []
    assert found.lateness.count > 0
    assert found.resources.memory_most_mb is not None
    assert found.resources.memory_most_mb > 10


async def test_what_a_collector_was_killed_in_the_middle_of_saying_is_passed_over(tmp_path: Path) -> None:
    run, state = Run(known(), tmp_path, tmp_path / "data", [], {}, lambda words: None), ProcessState(0, 0)
    says = [sys.executable, "-c", "print('{\"at_ns\": 17', end='')"]
    process = await asyncio.create_subprocess_exec(*says, stdout=asyncio.subprocess.PIPE)
    await run._hear(process, state)
    assert await process.wait() == 0
    assert run.last is None


async def test_damage_is_noted_and_the_rest_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(known(), tmp_path, tmp_path / "data", [], {}, lambda words: None)

    def damaged() -> None:
        raise SentinelError(f"{tmp_path} is damaged")

    monkeypatch.setattr(run._tapes, "read", damaged)
    run._look()
    run._look()
    assert run.known.notes == ["Damage (SentinelError): the tapes could be read no further."]


def test_of_a_collector_that_stored_nothing_there_is_a_document(tmp_path: Path) -> None:
    state = known(sessions=[SessionState(0, 10**9)])
    assert document(state, tmp_path / "none", "cut short").products == []


def test_where_nothing_is_certified_nothing_is_verified(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite3").touch()
    assert verify_all(tmp_path, with_replay=True) is None
