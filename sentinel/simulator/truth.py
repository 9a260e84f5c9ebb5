"""What really happened, as JSON lines: every trade, every top of book, every fault, every connection.

One object a line, told apart by ``kind``:

* ``trade``: product, trade_id, price, size, maker_side, time, t_ns; ``history`` when it was
  made before the market opened; ``hidden`` when a fault kept it off the feeds.
* ``top``: feed, product, sent_ns, bid, bid_size, ask, ask_size (as on the wire), bid_levels, ask_levels: the book after
  a book frame, written just before the frame is sent.
* ``snapshot``: feed, connection, product, sequence, t_ns: a client was sent the whole book, in the frame that was to be
  ``sequence`` (a ``jump`` that strikes it makes the number higher). Where books come by REST, ``connection`` is
  null and ``sequence`` the number of the product that the book goes by.
* ``refuted``: feed, connection, product, t_ns: a client was told a checksum that its book, after what it has lost,
  cannot have; only where books have checksums.
* ``fault``: fault, feed, connection, product, channel, sequence_first, sequence_last, trade_ids, start_ns, end_ns. The
  sequence is that of the connection, or of the product where the venue numbers those.
* ``connection``: event (opened, subscribed, closed), feed, connection, t_ns and details.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from sentinel.simulator.instants import instant
from sentinel.simulator.market import Fill, Product


class Truth:
    """Writes the truth file, flushed line by line; writes nothing without a path.

    ``with_tops`` False leaves the tops out, which are most of it at thousands of frames a second.
    """

    def __init__(self, path: Path | None, *, with_tops: bool = True) -> None:
        self._file: IO[str] | None = None if path is None else path.open("w", buffering=1)
        self.with_tops = with_tops and path is not None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, kind: str, **facts: object) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"kind": kind, **facts}) + "\n")

    def trade(self, product: Product, fill: Fill, **marks: bool) -> None:
        self.write(
            "trade",
            product=product.name,
            trade_id=fill.trade_id,
            price=product.price_text(fill.price),
            size=product.size_text(fill.size),
            maker_side=fill.maker,
            time=instant(fill.time_us),
            t_ns=fill.time_us * 1000,
            **marks,
        )

    def top(self, feed: str, product: Product, sent_ns: int) -> None:
        if self.with_tops:
            self.write("top", feed=feed, product=product.name, sent_ns=sent_ns, **product.top()._asdict())
