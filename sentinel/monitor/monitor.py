"""An eye on a running collector: raises the alerts, and gives what the status API shows."""

from __future__ import annotations

import asyncio
from collections import deque

from loguru import logger
from msgspec import Struct
from msgspec.structs import replace

from feeds.market import Market
from sentinel.collector.service import Service
from sentinel.config import Config
from sentinel.disk.data_dir import JOURNAL
from sentinel.gap_report import local
from sentinel.gap_report.report import Report, Window, build
from sentinel.monitor.acknowledged import AcknowledgedFolder, Acknowledgement, Key
from sentinel.monitor.alerts import Alert, Watchman, Webhook
from sentinel.monitor.history import STEPS_S, Histories, History, LatenessPoint
from sentinel.monitor.status import Status, StatusReader
from sentinel.timing.instants import NS_PER_S

WATCH_EVERY_S = 1.0
LATENESS_EVERY_NS = 5 * NS_PER_S


class Depth(Struct, frozen=True):
    """A book now: (price, size), best first; empty while it is not proved."""

    symbol: str
    is_proved: bool
    changed_ns: int | None
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    exchange: str


class Monitor:
    """The companion that keeps an eye on the collector; what the API shows."""

    def __init__(self, config: Config, service: Service, reader: StatusReader) -> None:
        self._config = config
        self._service = service
        self._reader = reader
        self._watchman = Watchman(config.alerts)
        self._acknowledged = AcknowledgedFolder(config.data_dir)
        self._stored: dict[Key, Acknowledgement] = {}
        self._is_refused = False
        self._webhook = _webhook(config)
        self._histories = Histories(config.data_dir / JOURNAL)
        self._lateness: deque[LatenessPoint] = deque(maxlen=max(STEPS_S) * 60 * NS_PER_S // LATENESS_EVERY_NS)

    def apply(self, config: Config) -> None:
        """Goes on with other thresholds and another webhook."""
        self._watchman.limits = config.alerts
        self._webhook = _webhook(config)

    def status(self) -> Status:
        """The present moment."""
        return self._reader.read()

    def alerts(self) -> list[Alert]:
        """Those that are raised now."""
        return list(self._watchman.raised.values())

    async def watch(self) -> None:
        """Looks once a second, and tells the log and the webhook what changed; until cancelled."""
        async with asyncio.TaskGroup() as deliveries:
            while True:
                changed = await self._look()
                for alert in changed:
                    facts = {"kind": alert.kind, "about": alert.about, "words": alert.words}
                    if alert.exchange:
                        facts["exchange"] = alert.exchange
                    if alert.cleared_ns is None:
                        logger.bind(**facts).error("alert_raised")
                    else:
                        logger.bind(**facts).info("alert_cleared")
                if changed and self._webhook is not None:
                    deliveries.create_task(self._webhook.send(changed))
                await asyncio.sleep(WATCH_EVERY_S)

    async def _look(self) -> list[Alert]:
        """What changed, with what an operator has acknowledged meanwhile. A thread reads it: a disk may be slow."""
        self._take(await asyncio.to_thread(self._acknowledged.read))
        before = dict(self._watchman.acknowledged)
        status = self._reader.read()
        self._note(status)
        changed = self._watchman.update(status)
        after = dict(self._watchman.acknowledged)
        for key, one in after.items():
            if before[key].amount is None and one.amount is not None:
                logger.bind(kind=one.kind, about=one.about, note=one.note).info("alert_acknowledged")
        if after != self._stored:
            await self._settle(after)
        return changed

    def _take(self, stored: dict[Key, Acknowledgement]) -> None:
        """What others have changed: what we know of the rest holds, though a disk may have refused it."""
        known = self._watchman.acknowledged
        for key in self._stored.keys() - stored.keys():
            known.pop(key, None)
        known.update({key: one for key, one in stored.items() if self._stored.get(key) != one})
        self._stored = stored

    async def _settle(self, after: dict[Key, Acknowledgement]) -> None:
        try:
            await asyncio.to_thread(self._acknowledged.settle, self._stored, after)
        except OSError as error:
            if not self._is_refused:  # it is tried again each second
                logger.bind(reason=str(error)).warning("acknowledgement_not_stored")
            self._is_refused = True
        else:
            self._stored, self._is_refused = after, False

    def depth(self, market: Market, levels: int) -> Depth | None:
        """The best levels of a product; None if it is not collected."""
        found = self._service.pipeline.products.get(market)
        if found is None:
            return None
        lane = found.books.shown()
        if lane is None:
            return Depth(market.symbol, is_proved=False, changed_ns=None, bids=[], asks=[], exchange=market.exchange)
        bids, asks = lane.book.bids, lane.book.asks
        return Depth(
            market.symbol,
            is_proved=True,
            changed_ns=lane.changed_ns,
            bids=[(price, bids[price]) for price in reversed(bids.keys()[-levels:])],
            asks=[(price, asks[price]) for price in asks.keys()[:levels]],
            exchange=market.exchange,
        )

    def report(self, since_s: float, market: Market | None = None) -> Report:
        """The gap report of the last so many seconds, of one market if it is named. What others of a cluster collected
        meanwhile is not counted."""
        now_ns = self._service.intake.clock.now_ns()
        window = Window(now_ns - round(since_s * NS_PER_S), now_ns)
        markets = () if market is None else (market,)
        rows = local.read(self._config.data_dir, window, markets)
        cadence_ns, is_member = self._config.book.cadence_ms * 1_000_000, bool(self._config.cluster.servers)
        return build(rows, window, markets=markets, cadence_ns=cadence_ns, now_ns=now_ns, collected_only=is_member)

    def history(self, market: Market, minutes: int, after_ns: int | None) -> History | None:
        """A market's last minutes, what has changed since ``after_ns`` if that is given; None if it is not collected.
        For one thread at a time.

        Raises:
            UsageError: if nothing is stored.
        """
        if market not in self._service.pipeline.products:
            return None
        found = self._histories.read(market, minutes, self._service.intake.clock.now_ns(), after_ns)
        since_ns = found.start_ns if after_ns is None else max(found.start_ns, after_ns)
        return replace(found, lateness=[point for point in tuple(self._lateness) if point.time_ns > since_ns])

    def _note(self, status: Status) -> None:
        """Keeps the lateness of the last hour, which no line has."""
        if not self._lateness or status.now_ns - self._lateness[-1].time_ns >= LATENESS_EVERY_NS:
            self._lateness.append(LatenessPoint(status.now_ns, status.lateness.p50_ms, status.lateness.p99_ms))


def _webhook(config: Config) -> Webhook | None:
    address = config.alerts.webhook_url
    return None if address is None else Webhook(address.get_secret_value(), config.alerts.webhook_shape)
