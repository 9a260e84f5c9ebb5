"""``buckets`` and ``audit`` against a real server, and the report from it."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sentinel.cli import cli
from sentinel.disk.journal import Journal, JournalReader
from sentinel.influx.audit import _delivered_until
from sentinel.influx.buckets import bucket_at, buckets_between, months
from sentinel.influx.server import Server
from tests.sentinel.influx.test_sink_real import delivering
from tests.sentinel.timed import timed
from tests.servers.influx import ADMIN, InfluxServer

HOUR_NS = 3600 * 10**9
NOVEMBER_NS = 1_793_491_200 * 10**9  # 2026-11-01T00:00:00Z


def sentinel(influxd: InfluxServer, *arguments: str, **settings: str) -> Result:
    named = {"SENTINEL_INFLUX_URL": influxd.url, "SENTINEL_INFLUX_TOKEN": ADMIN, "SENTINEL_INFLUX_ORG": "o"}
    return CliRunner().invoke(
        cli, arguments, env=named | {f"SENTINEL_INFLUX_{k.upper()}": v for k, v in settings.items()}
    )


def sample(ns: int) -> bytes:
    return f"top,exchange=coinbase,symbol=BTC-USD bid=1.5 {ns}".encode()


def trade(number: int, ns: int) -> bytes:
    return f"trades,exchange=coinbase,side=buy,symbol=BTC-USD price=1.5,trade_id={number}i {ns}".encode()


def test_buckets_are_made_once_with_their_retention(influxd: InfluxServer) -> None:
    names = {"bucket_trades": f"t{time.time_ns()}", "bucket_book": f"b{time.time_ns()}/week", "retention_s": "604800"}
    first = sentinel(influxd, "buckets", "ensure", **names)
    assert first.exit_code == 0, first.output
    assert first.output.count("made") == 2
    assert sentinel(influxd, "buckets", "ensure", **names).output.count("is there") == 2
    policies = influxd.query(f'SHOW RETENTION POLICIES ON "{names["bucket_trades"]}"')[0]["series"][0]["values"]
    assert policies[0][:2] == ["autogen", "168h0m0s"]
    shown = sentinel(influxd, "buckets", "list", **names).output
    assert names["bucket_book"] in shown
    assert "7 d" in shown


def retentions(influxd: InfluxServer, database: str) -> dict[str, str]:
    rows = influxd.query(f'SHOW RETENTION POLICIES ON "{database}"')[0]["series"][0]["values"]
    return {name: duration for name, duration, *_ in rows}


def test_trades_and_books_are_kept_as_long_as_each_is_to_be(influxd: InfluxServer) -> None:  # F8
    database = f"t{time.time_ns()}"
    names = {"bucket_trades": database, "bucket_book": f"{database}/week"}
    made = sentinel(influxd, "buckets", "ensure", **names, retention_book_s="604800")
    assert made.output.splitlines() == [
        f"{database}: made, keeps points for ever",
        f"{database}/week: made, keeps points for 7 d",
    ]
    assert retentions(influxd, database) == {"autogen": "0s", "week": "168h0m0s"}


def test_the_common_retention_is_for_what_has_none_of_its_own(influxd: InfluxServer) -> None:
    database = f"t{time.time_ns()}"
    names = {"bucket_trades": database, "bucket_book": f"{database}/week", "retention_s": "604800"}
    made = sentinel(influxd, "buckets", "ensure", **names, retention_trades_s="inf")
    assert made.exit_code == 0, made.output
    assert retentions(influxd, database) == {"autogen": "0s", "week": "168h0m0s"}


def test_one_bucket_cannot_keep_points_for_two_times(influxd: InfluxServer) -> None:
    names = {"bucket_trades": "d", "bucket_book": "d", "retention_book_s": "604800"}
    refused = sentinel(influxd, "buckets", "ensure", **names)
    assert "retention_trades_s and retention_book_s differ" in str(refused.exception)


def test_a_retention_that_differs_is_told_and_changed_only_if_asked_for(influxd: InfluxServer) -> None:  # F8
    database = f"t{time.time_ns() % 10**6}"
    names = {"bucket_trades": f"{database}/autogen", "bucket_book": f"{database}/week"}
    assert sentinel(influxd, "buckets", "ensure", **names, retention_s="604800").exit_code == 0
    again = sentinel(influxd, "buckets", "ensure", **names, retention_book_s="86400")
    assert again.output.splitlines() == [
        f"{database}/autogen: is there, keeps points for 7 d",
        f"{database}/week: is there, keeps points for 7 d; configured: 1 d. --change-retention changes it",
    ]
    assert retentions(influxd, database) == {"autogen": "168h0m0s", "week": "168h0m0s"}
    listed = sentinel(influxd, "buckets", "list", **names, retention_book_s="86400").output
    assert f"{database} = {database}/autogen" in listed  # one bucket, one row
    assert "7 d (configured: 1 d)" in listed
    changed = sentinel(influxd, "buckets", "ensure", "--change-retention", **names, retention_book_s="86400")
    assert changed.output.splitlines()[1] == f"{database}/week: is there, keeps points for 1 d now, before: 7 d"
    assert retentions(influxd, database) == {"autogen": "168h0m0s", "week": "24h0m0s"}
    forever = sentinel(influxd, "buckets", "ensure", "--change-retention", **names, retention_book_s="inf")
    assert forever.exit_code == 0
    assert retentions(influxd, database)["week"] == "0s"


def test_a_month_is_kept_as_long_as_what_it_is_a_month_of(influxd: InfluxServer) -> None:
    name = f"r{time.time_ns()}"
    names = {"bucket_trades": f"{name}t", "bucket_book": f"{name}b", "rotation": "monthly", "retention_book_s": "86400"}
    assert sentinel(influxd, "buckets", "rotate", **names).output.count("made") == 4
    month = bucket_at("", "monthly", time.time_ns())
    assert retentions(influxd, f"{name}t{month}") == {"autogen": "0s"}
    assert retentions(influxd, f"{name}b{month}") == {"autogen": "24h0m0s"}


def test_a_month_has_a_bucket_of_its_own() -> None:
    assert bucket_at("book", "none", NOVEMBER_NS) == "book"
    assert bucket_at("db/rp", "monthly", NOVEMBER_NS - 1) == "db/rp_2026_10"
    assert bucket_at("db/rp", "monthly", NOVEMBER_NS) == "db/rp_2026_11"
    assert buckets_between("b", "monthly", NOVEMBER_NS - 1, NOVEMBER_NS + 62 * 24 * HOUR_NS) == [
        *("b_2026_10", "b_2026_11", "b_2026_12", "b_2027_01"),
    ]


def test_rotate_makes_this_month_and_the_next(influxd: InfluxServer) -> None:
    names = {"bucket_trades": f"r{time.time_ns()}", "bucket_book": f"r{time.time_ns()}", "rotation": "monthly"}
    assert sentinel(influxd, "buckets", "rotate", **names).output.count("made") == 4
    refused = sentinel(influxd, "buckets", "rotate", **(names | {"rotation": "none"}))
    assert refused.exit_code == 2


async def test_the_sink_follows_the_months(influxd: InfluxServer, tmp_path: Path) -> None:
    name = f"m{time.time_ns()}"
    for month in ("_2026_10", "_2026_11"):
        influxd.make(name + month)
    async with delivering(tmp_path, influxd.url, bucket_trades=name, bucket_book=name, rotation="monthly") as (
        journal,
        _,
    ):
        await journal.append(timed({"trades": [trade(n, NOVEMBER_NS - 5 + n) for n in range(10)]}))
    assert [influxd.count(name + month, "trades", "trade_id") for month in ("_2026_10", "_2026_11")] == [5, 5]


@pytest.fixture
def database(influxd: InfluxServer) -> str:
    name = f"a{time.time_ns()}"
    influxd.make(name)
    return name


async def in_thread(influxd: InfluxServer, *arguments: str, **settings: str) -> Result:
    """The commands run a loop of their own."""
    return await asyncio.to_thread(sentinel, influxd, *arguments, **settings)


async def test_an_audit_finds_what_is_gone_and_sends_it_again(
    influxd: InfluxServer, database: str, tmp_path: Path
) -> None:
    start_ns = (time.time_ns() - HOUR_NS) // (60 * 10**9) * 60 * 10**9
    places = {"bucket_trades": database, "bucket_book": database}
    async with delivering(tmp_path, influxd.url, **places) as (journal, _):
        await journal.append(
            timed(
                {
                    "trades": [trade(n, start_ns + n * 10**9) for n in range(300)],
                    "book": [sample(start_ns + n * 10**8) for n in range(3000)],
                }
            )
        )
    where = ("audit", "--data-dir", str(tmp_path))
    good = await in_thread(influxd, *where, **places)
    assert good.exit_code == 0, good.output
    assert "0 of 10 minutes differ; 3,300 points compared" in good.output
    influxd.query(f"DELETE FROM top WHERE time = {start_ns + 70 * 10**9}", database)
    influxd.query(
        f"DELETE FROM trades WHERE time >= {start_ns + 179 * 10**9} AND time < {start_ns + 180 * 10**9}", database
    )
    bad = await in_thread(influxd, *where, **places)
    assert bad.exit_code == 3
    assert "2 of 10 minutes differ" in bad.output
    assert (await in_thread(influxd, *where, "--repair", **places)).exit_code == 0
    assert "0 of 10 minutes differ" in (await in_thread(influxd, *where, **places)).output
    assert influxd.count(database, "top", "bid") == 3000
    assert influxd.count(database, "trades", "trade_id") == 300


async def test_what_is_stored_while_an_audit_runs_is_no_difference(
    influxd: InfluxServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector appends rows of minutes that are over, which the sink had not got to, and they counted as missing."""
    start_ns = (time.time_ns() - HOUR_NS) // (60 * 10**9) * 60 * 10**9
    places = {"bucket_trades": database, "bucket_book": database}
    async with delivering(tmp_path, influxd.url, **places) as (journal, _):
        await journal.append(timed({"book": [sample(start_ns + n * 10**9) for n in range(30)]}))

    def stored_meanwhile(reader: JournalReader, end_ns: int) -> int:
        found = _delivered_until(reader, end_ns)
        later = [sample(start_ns + n * 10**9 + 10**8) for n in range(30)]
        with closing(Journal.open(reader.path)) as journal, ThreadPoolExecutor(1) as collector:
            collector.submit(asyncio.run, journal.append(timed({"book": later}))).result()
        return found

    monkeypatch.setattr("sentinel.influx.audit._delivered_until", stored_meanwhile)
    found = await in_thread(influxd, "audit", "--data-dir", str(tmp_path), **places)
    assert (found.exit_code, found.output.splitlines()[-1]) == (
        0,
        "0 of 1 minutes differ; 30 points compared, 0 sent again",
    )


