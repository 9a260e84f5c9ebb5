"""An archive of several collectors, one of which died: reader, report and certificate say what is true of it."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import sentinel.data
from sentinel.archive.archiver import all_hours as journal_hours
from sentinel.archive.archiver import write_hours
from sentinel.certificates.issuer import Folders, all_hours, issue
from sentinel.certificates.verify import read_chains, verify
from sentinel.cli import cli
from sentinel.disk.data_dir import ARCHIVE, CERTIFICATES, JOURNAL
from sentinel.disk.journal import JournalReader
from tests.sentinel.archive.market import sample, trade, write
from tests.sentinel.gap_report.moving import FIRST_ID, START_NS, Moving, Stay, ns

HOUR_NS = 3_600_000_000_000


def stay(pause: int, length: int, fate: str, tail: int | None = None, **more: Any) -> Stay:
    facts: dict[str, Any] = {"lost": [], "unheard": [], "is_tail_repaired": False} | more
    return Stay(pause=pause, length=length, fate=fate, tail=tail, **facts)  # type: ignore[arg-type]


MOVING = Moving(
    [
        # dies in its second minute, without a book for its last 2 s, and with 5 ids that nobody has
        [stay(0, 800, "dies", lost=[(780, 20)], unheard=[(700, 35, False)])],
        # takes over 3 s later, from a tail 5 s old that REST does not fill, and hands on
        [stay(830, 700, "handed", tail=50)],
        # proves its book before, is away for a while, and comes back within the minute
        [stay(1500, 200, "handed", tail=0), stay(100, 200, "handed", tail=0, is_tail_repaired=True)],
    ]
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("several")
    rng = random.Random(1)
    commit = {
        "accounts": MOVING.points,
        "book": [sample(rng, "BTC-USD", ns(at)) for at in sorted(MOVING.written)],
        "trades": [trade(number, ns((number - FIRST_ID) * 7)) for number in sorted(MOVING.ids)],
    }
    asyncio.run(write(data, [commit]))
    end_ns = START_NS + 2 * HOUR_NS
    with JournalReader(data / JOURNAL) as reader:
        write_hours(reader, data / ARCHIVE, journal_hours(reader, None, end_ns), end_ns)
    (data / JOURNAL).unlink()
    return data


MISSING = [(780, 830), (1700, 1800)]


def seconds(start_ns: int, end_ns: int) -> tuple[int, int]:
    return (start_ns - START_NS) // 10**8, (end_ns - START_NS) // 10**8


def test_the_reader_knows_what_the_dead_one_had(data_dir: Path) -> None:
    found = sentinel.data.load("top", "BTC-USD", START_NS, ns(2000), data_dir=data_dir)
    assert [(*seconds(hole.start_ns, hole.end_ns), hole.cause) for hole in found.holes] == [
        (*MISSING[0], "not_collected"),
        (*MISSING[1], "not_collected"),
    ]
    assert found.table.num_rows == len(MOVING.written) == 2000 - 50 - 100
    trades = sentinel.data.load("trades", "BTC-USD", START_NS, ns(2000), data_dir=data_dir)
    ids = [(hole.first_id, hole.last_id) for hole in trades.holes if hole.first_id]
    assert ids == [(FIRST_ID + 100, FIRST_ID + 104), (FIRST_ID + 115, FIRST_ID + 118)]


def test_so_does_the_report(data_dir: Path) -> None:
    times = ["--since", str(START_NS), "--until", str(ns(2400))]
    result = CliRunner().invoke(cli, ["gap-report", "--data-dir", str(data_dir), "--format", "json", *times])
    (product,) = json.loads(result.output)["products"]
    assert product["samples"]["written"] == 1850
    assert product["trades"]["count"] == len(MOVING.ids)
    assert product["trades"]["missing"] == 9
    book = [gap for gap in product["gaps"] if gap["channel"] == "book"]
    assert [seconds(gap["start_ns"], gap["end_ns"]) for gap in book] == [*MISSING, (2000, 2400)]


def test_the_hour_s_certificate_names_its_collectors_and_their_parts(data_dir: Path) -> None:
    folders = Folders.of(data_dir)
    issue(folders, all_hours(folders))
    chains = read_chains(data_dir / CERTIFICATES)
    (said,) = [link.evidence for link in chains.latest]
    assert list(said.accounts) == ["a", "b", "c"]
    assert isinstance(said.parts, dict)
    assert {name: len(parts) for name, parts in said.parts.items()} == {"a": 1, "b": 1, "c": 2}
    assert said.parts["a"] == [("2023-11-14T22:14:00Z", "2023-11-14T22:15:00Z")], "its last minute it left to nobody"
    book = [seconds(hole.start_ns, hole.end_ns or 0) for hole in said.holes if hole.channel == "book"]
    assert [span for span in book if 0 < span[0] < 2000] == MISSING
    assert [check.problems for check in verify(folders, chains.latest, chains.latest) if check.problems] == []


def test_ids_between_two_collectors_that_nobody_names_are_a_hole(tmp_path: Path) -> None:
    """The one dies, the other begins without a tail, and a second goes on meanwhile without trades."""
    deaf = [(0, 600, False), (600, 600, False)]
    moving = Moving(
        [
            [stay(0, 600, "handed")],
            [stay(650, 550, "handed")],
            [stay(0, 1200, "handed")],
        ]
    )
    heard = [line for line in moving.points if b"collector=c" not in line]
    silent = Moving([[], [], [stay(0, 1200, "handed", unheard=deaf)]])
    books = [line for line in silent.points if line.startswith(b"coverage") and b"collector=c" in line]
    there = [number for number in moving.ids if not 600 <= (number - FIRST_ID) * 7 < 650]
    trades = [trade(number, ns((number - FIRST_ID) * 7)) for number in sorted(there)]
    asyncio.run(write(tmp_path, [{"accounts": [*heard, *books], "book": [], "trades": trades}]))
    found = sentinel.data.load("trades", "BTC-USD", START_NS, ns(1200), data_dir=tmp_path)
    assert [(hole.cause, hole.first_id, hole.last_id) for hole in found.holes] == [
        ("trades", FIRST_ID + 86, FIRST_ID + 92)
    ]
