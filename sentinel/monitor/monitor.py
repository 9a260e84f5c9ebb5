"""An eye on a running collector: raises the alerts, and gives what the status API shows."""

from __future__ import annotations

import asyncio

from loguru import logger
from msgspec import Struct

from feeds.market import Market
from sentinel.collector.service import Service
from sentinel.config import Config
from sentinel.gap_report import local
from sentinel.gap_report.report import Report, Window, build
from sentinel.monitor.acknowledged import AcknowledgedFolder
from sentinel.monitor.alerts import Alert, Watchman, Webhook
from sentinel.monitor.status import Status, StatusReader
from sentinel.timing.instants import NS_PER_S

WATCH_EVERY_S = 1.0


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
        self._webhook = _webhook(config)

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
                changed = self._look()
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

    def _look(self) -> list[Alert]:
        """What changed, with what an operator has acknowledged meanwhile."""
        before = self._acknowledged.read()
        self._watchman.acknowledged = dict(before)
        changed = self._watchman.update(self._reader.read())
        try:
            self._acknowledged.settle(before, self._watchman.acknowledged)
        except OSError as error:  # a full disk has an alert of its own
            logger.bind(reason=str(error)).warning("acknowledgement_not_stored")
        for key, one in self._watchman.acknowledged.items():
            if key in before and before[key].amount is None and one.amount is not None:
                logger.bind(kind=one.kind, about=one.about, note=one.note).info("alert_acknowledged")
        return changed

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

    def report(self, since_s: float) -> Report:
        """The gap report of the last so many seconds. What others of a cluster collected meanwhile is not counted."""
        now_ns = self._service.intake.clock.now_ns()
        window = Window(now_ns - round(since_s * NS_PER_S), now_ns)
        rows = local.read(self._config.data_dir, window)
        cadence_ns, is_member = self._config.book.cadence_ms * 1_000_000, bool(self._config.cluster.servers)
        return build(rows, window, cadence_ns=cadence_ns, now_ns=now_ns, collected_only=is_member)


def _webhook(config: Config) -> Webhook | None:
    address = config.alerts.webhook_url
    return Webhook(address, config.alerts.webhook_shape) if address else None