async def test_an_audit_does_not_take_what_another_collector_wrote_for_ours(
    influxd: InfluxServer, database: str, tmp_path: Path
) -> None:
    """Each has as many rows of accounts in a minute as the other, and one more bin makes up for a missing one."""
    minute_ns = (time.time_ns() - HOUR_NS) // (60 * 10**9) * 60 * 10**9
    places = {"bucket_trades": database, "bucket_book": database}

    def lines(collector: str, bps: str) -> list[bytes]:
        of = "exchange=coinbase,symbol=BTC-USD"
        return [
            f"book,{of},bps={bps},side=bid volume=1,notional=1,vwap=1,levels=1i {minute_ns}".encode(),
            f"coverage,{of},collector={collector} samples_due=600i {minute_ns}".encode(),
        ]

    async with delivering(tmp_path / "ours", influxd.url, **places) as (journal, _):
        await journal.append(timed({"book": lines("ours", "5")[:1], "accounts": lines("ours", "5")[1:]}))
    influxd.query("DROP SERIES FROM coverage", database)
    influxd.query("DROP SERIES FROM book", database)
    async with delivering(tmp_path / "theirs", influxd.url, **places) as (journal, _):
        await journal.append(timed({"book": lines("theirs", "7.5")[:1], "accounts": lines("theirs", "7.5")[1:]}))
    where = ("audit", "--data-dir", str(tmp_path / "ours"))
    bad = await in_thread(influxd, *where, **places)
    assert "2 of 2 minutes differ" in bad.output
    assert bad.exit_code == 3
    assert (await in_thread(influxd, *where, "--repair", **places)).exit_code == 0
    assert (await in_thread(influxd, *where, **places)).exit_code == 0


