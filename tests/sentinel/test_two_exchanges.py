"""Two exchanges with a product of one name in one data directory: whoever reads it never mixes them up."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rich.console import Console, RenderableType

import sentinel.data
from feeds.market import Market
from sentinel.archive.archiver import all_hours, write_hours
from sentinel.certificates import influx as certificates_influx
from sentinel.certificates.issuer import Folders, issue
from sentinel.certificates.issuer import all_hours as hours_of_archive
from sentinel.certificates.verify import read_chains, verify
from sentinel.cli import cli
from sentinel.config import Alerts, Influx
from sentinel.contract.line_protocol import Value, decode
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.errors import UsageError
from sentinel.influx.audit import Tallies, Tally
from sentinel.influx.server import Server
from sentinel.monitor.alerts import Watchman
from sentinel.monitor.api.metrics import Metrics
from sentinel.monitor.command import view
from sentinel.monitor.status import of_exchanges
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, line, write
from tests.sentinel.monitor.test_alerts import GAP, GOOD, GOOD_LINE, GOOD_PRODUCT

MINUTE_NS = 60_000_000_000
SYMBOL = "BTC-USD"
HOME, AWAY = Market("coinbase", SYMBOL), Market("elsewhere", SYMBOL)
FIRST_ID = {HOME: 1, AWAY: 9_001}
WINDOW = ("--since", "2026-11-23T00:00:00Z", "--until", "2026-11-23T00:03:00Z")


def of(market: Market) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Three minutes of one: trades, a sample each 100 ms, accounts. The one elsewhere lacks a trade."""
    tags = market._asdict()
    trades, book, accounts = [], [], []
    for number in range(3):
        minute_ns, trade_id = MIDNIGHT_NS + number * MINUTE_NS, FIRST_ID[market] + number
        fields: dict[str, Value] = {"price": 1.5, "size": 1.0, "trade_id": trade_id}
        if not (market == AWAY and number == 1):
            trades.append(line("trades", tags | {"side": "buy"}, fields, minute_ns + 5 + trade_id))
        book += [line("top", tags, {"bid": 1.0}, minute_ns + at * 100_000_000) for at in range(600)]
        counts: dict[str, Value] = {"samples_due": 600, "samples_written": 600, "integrity": "sequence"}
        ids: dict[str, Value] = {"trades": 1, "first_trade_id": trade_id, "last_trade_id": trade_id}
        lost = market == AWAY and number == 1
        accounts.append(line("coverage", tags | {"collector": "here"}, counts | ({} if lost else ids), minute_ns))
    if market == AWAY:
        gap = tags | {"collector": "here", "channel": "trades", "cause": "trades"}
        missing: dict[str, Value] = {"missing_count": 1, "repaired_count": 0, "start_seq": 9_002, "end_seq": 9_002}
        start_ns = MIDNIGHT_NS + 9_006
        span: dict[str, Value] = {"start_ns": start_ns, "end_ns": MIDNIGHT_NS + 2 * MINUTE_NS}
        accounts.append(line("gaps", gap, missing | span, start_ns))
    return trades, book, accounts


@pytest.fixture(scope="module", params=["journal", "archive"])
def data_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    parts = [of(market) for market in (HOME, AWAY)]
    streams = zip(("trades", "book", "accounts"), zip(*parts, strict=True), strict=True)
    commit = {name: [item for part in both for item in part] for name, both in streams}
    asyncio.run(write(folder, [commit]))
    if request.param == "archive":
        with JournalReader(folder / JOURNAL) as reader:
            end_ns = MIDNIGHT_NS + HOUR_NS
            write_hours(reader, folder / "archive", all_hours(reader, None, end_ns), end_ns)
        (folder / JOURNAL).unlink()
    return folder


