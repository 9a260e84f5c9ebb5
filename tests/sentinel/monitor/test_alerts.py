"""Each kind of alert is raised and cleared, with hysteresis, and reaches a webhook that is in trouble at first."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from aiohttp import web

from sentinel.collector.parts import PartStatus
from sentinel.config import Alerts
from sentinel.monitor import alerts as module
from sentinel.monitor.acknowledged import Acknowledgement
from sentinel.monitor.alerts import Alert, Kind, Watchman, Webhook, conditions
from sentinel.monitor.status import (
    ClusterStatus,
    ConnectionStatus,
    GapStatus,
    ObjectStoreStatus,
    SinkStatus,
    Status,
    UncoveredMarket,
)
from sentinel.timing.histogram import Quantiles
from tests.sentinel.monitor.statuses import GOOD_PRODUCT

S = 1_000_000_000
LIMITS = Alerts(raise_after_s=5, clear_after_s=10)

GOOD_LINE = ConnectionStatus(
    lane=0, venue="coinbase_advanced", products=["BTC-USD"], is_live=True, silent_ms=100.0, openings=1,
    frames_per_s=9.0, frames_received=9,
    frames_applied=9, frames_control=0, frames_duplicate=0, frames_undecodable=0, frames_lost=0, frames_residue=0,
    skipped={},
)  # fmt: skip
GOOD_SINK = SinkStatus("influx", "delivering", 0, 0, 0.0, 100, 0, None)
GOOD_STORE = ObjectStoreStatus("s3://bucket/prefix", "delivering", 1, 5, 500, None)
INSIDE = ClusterStatus("sentinel", True, 9.0, "", ["here", "there"], 1, 1, 0)
GAP = GapStatus("BTC-USD", "book", "silence", 0, 100.0, 0, None, None)
GOOD = Status(
    software="sentinel-ws", collector="here", now_ns=0, uptime_s=1.0, lines_stored=5, trades_to_repair=0,
    clock_step_ms=0, lateness=Quantiles(1.0, 5.0, 9.0), handling=Quantiles(0.1, 0.2, 0.4),
    loop_lag=Quantiles(0.1, 0.2, 0.4), journal_bytes=1, disk_free_bytes=10**12, dead_letters=0,
    products=[GOOD_PRODUCT], connections=[GOOD_LINE], sinks=[GOOD_SINK], gaps=[], object_store=GOOD_STORE,
    parts=[PartStatus("archive", "running", 1, "OSError: no process"), PartStatus("reload", "ended", 0, None)],
)  # fmt: skip

change = msgspec.structs.replace
BAD: dict[str, Status] = {
    "silence": change(GOOD, connections=[change(GOOD_LINE, silent_ms=6000.0)]),
    "accounts_open": change(GOOD, connections=[change(GOOD_LINE, frames_residue=1)]),
    "gap_open": change(GOOD, gaps=[GAP]),
    "trades_missing": change(GOOD, products=[change(GOOD_PRODUCT, trades_missing=3)]),
    "crossed": change(GOOD, products=[change(GOOD_PRODUCT, crossed_for_s=0.4)]),
    "sink_behind": change(GOOD, sinks=[change(GOOD_SINK, behind_s=42.0)]),
    "sink_barred": change(GOOD, sinks=[change(GOOD_SINK, state="barred", last_error="401")]),
    "dead_letters": change(GOOD, sinks=[change(GOOD_SINK, lines_set_aside=1)]),
    "object_store": change(GOOD, object_store=change(GOOD_STORE, state="waiting", last_error="could not connect")),
    "disk_low": change(GOOD, disk_free_bytes=10**9),
    "clock_step": change(GOOD, clock_step_ms=-900),
    "late": change(GOOD, lateness=Quantiles(1.0, 3000.0, 9000.0)),
    "cluster_outside": change(GOOD, cluster=change(INSIDE, is_inside=False, reason="no server answers")),
    "cluster_uncovered": change(
        GOOD, cluster=change(INSIDE, uncovered=[UncoveredMarket("coinbase", "BTC-USD", 100.0)])
    ),
    "part_failed": change(GOOD, parts=[PartStatus("archive", "failed", 1, "OSError: no process")]),
}


def at(status: Status, seconds: float) -> Status:
    return change(status, now_ns=round(seconds * S))


@pytest.mark.parametrize(
    ("is_live", "words"), [(False, "nothing heard for 6.0 s: HTTP 429"), (True, "nothing heard for 6.0 s")]
)
def test_silence_says_why_there_is_no_connection(is_live: bool, words: str) -> None:
    line = change(GOOD_LINE, silent_ms=6000.0, is_live=is_live, last_error="HTTP 429")
    assert [each.words for each in conditions(change(GOOD, connections=[line]), LIMITS)] == [words]


def test_a_connection_that_brings_more_than_can_be_read_is_late() -> None:
    line = change(GOOD_LINE, behind_s=12.3)
    (found,) = conditions(change(GOOD, connections=[line]), LIMITS)
    assert (found.kind, found.about) == ("late", "coinbase_advanced#0")
    assert not list(conditions(change(GOOD, connections=[change(line, behind_s=1.9)]), LIMITS))


def test_the_silence_of_a_halted_market_is_no_alarm() -> None:
    halted = change(GOOD_PRODUCT, state="halted", is_proved=False)
    silent = change(GOOD, products=[halted], connections=[change(GOOD_LINE, silent_ms=6000.0)], gaps=[GAP])
    assert list(conditions(silent, LIMITS)) == []
    auction = change(GOOD, products=[change(GOOD_PRODUCT, state="halted", crossed_for_s=9.0)])
    assert list(conditions(auction, LIMITS)) == []
    back = change(silent, products=[change(halted, state="trading")])
    assert {each.kind for each in conditions(back, LIMITS)} == {"silence", "gap_open"}


def test_a_member_is_alarmed_about_what_can_be_expected() -> None:
    assert not list(conditions(change(GOOD, cluster=INSIDE), LIMITS))
    lack = UncoveredMarket("coinbase", "BTC-USD", 100.0)
    halted = change(GOOD_PRODUCT, state="halted", is_proved=False)
    silent = change(GOOD, products=[halted], cluster=change(INSIDE, uncovered=[lack]))
    assert not [each for each in conditions(silent, LIMITS) if each.kind == "cluster_uncovered"]
    young = change(GOOD, cluster=change(INSIDE, uncovered=[change(lack, age_s=1.0)]))
    assert not list(conditions(young, LIMITS))


def test_there_is_a_case_for_every_kind() -> None:
    assert set(BAD) == set(get_args(Kind))
    assert not list(conditions(GOOD, LIMITS))


def test_a_sink_is_measured_by_what_it_promises_and_not_by_how_many_lines_wait() -> None:
    """An hour of two products is a million lines, and the archive is an hour behind by design."""
    archive = change(GOOD_SINK, name="parquet", backlog_lines=1_100_000, behind_s=4200.0, by_design_s=4260.0)
    assert not list(conditions(change(GOOD, sinks=[archive]), LIMITS))
    late = change(archive, behind_s=4300.0)
    ((kind, about, words, exchange, *_),) = conditions(change(GOOD, sinks=[late]), LIMITS)
    assert (kind, about, exchange) == ("sink_behind", "parquet", "")
    assert words == "the oldest waiting line is 4300 s old, where up to 4260 s are by design"
    store = change(GOOD_SINK, state="waiting", last_error="no answer within 10 s", behind_s=42.0, by_design_s=1.0)
    ((_, _, words, *_),) = conditions(change(GOOD, sinks=[store]), LIMITS)
    assert words == "the oldest waiting line is 42 s old: no answer within 10 s"


@pytest.mark.parametrize("kind", list(BAD))
def test_each_kind_is_raised_once_and_cleared_once(kind: str) -> None:
    watchman, bad = Watchman(LIMITS), BAD[kind]
    changes = [watchman.update(at(bad, second)) for second in range(9)]
    assert [len(change) for change in changes] == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    (raised,) = changes[5]
    assert (raised.kind, raised.since_ns, raised.cleared_ns) == (kind, 0, None)
    assert [alert.kind for alert in watchman.raised.values()] == [kind]
    after = [watchman.update(at(GOOD, second)) for second in range(9, 20)]
    assert [len(change) for change in after] == [0] * 9 + [1, 0]
    assert after[9][0].cleared_ns == 18 * S
    assert not watchman.raised


def test_one_gap_raises_one_alert_and_none_once_it_is_given_up() -> None:
    gap = change(GAP, channel="trades", cause="trades", missing=3)
    asked_for = change(GOOD, gaps=[gap], products=[change(GOOD_PRODUCT, trades_missing=3)])
    assert [kind for kind, *_ in conditions(asked_for, LIMITS)] == ["trades_missing"]
    given_up = change(GOOD, products=[change(GOOD_PRODUCT, trades_given_up=3)])
    assert not list(conditions(given_up, LIMITS))


def test_lines_that_were_set_aside_are_told_of_for_an_hour_and_again_when_there_are_more() -> None:
    """What is set aside stays so, and nobody should have to end a collector to be told of the next."""
    watchman = Watchman(LIMITS)

    def at_age(age_s: float, lines: int) -> Status:
        return change(GOOD, sinks=[change(GOOD_SINK, lines_set_aside=lines, set_aside_age_s=age_s)])

    ages = [*range(3620), *range(20)]
    lines = [1] * 3620 + [2] * 20
    states = [at(at_age(*facts), second) for second, facts in enumerate(zip(ages, lines, strict=True))]
    told = [alert.cleared_ns is None for state in states for alert in watchman.update(state)]
    assert told == [True, False, True]


def test_a_flicker_tells_nobody_anything() -> None:
    watchman = Watchman(LIMITS)
    for second in range(0, 40, 2):
        assert not watchman.update(at(BAD["silence"], second))
        assert not watchman.update(at(GOOD, second + 1))


def test_a_short_relief_does_not_clear() -> None:
    watchman = Watchman(LIMITS)
    for second in range(6):
        watchman.update(at(BAD["silence"], second))
    for second in range(6, 12):
        assert not watchman.update(at(GOOD, second))
    assert not watchman.update(at(BAD["silence"], 12))
    assert watchman.raised


@pytest.mark.parametrize("shape", ["json", "slack"])
async def test_a_webhook_is_tried_again(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        received.append(await request.json())
        return web.Response(status=500 if len(received) < 3 else 200)

    async def no_wait(_: float) -> None:
        return None

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(module.asyncio, "sleep", no_wait)
    alert = Alert("silence", "coinbase_advanced#0", "nothing heard for 6.0 s", since_ns=1)
    try:
        hook = Webhook(f"http://127.0.0.1:{runner.addresses[0][1]}/hook", shape)
        assert await hook.send([alert]) is None
    finally:
        await runner.cleanup()
    assert len(received) == 3
    text = json.dumps(received[-1])
    assert "nothing heard" in text
    assert ("text" in received[-1]) == (shape == "slack")


async def test_a_webhook_that_is_gone_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_wait(_: float) -> None:
        return None

    monkeypatch.setattr(module.asyncio, "sleep", no_wait)
    reason = await Webhook("http://127.0.0.1:9/hook", "json").send([])
    assert reason is not None
    assert "127.0.0.1:9" in reason


async def test_a_redirect_that_loses_the_alert_on_its_way_is_not_taken_for_a_yes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A POST that is answered with 302 is followed by a GET, which the login page of a proxy answers with 200."""
    asked: list[str] = []

    async def no_wait(_: float) -> None:
        return None

    async def moved(request: web.Request) -> web.Response:
        return web.Response(status=int(request.query["status"]), headers={"Location": "/login"})

    async def page(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response(text="please log in")

    app = web.Application()
    app.router.add_post("/hook", moved)
    app.router.add_route("*", "/login", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(module.asyncio, "sleep", no_wait)
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?status="
    try:
        assert await Webhook(f"{address}302", "json").send([]) is not None
        assert await Webhook(f"{address}308", "json").send([]) is None
    finally:
        await runner.cleanup()
    assert asked[-1] == "POST"


# tour F5: an id that the venue never gives keeps the page red for six hours, a step of the clock until a restart
def missing(trades: int, second: float) -> Status:
    return at(change(GOOD, products=[change(GOOD_PRODUCT, trades_missing=trades)]), second)


TRADES = ("trades_missing", "BTC-USD")


def known(watchman: Watchman, *, until_s: float | None = None) -> None:
    until_ns = None if until_s is None else round(until_s * S)
    watchman.acknowledged = {TRADES: Acknowledgement(*TRADES, at_ns=7, note="never there", until_ns=until_ns)}


def raised_with(trades: int) -> Watchman:
    watchman = Watchman(LIMITS)
    told = [alert for second in range(6) for alert in watchman.update(missing(trades, second))]
    assert [alert.acknowledged_ns for alert in told] == [None]
    return watchman


def test_an_acknowledged_alert_is_shown_and_told_no_more_while_it_is_no_worse() -> None:
    watchman = raised_with(3)
    known(watchman)
    assert not watchman.update(missing(3, 6))
    (shown,) = watchman.raised.values()
    assert (shown.acknowledged_ns, shown.note) == (7, "never there")
    assert watchman.acknowledged[TRADES].amount == 3
    assert not watchman.update(missing(2, 7))
    (worse,) = watchman.update(missing(4, 8))
    assert (worse.words, worse.acknowledged_ns) == ("4 trades are missing", None)
    assert not watchman.acknowledged


def test_an_acknowledgement_outlives_a_restart_and_ends_with_what_it_is_of() -> None:
    before = raised_with(3)
    known(before)
    before.update(missing(3, 6))
    after = Watchman(LIMITS)
    after.acknowledged = dict(before.acknowledged)
    assert not [alert for second in range(10, 30) for alert in after.update(missing(3, second))]
    assert [alert.acknowledged_ns for alert in after.raised.values()] == [7]
    told = [alert for second in range(30, 110) for alert in after.update(at(GOOD, second))]
    assert [alert.cleared_ns for alert in told] == [39 * S]
    assert not after.acknowledged
    again = [alert for second in range(110, 120) for alert in after.update(missing(3, second))]
    assert [alert.acknowledged_ns for alert in again] == [None]


def test_an_acknowledgement_may_end_by_itself() -> None:
    watchman = raised_with(3)
    known(watchman, until_s=20)
    assert not [alert for second in range(6, 20) for alert in watchman.update(missing(3, second))]
    assert len(watchman.update(missing(3, 20))) == 1


def test_one_of_what_is_not_there_silences_nothing_later() -> None:
    watchman = Watchman(LIMITS)
    known(watchman)
    for second in range(62):
        watchman.update(at(GOOD, second))
    assert not watchman.acknowledged
