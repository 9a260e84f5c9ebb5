"""What each cause of a gap is called for people: the one list of it, for reports, alerts, plots, pages and docs.

Programs go by the causes themselves (``contract.gaps.Cause``), which stay; the words may become better.
"""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """``short`` fits into a table, ``meaning`` is a sentence."""

    short: str
    meaning: str


CAUSES: dict[str, Words] = {
    "sequence": Words("frames lost", "The venue's counter jumped: frames on the way were lost."),
    "crossed": Words("book crossed", "The best bid reached the best ask, so the book cannot be right."),
    "empty": Words("book one-sided", "One side of the book had no level."),
    "trades": Words("trades not received", "Trade ids jumped: the trades between them did not come."),
    "silence": Words("feed fell silent", "Neither data nor heartbeats came on an open connection."),
    "disconnected": Words("disconnected", "The connection was lost."),
    "refused": Words("refused by the venue", "The venue did not accept the subscription."),
    "stopped": Words("collector not running", "The collector was stopped, and later started again on the same data."),
    "clock": Words("clock put forward", "The machine's clock was put forward over this time."),
    "disk": Words("disk full or failing", "Nothing could be written to the disk."),
    "undecodable": Words("unreadable message", "A message about the book could not be used."),
    "witness": Words("book contradicted", "The ticker, a match or REST's book showed that the book was wrong."),
    "reset": Words("trade ids began anew", "The venue's trade ids began anew, or one was used a second time."),
    "delisted": Words("not listed by the venue", "The venue did not list the product: there was nothing to collect."),
    "not_collected": Words("nobody collected", "No collector ran, or none that left an account."),
    "not_archived": Words("not archived yet", "Collected, but not in the archive of every change yet."),
    "unverified": Words("not verified", "Of a frozen dataset: nothing proves these rows."),
}


def words(cause: str) -> str:
    """What a cause is called; one of somebody else's goes by its own name."""
    return CAUSES[cause].short if cause in CAUSES else cause