def command(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def ids(market: Market) -> list[int]:
    return [int(dict(decode(trade).fields)["trade_id"]) for trade in of(market)[0]]


def test_the_report_has_both_and_each_for_itself(data_dir: Path) -> None:
    asked = ("gap-report", "--data-dir", str(data_dir), *WINDOW, "--format", "json")
    both = json.loads(command(*asked))["products"]
    assert [(each["exchange"], each["symbol"], each["trades"]["missing"]) for each in both] == [
        ("coinbase", SYMBOL, 0),
        ("elsewhere", SYMBOL, 1),
    ]
    for asked_for, market in ((SYMBOL, HOME), (str(HOME), HOME), (str(AWAY), AWAY)):
        (one,) = json.loads(command(*asked, "--symbol", asked_for))["products"]
        assert (one["exchange"], one["trades"]["first_id"]) == (market.exchange, FIRST_ID[market])
    table = command(*asked[:-1], "table")
    named = [word for word in table.split() if word in (str(HOME), str(AWAY))]
    assert [named.count(str(market)) for market in (HOME, AWAY)] == [1, 3]  # one has a gap, and its sum
    for kind, expected in (("products", [[*HOME], [*AWAY]]), ("gaps", [[*AWAY]])):
        rows = [row.split(",")[:2] for row in command(*asked[:-1], "csv", "--rows", kind).splitlines()[1:]]
        assert rows == expected


def test_a_report_of_one_exchange_is_of_nothing_else(data_dir: Path) -> None:
    asked = ("gap-report", "--data-dir", str(data_dir), *WINDOW)
    for exchange in ("coinbase", "elsewhere"):
        found = json.loads(command(*asked, "--exchange", exchange, "--format", "json"))
        assert [each["exchange"] for each in found["products"]] == [exchange]
    table = command(*asked, "--exchange", "coinbase")
    assert "BTC-USD" in table.split()  # among its like it needs no more
    assert "elsewhere" not in table
    result = CliRunner().invoke(cli, [*asked, "--exchange", "coinbase", "--exchange", "nowhere"])
    assert isinstance(result.exception, UsageError)
    assert "no accounts of nowhere" in str(result.exception)


def test_the_page_of_a_report_says_whose_product_each_is(data_dir: Path) -> None:
    page = command("gap-report", "--data-dir", str(data_dir), *WINDOW, "--format", "html")
    for market, complete in ((HOME, 1), (AWAY, 0)):
        assert f'href="#{market.exchange}">{market.exchange} <small>{complete} of 1 complete</small>' in page
        assert page.count(f'<div id="{market.exchange}"><section') == 1
        assert f'aria-label="{market}: ' in page


def test_the_reader_takes_either_way_of_naming_one(data_dir: Path) -> None:
    span = (MIDNIGHT_NS, MIDNIGHT_NS + 3 * MINUTE_NS)
    for name, exchange, market in (
        (SYMBOL, None, HOME),
        (str(AWAY), None, AWAY),
        (SYMBOL, "elsewhere", AWAY),
        (str(AWAY), "elsewhere", AWAY),
    ):
        loaded = sentinel.data.load("trades", name, *span, data_dir=data_dir, exchange=exchange)
        assert loaded.table["trade_id"].to_pylist() == ids(market)
        lost = [(hole.first_id, hole.last_id) for hole in loaded.holes]
        assert lost == ([(9_002, 9_002)] if market == AWAY else [])
    assert sentinel.data.gaps(SYMBOL, *span, data_dir=data_dir).num_rows == 0
    assert sentinel.data.gaps(str(AWAY), *span, data_dir=data_dir).num_rows == 1
    accounts = sentinel.data.coverage(str(AWAY), *span, data_dir=data_dir)
    assert pc.max(accounts["last_trade_id"]).as_py() == 9_003
    with pytest.raises(UsageError, match="is not of exchange coinbase"):
        sentinel.data.load("trades", str(AWAY), *span, data_dir=data_dir, exchange="coinbase")


def test_an_export_is_of_the_one_that_was_named(data_dir: Path) -> None:
    for name, market in ((SYMBOL, HOME), (str(AWAY), AWAY)):
        asked = ("--measurement", "trades", "--symbol", name, "--format", "jsonl")
        rows = map(json.loads, command("export", "--data-dir", str(data_dir), *asked).splitlines())
        assert [row["trade_id"] for row in rows] == ids(market)


@pytest.mark.parametrize("data_dir", ["archive"], indirect=True)
def test_each_has_a_chain_of_certificates(data_dir: Path) -> None:
    folders = Folders.of(data_dir)
    issue(folders, hours_of_archive(folders))
    chains = read_chains(folders.certificates)
    assert sorted(chains.heads) == ["coinbase BTC-USD", "elsewhere BTC-USD"]
    trades = {link.market: link.evidence.trades for link in chains.latest}
    for market, first_id in FIRST_ID.items():
        sealed = trades[market]
        assert sealed is not None
        assert (sealed.first_id, sealed.last_id) == (first_id, first_id + 2)
    assert [problem for check in verify(folders, chains.latest, chains.latest) for problem in check.problems] == []


@pytest.mark.parametrize("data_dir", ["archive"], indirect=True)
async def test_what_influxdb_has_of_one_does_not_stand_in_for_the_other(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = Folders.of(data_dir)
    issue(folders, hours_of_archive(folders))

    async def only_away(_: Server, __: Influx, ___: str, start_ns: int, ____: int) -> Tallies:
        return {start_ns: {tuple(AWAY): Tally(10_000, 9_001, 9_003)}}

    monkeypatch.setattr(certificates_influx, "tallies", only_away)
    settings = Influx(url="http://127.0.0.1:1")
    async with Server(settings, lambda: 0) as server:
        found = await certificates_influx.check_influx(server, settings, read_chains(folders.certificates).latest)
    whose = "coinbase BTC-USD 2026-11-23T00:00:00Z: 0 of"
    held = {"trades": "3", "top": "1,800", "coverage": "3"}
    assert sorted(found.problems) == sorted(
        f"{whose} {rows} points of {name} are in InfluxDB" for name, rows in held.items()
    )


def test_status_names_both_in_full_and_shows_one_exchange_if_asked() -> None:
    lost = replace(GOOD_PRODUCT, exchange="elsewhere", bid=65083.66, ask=65083.7, trades_stored=1_234_567)
    line = replace(GOOD_LINE, exchange="elsewhere", venue="elsewhere_plain", lane=1)
    status = replace(GOOD, products=[GOOD_PRODUCT, lost], connections=[GOOD_LINE, line])
    for width in (80, 200):
        shown = printed(view(status), width)
        assert all(text in shown for text in (str(HOME), str(AWAY), "elsewhere_plain", "65083.66", "1,234,567"))
        assert max(map(len, shown.splitlines())) <= width
    only = of_exchanges(status, ["elsewhere"])
    assert [product.market for product in only.products] == [AWAY]
    assert [each.lane for each in only.connections] == [1]
    assert "coinbase" not in printed(view(only), 80)


def printed(shown: RenderableType, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(shown)
    return text.getvalue()


def test_status_metrics_and_alerts_name_the_exchange_of_one_that_is_not_the_first_venue_s() -> None:
    lost = replace(GOOD_PRODUCT, exchange="elsewhere", trades_missing=3)
    status = replace(GOOD, products=[GOOD_PRODUCT, lost])
    text = Metrics(lambda: status, list).text().decode()
    assert 'sentinel_trades_missing{exchange="coinbase",symbol="BTC-USD"} 0.0' in text
    assert 'sentinel_trades_missing{exchange="elsewhere",symbol="BTC-USD"} 3.0' in text
    watchman = Watchman(Alerts(raise_after_s=0))
    (alert,) = watchman.update(status)
    assert (alert.about, alert.exchange) == (str(AWAY), "elsewhere")
    silent = replace(GOOD_LINE, exchange="elsewhere", silent_ms=60_000.0)
    disk = replace(GOOD, connections=[GOOD_LINE, silent], gaps=[replace(GAP, exchange="elsewhere")], disk_free_bytes=1)
    raised = Watchman(Alerts(raise_after_s=0)).update(disk)
    assert {alert.kind: alert.exchange for alert in raised} == {
        "silence": "elsewhere", "gap_open": "elsewhere", "disk_low": "",
    }  # fmt: skip
    text = Metrics(lambda: disk, lambda: raised).text().decode()
    assert 'sentinel_alert{about="elsewhere:BTC-USD book",exchange="elsewhere",kind="gap_open"} 1.0' in text
    live = 'sentinel_connection_live{{exchange="{}",lane="0",venue="coinbase_advanced"}} 1.0'
    assert all(live.format(exchange) in text for exchange in ("coinbase", "elsewhere"))