async def test_the_report_from_the_server_equals_the_local_one(
    influxd: InfluxServer, database: str, tmp_path: Path
) -> None:
    start_ns = (time.time_ns() - 2 * HOUR_NS) // (60 * 10**9) * 60 * 10**9
    tags = "collector=a,exchange=coinbase,symbol=BTC-USD"
    rows = [
        f'coverage,{tags} first_trade_id={n + 1}i,integrity="sequence",last_trade_id={n + 1}i,repaired=0i,'
        f"samples_due=600i,samples_withheld={n % 3}i,samples_written={600 - n % 3}i,trades=1i "
        f"{start_ns + n * 60 * 10**9}"
        for n in range(30)
    ]
    gap = f"gaps,cause=silence,channel=book,{tags}"
    rows += [
        f"{gap} missing_count=0i,repaired_count=0i,start_ns={start_ns}i {start_ns}",
        f"{gap} end_ns={start_ns + 9}i,missing_count=0i,repaired_count=0i,start_ns={start_ns}i {start_ns}",
    ]
    places = {"bucket_trades": database, "bucket_book": database}
    async with delivering(tmp_path, influxd.url, **places) as (journal, _):
        for row in rows:
            await journal.append(timed({"accounts": [row.encode()]}))
    end_ns = start_ns + 30 * 60 * 10**9
    from_the_end = "--since", str(end_ns + 5 * 60 * 10**9), "--until", str(end_ns + 7 * 60 * 10**9)
    idle = []
    since = "--since", str(start_ns - HOUR_NS), "--until"
    for window in ((*since, str(end_ns)), (*since, str(end_ns + 60 * 10**9)), from_the_end):
        form = *window, "--format", "json", "--fail-under", "99"
        local = await in_thread(influxd, "gap-report", "--data-dir", str(tmp_path), *form)
        remote = await in_thread(influxd, "gap-report", "--influx-url", influxd.url, *form, **places)
        assert json.loads(remote.stdout) == json.loads(local.stdout)
        assert remote.exit_code == local.exit_code
        idle.append((remote.exit_code, json.loads(remote.stdout)["products"][0]["samples"]["not_collected"]))
    assert idle == [(0, 0), (3, 600), (3, 1200)]


