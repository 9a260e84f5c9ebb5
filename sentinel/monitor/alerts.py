"""What an operator has to be told: pure rules over the status, with hysteresis, and their delivery.

An alert is raised when its condition has held for a while, and cleared when it has been gone for a while: a flicker
tells nobody anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec
from loguru import logger
from msgspec import Struct

from sentinel.config import Alerts as Limits
from sentinel.contract.causes import words as words_of
from sentinel.monitor.acknowledged import Acknowledgement, Key
from sentinel.monitor.status import GapStatus, SinkStatus, Status, expected
from sentinel.webhook import post

Kind = Literal[
    "silence",
    "gap_open",
    "trades_missing",
    "accounts_open",
    "sink_behind",
    "sink_barred",
    "dead_letters",
    "object_store",
    "disk_low",
    "clock_step",
    "crossed",
    "late",
    "part_failed",
    "cluster_outside",
    "cluster_uncovered",
]

CRITICAL: frozenset[Kind] = frozenset(
    {
        "silence",
        "gap_open",
        "accounts_open",
        "sink_barred",
        "disk_low",
        "part_failed",
        "cluster_uncovered",
    }
)
"""Data is being lost or soon will be, or nobody can know; what others cost is accounted for. See docs/alerts.md."""

FORGET_S = 60.0
"""How long an acknowledgement stays without its condition: after a start, conditions take a while to show."""

TOLD_S = 3600.0
"""How long something that has happened and will not be undone is told of: one more raises no alert that is raised."""


class Alert(Struct, frozen=True):
    """``about`` is the product, connection or sink, ``exchange`` whose it is, empty where it is of none; ``since_ns``
    when the condition began, ``cleared_ns`` its end, ``acknowledged_ns`` when an operator said that it is known, with
    his ``note``: then it is shown, and is no alarm any more."""

    kind: Kind
    about: str
    words: str
    since_ns: int
    cleared_ns: int | None = None
    exchange: str = ""
    acknowledged_ns: int | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        state = "cleared" if self.cleared_ns is not None else "ALERT"
        return f"sentinel-ws {state}: {self.kind} {self.about}: {self.words}"


class Condition(NamedTuple):
    """What an ``Alert`` says, at one moment. ``amount`` is of what it counts, if it does: more of it is worse."""

    kind: Kind
    about: str
    words: str
    exchange: str = ""
    amount: int = 0


def conditions(status: Status, limits: Limits) -> Iterator[Condition]:
    """Everything that is wrong at this moment."""
    yield from _of_cluster(status, limits)
    status = expected(status)
    yield from _of_connections(status, limits)
    yield from _of_products(status, limits)
    yield from _of_sinks(status, limits)
    yield from _of_parts(status)
    store = status.object_store
    if store is not None and store.state != "delivering":
        yield Condition("object_store", store.url, store.last_error or "away")
    if 0 < status.disk_free_bytes < limits.disk_free_bytes:
        yield Condition("disk_low", "data directory", f"{status.disk_free_bytes / 1e9:.1f} GB are free")
    if abs(status.clock_step_ms) > limits.clock_step_ms:
        ahead = "; until a restart samples may bear times as much ahead" if status.clock_step_ms < 0 else ""
        yield Condition(
            "clock_step", "wall clock", f"stepped by {status.clock_step_ms} ms{ahead}", "", abs(status.clock_step_ms)
        )
    if status.lateness.p99_ms > limits.lateness_ms:
        yield Condition("late", "samples", f"the 99th percentile is {status.lateness.p99_ms:.0f} ms")


def _of_connections(status: Status, limits: Limits) -> Iterator[Condition]:
    for line in status.connections:
        name = f"{line.venue}#{line.lane}"
        if line.silent_ms > limits.silence_s * 1000:
            why = f": {line.last_error}" if line.last_error and not line.is_live else ""
            yield Condition("silence", name, f"nothing heard for {line.silent_ms / 1000:.1f} s{why}", line.exchange)
        if line.behind_s * 1000 > limits.lateness_ms:
            words = f"more has come than could be read for {line.behind_s:.0f} s: what is stored is as old"
            yield Condition("late", name, words, line.exchange)
        if line.frames_residue:
            words = f"{line.frames_residue} frames are unaccounted for"
            yield Condition("accounts_open", name, words, line.exchange, abs(line.frames_residue))


def _of_products(status: Status, limits: Limits) -> Iterator[Condition]:
    for gap in status.gaps:
        if gap.channel == "book" and gap.age_s > limits.gap_s:  # missing trades are told once, below
            about = f"{gap.market.short} {gap.channel}"
            yield Condition("gap_open", about, _open_gap(gap), gap.exchange)
    for product in status.products:
        name, exchange = product.market.short, product.exchange
        if product.trades_missing:
            words = f"{product.trades_missing} trades are missing"
            yield Condition("trades_missing", name, words, exchange, product.trades_missing)
        if product.crossed_for_s > 0 and product.state == "trading":  # an auction may cross it
            yield Condition("crossed", name, f"the book is crossed for {product.crossed_for_s:.1f} s", exchange)


def _open_gap(gap: GapStatus) -> str:
    return f"no proved book for {gap.age_s:.0f} s: {words_of(gap.cause)}"


def _of_sinks(status: Status, limits: Limits) -> Iterator[Condition]:
    for sink in status.sinks:
        if sink.behind_s > sink.by_design_s + limits.sink_behind_s:
            yield Condition("sink_behind", sink.name, _lateness(sink))
        if sink.state == "barred":
            yield Condition("sink_barred", sink.name, sink.last_error or "refused")
        if sink.lines_set_aside and sink.set_aside_age_s < TOLD_S:
            words = f"{sink.lines_set_aside} lines were set aside"
            yield Condition("dead_letters", sink.name, words, "", sink.lines_set_aside)


def _of_parts(status: Status) -> Iterator[Condition]:
    for part in status.parts:
        if part.state == "failed":
            yield Condition("part_failed", part.name, part.last_error or "no reason given")


def _of_cluster(status: Status, limits: Limits) -> Iterator[Condition]:
    cluster = status.cluster
    if cluster is None:
        return
    if not cluster.is_inside:
        words = f"no lease for {cluster.since_s:.0f} s, {cluster.reason or 'no server answers'}"
        yield Condition("cluster_outside", cluster.name, words)
    silent = {product.market for product in status.products if product.may_be_silent}
    for lack in cluster.uncovered:
        if lack.age_s > limits.gap_s and lack.market not in silent:
            words = f"no member has had a proved book for {lack.age_s:.0f} s"
            yield Condition("cluster_uncovered", lack.market.short, words, lack.exchange)


def _lateness(sink: SinkStatus) -> str:
    words = f"the oldest waiting line is {sink.behind_s:.0f} s old"
    if sink.by_design_s >= 60:
        words += f", where up to {sink.by_design_s:.0f} s are by design"
    return words if sink.state == "delivering" or sink.last_error is None else f"{words}: {sink.last_error}"


class Watchman:
    """Remembers what is wrong since when. ``update`` is told the time and gives what changed.

    ``limits`` and ``acknowledged`` may be replaced at any time; of the latter, ``update`` leaves those that still hold.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.acknowledged: dict[Key, Acknowledgement] = {}
        self._since_ns: dict[Key, int] = {}
        self._seen_ns: dict[Key, int] = {}
        self._needed_ns: dict[Key, int] = {}
        self.raised: dict[Key, Alert] = {}

    def update(self, status: Status) -> list[Alert]:
        """Alerts raised or cleared by this status; not those that are raised and known already."""
        now_ns, limits, changed = status.now_ns, self.limits, []
        for condition in conditions(status, limits):
            key: Key = condition.kind, condition.about
            since_ns = self._since_ns.setdefault(key, now_ns)
            self._seen_ns[key] = now_ns
            before = self.raised.get(key)
            if before is None and now_ns - since_ns < limits.raise_after_s * 1e9:
                continue
            alert = self._alert(condition, since_ns, now_ns)
            self.raised[key] = alert
            was_alarm = before is not None and before.acknowledged_ns is None
            if alert.acknowledged_ns is None and not was_alarm:
                changed.append(alert)
        for key in [key for key, seen_ns in self._seen_ns.items() if seen_ns < now_ns]:
            if key not in self.raised:
                del self._since_ns[key], self._seen_ns[key]
            elif now_ns - self._seen_ns[key] >= limits.clear_after_s * 1e9:
                changed.append(msgspec.structs.replace(self.raised.pop(key), cleared_ns=now_ns))
                del self._since_ns[key], self._seen_ns[key]
        self._forget(now_ns)
        return changed

    def _alert(self, condition: Condition, since_ns: int, now_ns: int) -> Alert:
        kind, about, words, exchange, amount = condition
        alert = Alert(kind, about, words, since_ns, exchange=exchange)
        known = self.acknowledged.get((kind, about))
        if known is None:
            return alert
        if not known.holds(amount, now_ns):
            del self.acknowledged[known.key]
            return alert
        if known.amount is None:
            self.acknowledged[known.key] = msgspec.structs.replace(known, amount=amount)
        return msgspec.structs.replace(alert, acknowledged_ns=known.at_ns, note=known.note)

    def _forget(self, now_ns: int) -> None:
        """An acknowledgement of what is gone for a while must not silence what comes later."""
        for key in list(self.acknowledged):
            if key in self._seen_ns:
                self._needed_ns[key] = now_ns
            elif now_ns - self._needed_ns.setdefault(key, now_ns) >= FORGET_S * 1e9:
                del self.acknowledged[key]
        self._needed_ns = {key: at_ns for key, at_ns in self._needed_ns.items() if key in self.acknowledged}


class Webhook:
    """Posts alerts to an address, as generic JSON or in Slack's shape, with patience but not for ever."""

    def __init__(self, url: str, shape: Literal["json", "slack"]) -> None:
        self._url = url
        self._shape = shape

    async def send(self, alerts: list[Alert]) -> str | None:
        """None once it was accepted, else why it never was."""
        reason = await post(self._url, self._body(alerts), asyncio.sleep)
        if reason is not None:
            logger.bind(reason=reason, alerts=len(alerts)).error("webhook_failed")
        return reason

    def _body(self, alerts: list[Alert]) -> bytes:
        if self._shape == "slack":
            return msgspec.json.encode({"text": "\n".join(alert.text for alert in alerts)})
        return msgspec.json.encode({"alerts": alerts})
