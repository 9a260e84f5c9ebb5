"""What a log line looks like, what is held back, and that docs/logs.md names every event at its level."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import get_args

import pytest
from loguru import logger
from rich.console import Console

from sentinel.collector.committer import LEVELS
from sentinel.disk.delivery import State
from sentinel.monitor import logs
from tests import ROOT

METHODS = {"debug", "info", "warning", "error", "critical"}
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|", re.MULTILINE)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged in a test; afterwards nothing is logged anywhere."""
    yield io.StringIO()
    logger.remove()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_machine_reads_one_object_a_line_with_the_time_in_utc(stream: io.StringIO) -> None:
    logs.configure(Console(file=stream), "INFO")
    logger.bind(lane=3, cause="silence", reason='said "no"\nand left').warning("connection_lost")
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(line.pop("time")))
    facts = {"lane": 3, "cause": "silence", "reason": 'said "no"\nand left'}
    assert line == {"level": "WARNING", "event": "connection_lost", **facts}


def test_the_time_is_utc_wherever_the_machine_is(stream: io.StringIO) -> None:
    tokyo = timezone(timedelta(hours=9))
    logs.configure(Console(file=stream), "INFO")
    logger.patch(lambda record: record.update(time=datetime(2026, 11, 23, 9, 0, 0, 5, tokyo))).info("started")
    (line,) = lines(stream)
    assert line["time"] == "2026-11-23T00:00:00.000005Z"


def test_a_person_reads_no_nanoseconds(stream: io.StringIO) -> None:
    logs.configure(Console(file=stream, force_terminal=True, no_color=True, width=20), "INFO")
    logger.bind(start_ns=1_795_428_000_100_000_000, length_ns=1_500_000_000, end_ns=None).warning("gap_open")
    assert " start=2026-11-23T10:00:00.1Z length=1.500 s\n" in re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())


def test_a_person_reads_the_event_and_its_facts(stream: io.StringIO) -> None:
    logs.configure(Console(file=stream, force_terminal=True, no_color=True, width=20), "INFO")
    logger.bind(lane=3, cause=None, reason="[bold]as it is").warning("connection_lost")
    text = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} WARNING connection_lost lane=3 reason=\[bold\]as it is\n", text)


def test_a_failure_is_one_line(stream: io.StringIO) -> None:
    logs.configure(Console(file=stream), "INFO")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("archive_failed")
    (line,) = lines(stream)
    assert line["error"] == "ValueError: broken"


def test_the_level_decides(stream: io.StringIO) -> None:
    logs.configure(Console(file=stream), "WARNING")
    logger.info("started")
    logger.warning("connection_lost")
    assert [line["event"] for line in lines(stream)] == ["connection_lost"]


def test_repetitions_are_held_back_and_counted() -> None:
    now_s = 0.0
    stream, quench = io.StringIO(), logs.Quench(lambda: now_s)
    logger.remove()
    logger.add(lambda message: stream.write(json.dumps(message.record["extra"]) + "\n"), filter=quench)
    for _ in range(logs.BURST + 7):
        logger.warning("connection_lost")
    logger.warning("another")
    assert len(lines(stream)) == logs.BURST + 1
    now_s = logs.WINDOW_S
    logger.warning("connection_lost")
    logger.remove()
    assert lines(stream)[-1] == {"suppressed": 7}


def test_the_table_names_every_event_at_its_level() -> None:
    assert set(ROW.findall((ROOT / "docs" / "logs.md").read_text())) == set(_events())


def _events() -> Iterator[tuple[str, str]]:
    """Event and level of every call of ``logger``, of every note of the pipeline, and of what is put together."""
    for path in sorted((ROOT / "sentinel").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield from _of_call(node)
    for state in set(get_args(State)) - {"delivering"}:
        yield f"sink_{state}", "ERROR" if state == "barred" else "WARNING"


def _of_call(call: ast.Call) -> Iterator[tuple[str, str]]:
    if isinstance(call.func, ast.Name) and call.func.id == "Note":
        for event in _strings(call.args[0]):
            yield event, LEVELS.get(event, "INFO")
    if isinstance(call.func, ast.Attribute) and call.func.attr in METHODS and "logger" in ast.unparse(call.func):
        for event in _strings(call.args[0]):
            yield event, call.func.attr.upper()


def _strings(node: ast.expr) -> list[str]:
    """The events an argument can be; computed ones are named by ``_events``."""
    if isinstance(node, ast.IfExp):
        return [*_strings(node.body), *_strings(node.orelse)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