async def test_a_month_that_is_not_there_is_no_error_and_an_old_gap_is_found(
    influxd: InfluxServer, tmp_path: Path
) -> None:
    """With a bucket for each month: this and the two before are there, and the gap began in the oldest."""
    name = f"o{time.time_ns()}"
    now_ns = time.time_ns()
    months = sorted(set(buckets_between(name, "monthly", now_ns - 70 * 24 * HOUR_NS, now_ns)))
    for month in months:
        influxd.make(month)
    tags = "collector=a,exchange=coinbase,symbol=BTC-USD"
    minute_ns = (now_ns - HOUR_NS) // (60 * 10**9) * 60 * 10**9
    old_ns = now_ns - 70 * 24 * HOUR_NS
    rows = [
        f'coverage,{tags} first_trade_id=1i,integrity="sequence",last_trade_id=1i,repaired=0i,samples_due=600i,'
        f"samples_withheld=0i,samples_written=600i,trades=1i {minute_ns}",
        f"gaps,cause=trades,channel=trades,{tags} end_seq=9i,missing_count=9i,repaired_count=0i,start_ns={old_ns}i,"
        f"start_seq=1i {old_ns}",
    ]
    places = {"bucket_trades": name, "bucket_book": name, "rotation": "monthly"}
    async with delivering(tmp_path, influxd.url, **places) as (journal, _):
        for row in rows:
            await journal.append(timed({"accounts": [row.encode()]}))
    asked = ("gap-report", "--influx-url", influxd.url, "--since", "40d", "--format", "json")
    report = await in_thread(influxd, *asked, **places)
    assert report.exit_code == 0, report.output
    (product,) = json.loads(report.output)["products"]
    assert [gap["start_ns"] for gap in product["gaps"] if gap["channel"] == "trades"] == [old_ns]
    recent = await in_thread(influxd, "gap-report", "--influx-url", influxd.url, "--format", "json", **places)
    (product,) = json.loads(recent.output)["products"]
    assert [gap["start_ns"] for gap in product["gaps"] if gap["channel"] == "trades"] == [old_ns]
    for month in months[:-1]:
        influxd.query(f'DROP DATABASE "{month}"')
    short = await in_thread(influxd, *asked, **places)
    assert short.exit_code == 0, short.output
    nowhere = await in_thread(influxd, *asked, **(places | {"bucket_book": "nowhere"}))
    assert "database not found" in str(nowhere.exception)


def test_buckets_of_which_making_was_killed_before_any_change_are_made_by_the_next_one(
    influxd: InfluxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has what it was told before; whoever told it is gone."""
    asked, query = 0, Server.query

    async def dying(self: Server, statement: str, *arguments: Any) -> Any:
        nonlocal asked
        if not statement.startswith("SHOW"):
            if not asked:
                raise SystemExit(137)
            asked -= 1
        return await query(self, statement, *arguments)

    for last in range(20):
        database = f"k{time.time_ns()}"
        names = {"bucket_trades": database, "bucket_book": f"{database}/week", "rotation": "monthly"}
        names |= {"retention_trades_s": "86400", "retention_book_s": "604800"}
        asked = last
        with monkeypatch.context() as patch:
            patch.setattr(Server, "query", dying)
            is_dead = sentinel(influxd, "buckets", "rotate", **names).exit_code == 137
        again = sentinel(influxd, "buckets", "rotate", **names)
        assert again.exit_code == 0, again.output
        kept = retentions(influxd, database)
        assert kept.pop("autogen") == "0s"
        assert sorted(kept.values()) == ["168h0m0s"] * 2
        for at_ns in months(time.time_ns(), time.time_ns() + 32 * 24 * HOUR_NS)[:2]:
            assert retentions(influxd, bucket_at(database, "monthly", at_ns)) == {"autogen": "24h0m0s"}
        if not is_dead:
            return
    raise AssertionError("it takes more changes than that")
