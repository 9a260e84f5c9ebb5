"""What the journal holds, counted line by line: samples stored, and trades stored twice.

It is read once, on and on, so that the accounts of the collector can be held against the lines themselves.
"""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

from book.trade_ledger import Entry, Range, TradeLedger
from feeds.market import Market
from sentinel.contract.line_protocol import decode
from sentinel.contract.measurements import market_of
from sentinel.disk.journal import JournalReader

TOP = re.compile(rb"^(top,(?:\\.|[^ \\])*) ", re.MULTILINE)
TRADE = re.compile(rb"^trades,(?:\\.|[^ \\])* .*$", re.MULTILINE)


class LedgerState(Struct):
    """The ids of one market that were stored. ``doubled`` counts lines of an id that had one already."""

    held: list[Range] = []
    first: int | None = None
    doubled: int = 0


class LineState(Struct):
    """How far a journal is read, and what stood there, by market."""

    after_id: int = 0
    tops: dict[str, int] = {}
    ledgers: dict[str, LedgerState] = {}


class LineReader:
    """Brings a ``LineState`` up to date with a journal that may be growing."""

    def __init__(self, journal: Path, state: LineState) -> None:
        self.state = state
        self._journal = journal
        self._markets: dict[bytes, str] = {}
        self._ledgers = {name: TradeLedger(kept.held, kept.first) for name, kept in state.ledgers.items()}

    def read(self) -> None:
        """Takes every batch that is committed by now."""
        if not self._journal.exists():
            return
        with JournalReader(self._journal) as reader:
            for batch in reader.batches(("trades", "book"), after_id=self.state.after_id):
                if batch.stream == "book":
                    self._tops(batch.body)
                else:
                    self._trades(batch.body)
                self.state.after_id = batch.id
        for name, ledger in self._ledgers.items():
            kept = self.state.ledgers[name]
            kept.held, kept.first = ledger.held(), ledger.first

    def _tops(self, body: bytes) -> None:
        tops = self.state.tops
        for series in TOP.findall(body):
            name = self._markets.get(series)
            if name is None:
                name = self._markets[series] = str(market_of(decode(series + b" x=1 0")))
            tops[name] = tops.get(name, 0) + 1

    def _trades(self, body: bytes) -> None:
        for line in TRADE.findall(body):
            point = decode(line)
            self.enter(market_of(point), int(dict(point.fields)["trade_id"]))

    def enter(self, market: Market, trade_id: int) -> None:
        """One more line of a trade."""
        name = str(market)
        ledger = self._ledgers.get(name)
        if ledger is None:
            ledger = self._ledgers[name] = TradeLedger()
            self.state.ledgers[name] = LedgerState()
        if ledger.add(trade_id) is Entry.DUPLICATE:
            self.state.ledgers[name].doubled += 1
