"""What an operator has to be told: pure rules over the status, with hysteresis, and their delivery.

An alert is raised when its condition has held for a while, and cleared when it has been gone for a while: a flicker
tells nobody anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Literal, NamedTuple

import aiohttp
import msgspec
from loguru import logger
from msgspec import Struct

from sentinel.config import Alerts as Limits
from sentinel.monitor.status import SinkStatus, Status, expected

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

TOLD_S = 3600.0
"""How long something that has happened and will not be undone is told of: one more raises no alert that is raised."""

ATTEMPTS = 5
WEBHOOK_TIMEOUT_S = 10.0


class Alert(Struct, frozen=True):
    """``about`` is the product, connection or sink, ``exchange`` whose it is, empty where it is of none; ``since_ns``
    when the condition began, ``cleared_ns`` its end."""

    kind: Kind
    about: str
    words: str
    since_ns: int
    cleared_ns: int | None = None
    exchange: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        state = "cleared" if self.cleared_ns is not None else "ALERT"
        return f"sentinel-ws {state}: {self.kind} {self.about}: {self.words}"


class Condition(NamedTuple):
    """What an ``Alert`` says, at one moment."""

    kind: Kind
    about: str
    words: str
    exchange: str = ""


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
        yield Condition("clock_step", "wall clock", f"stepped by {status.clock_step_ms} ms{ahead}")
    if status.lateness.p99_ms > limits.lateness_ms:
        yield Condition("late", "samples", f"the 99th percentile is {status.lateness.p99_ms:.0f} ms")


def _of_connections(status: Status, limits: Limits) -> Iterator[Condition]:
    for line in status.connections:
        name = f"{line.venue}#{line.lane}"
        if line.silent_ms > limits.silence_s * 1000:
            yield Condition("silence", name, f"nothing heard for {line.silent_ms / 1000:.1f} s", line.exchange)
        if line.frames_residue:
            yield Condition("accounts_open", name, f"{line.frames_residue} frames are unaccounted for", line.exchange)


def _of_products(status: Status, limits: Limits) -> Iterator[Condition]:
    for gap in status.gaps:
        if gap.channel == "book" and gap.age_s > limits.gap_s:  # missing trades are told once, below
            about = f"{gap.market.short} {gap.channel}"
            yield Condition("gap_open", about, f"{gap.cause} for {gap.age_s:.0f} s", gap.exchange)
    for product in status.products:
        name, exchange = product.market.short, product.exchange
        if product.trades_missing:
            yield Condition("trades_missing", name, f"{product.trades_missing} trades are missing", exchange)
        if product.crossed_for_s > 0 and product.state == "trading":  # an auction may cross it
            yield Condition("crossed", name, f"the book is crossed for {product.crossed_for_s:.1f} s", exchange)


def _of_sinks(status: Status, limits: Limits) -> Iterator[Condition]:
    for sink in status.sinks:
        if sink.behind_s > sink.by_design_s + limits.sink_behind_s:
            yield Condition("sink_behind", sink.name, _lateness(sink))
        if sink.state == "barred":
            yield Condition("sink_barred", sink.name, sink.last_error or "refused")
        if sink.lines_set_aside and sink.set_aside_age_s < TOLD_S:
            yield Condition("dead_letters", sink.name, f"{sink.lines_set_aside} lines were set aside")


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

    ``limits`` may be replaced at any time.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._since_ns: dict[tuple[Kind, str], int] = {}
        self._seen_ns: dict[tuple[Kind, str], int] = {}
        self.raised: dict[tuple[Kind, str], Alert] = {}

    def update(self, status: Status) -> list[Alert]:
        """Alerts raised or cleared by this status."""
        now_ns, limits, changed = status.now_ns, self.limits, []
        for kind, about, words, exchange in conditions(status, limits):
            key = kind, about
            since_ns = self._since_ns.setdefault(key, now_ns)
            self._seen_ns[key] = now_ns
            if key in self.raised:
                self.raised[key] = Alert(kind, about, words, since_ns, exchange=exchange)
            elif now_ns - since_ns >= limits.raise_after_s * 1e9:
                self.raised[key] = Alert(kind, about, words, since_ns, exchange=exchange)
                changed.append(self.raised[key])
        for key in [key for key, seen_ns in self._seen_ns.items() if seen_ns < now_ns]:
            if key not in self.raised:
                del self._since_ns[key], self._seen_ns[key]
            elif now_ns - self._seen_ns[key] >= limits.clear_after_s * 1e9:
                changed.append(msgspec.structs.replace(self.raised.pop(key), cleared_ns=now_ns))
                del self._since_ns[key], self._seen_ns[key]
        return changed


class Webhook:
    """Posts alerts to an address, as generic JSON or in Slack's shape, with patience but not for ever."""

    def __init__(self, url: str, shape: Literal["json", "slack"]) -> None:
        self._url = url
        self._shape = shape

    async def send(self, alerts: list[Alert]) -> str | None:
        """None once it was accepted, else why it never was."""
        timeout = aiohttp.ClientTimeout(WEBHOOK_TIMEOUT_S)
        reason = ""
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for attempt in range(ATTEMPTS):
                if attempt:
                    await asyncio.sleep(0.5 * 2**attempt)
                try:
                    async with session.post(self._url, data=self._body(alerts), headers=JSON) as response:
                        if response.status < 300 and response.method == "POST":
                            return None
                        reason = f"status {response.status}"
                        if response.method != "POST":  # most redirects are followed by a GET, which brings no alert
                            reason = f"redirected to {response.url}"
                except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a redirect to no address
                    reason = f"{type(error).__name__}: {error}"
        logger.bind(reason=reason, alerts=len(alerts)).error("webhook_failed")
        return reason

    def _body(self, alerts: list[Alert]) -> bytes:
        if self._shape == "slack":
            return msgspec.json.encode({"text": "\n".join(alert.text for alert in alerts)})
        return msgspec.json.encode({"alerts": alerts})


JSON = {"Content-Type": "application/json"}
