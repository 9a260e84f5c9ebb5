"""``sentinel-ws capabilities``: what proves the data of each venue, and what nothing can.

Read off the venues' own code, as are the tables in README.md and docs/venues.md.

    python -m sentinel.exchange.capabilities        # writes both
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import click
import msgspec
from msgspec import Struct
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from book.events import ChainKind
from feeds.catalogue import VENUES
from feeds.market import Market
from feeds.protocol import Feed, Subscription
from feeds.settings import VenueSettings
from feeds.venue import Venue
from sentinel.command.options import form_of, format_option, output_option
from sentinel.command.tables import Sheet, is_terminal, rendered
from sentinel.disk.files import tell
from sentinel.errors import UsageError

README, PAGE = "README.md", "docs/venues.md"
BEGINS = "<!-- made by python -m sentinel.exchange.capabilities -->\n"
ENDS = "<!-- made until here -->\n"

BookProof = Literal["counter"] | ChainKind
"""What shows that nothing of a book is lost: the counter of the connection's frames, or what links its changes."""

PROOFS: dict[BookProof, str] = {
    "counter": "the frames' own numbers",
    "range": "ranges of update ids",
    "previous": "the id before each update's",
    "checksum": "a checksum in each update",
}
SNAPSHOTS = {"wire": "on the stream", "fetch": "by REST", "both": "on the stream, else by REST"}
FORMATS = ("table", "json", "markdown")
COLUMNS = ("venue", "feed", "books proved by", "depth", "snapshot", "trades proved by", "second witness")
NOTHING = "nothing"


class FeedCapabilities(Struct, frozen=True, kw_only=True):
    """One feed. ``has_books`` and ``has_trades`` say whether books can, and trades by default do, come from it;
    ``is_book_default`` whether books do if nothing else is set.

    ``book_proofs`` is empty where the venue sends nothing that proves a book, ``trades_have_dense_ids`` False where a
    lost trade leaves no hole in the ids. ``depth`` is in levels a side, None for all; ``witnesses`` are the other feeds
    that tell of the same trades.
    """

    feed: str
    has_books: bool
    is_book_default: bool
    has_trades: bool
    book_proofs: list[BookProof]
    depth: int | None
    snapshot: Literal["wire", "fetch", "both"]
    trades_have_dense_ids: bool
    witnesses: list[str]
    book_products_per_connection: int
    connects_per_s: float
    messages_per_s: float


class Capabilities(Struct, frozen=True, kw_only=True):
    """One venue. ``example`` is a product of it as ``collect`` takes it, ``repair`` what its REST API gives back, and
    how far back."""

    exchange: str
    title: str
    example: str
    feeds: list[FeedCapabilities]
    repair: str
    blind_spots: list[str]
    rest_requests_per_s: float
    rest_burst: int


def capabilities(venue: Venue) -> Capabilities:
    """Those of a venue, with the settings it has by default."""
    return Capabilities(
        exchange=venue.exchange,
        title=venue.title,
        example=Market(venue.exchange, venue.example).short,
        feeds=[_of_feed(venue, feed) for feed in venue.feeds],
        repair=venue.repair,
        blind_spots=list(venue.blind_spots),
        rest_requests_per_s=venue.rest_facts.requests_per_s,
        rest_burst=venue.rest_facts.burst,
    )


def _of_feed(venue: Venue, feed: type[Feed]) -> FeedCapabilities:
    settings, facts = _defaults(venue), feed.facts
    trades = venue.trades(settings)
    return FeedCapabilities(
        feed=feed.venue,
        has_books=feed.venue in venue.books.values(),
        is_book_default=feed.venue == venue.books[venue.book(settings)],
        has_trades=feed.venue in trades,
        book_proofs=_book_proofs(venue, feed),
        depth=facts.depth,
        snapshot=facts.resync,
        trades_have_dense_ids=facts.has_dense_ids,
        witnesses=sorted(trades - {feed.venue}) if feed.venue in trades else [],
        book_products_per_connection=facts.book_products_per_connection,
        connects_per_s=facts.connects_per_s,
        messages_per_s=facts.messages_per_s,
    )


def _book_proofs(venue: Venue, feed: type[Feed]) -> list[BookProof]:
    if feed.integrity == "none" or feed.venue not in venue.books.values():
        return []
    connect = venue.listener(venue.book(_defaults(venue)))
    is_numbered = connect(feed.venue, Subscription(frozenset(), ())).first_sequence is not None
    counter: list[BookProof] = ["counter"] if is_numbered else []
    return counter if feed.facts.chain is None else [*counter, feed.facts.chain]


def _defaults(venue: Venue) -> VenueSettings:
    return venue.settings.model_validate({})


def rows(found: Iterable[Capabilities]) -> list[tuple[str, ...]]:
    """The feeds in words, in the order of ``COLUMNS``; empty where something does not come from a feed."""
    return [(venue.title, *_row(feed)) for venue in found for feed in venue.feeds]


def _row(feed: FeedCapabilities) -> tuple[str, ...]:
    books, trades = ("", "", ""), ("", "")
    if feed.has_books:
        proved = " and ".join(PROOFS[proof] for proof in feed.book_proofs) or NOTHING
        books = (proved, "all levels" if feed.depth is None else f"{feed.depth:,} a side", SNAPSHOTS[feed.snapshot])
    if feed.has_trades:
        trades = (
            "ids that rise by one" if feed.trades_have_dense_ids else NOTHING,
            ", ".join(feed.witnesses) or "none",
        )
    name = f"{feed.feed} (books if set)" if feed.has_books and not feed.is_book_default else feed.feed
    return (name, *books, *trades)


def notes(venue: Capabilities) -> list[tuple[str, str]]:
    """What does not fit into a row, each with its name."""
    limits = [f"REST: {venue.rest_requests_per_s:g} a second, {venue.rest_burst} at once (by weight, where it has any)"]
    limits += [
        f"{feed.feed}: each second {feed.connects_per_s:g} new connections, {feed.messages_per_s:g} messages"
        + (f", books on a connection {feed.book_products_per_connection}" if feed.has_books else "")
        for feed in venue.feeds
    ]
    return [
        ("Product", venue.example),
        ("Repair", venue.repair),
        *(("Blind spot", sentence) for sentence in venue.blind_spots),
        ("Limits we keep", "; ".join(limits) + "."),
    ]


def as_table(found: Sequence[Capabilities], *, width: int | None = None, is_coloured: bool = False) -> str:
    """For a terminal: a row for each feed, then what is to be known of each venue."""
    table = Sheet(*COLUMNS, words=[name for name in COLUMNS if name != "feed"])
    for row in rows(found):
        table.add_row(*map(Text, row))
    shown: list[RenderableType] = [table]
    for venue in found:
        shown.append(Text.assemble("\n", (venue.title, "bold"), f" ({venue.exchange})"))
        shown += [Padding(Text(f"{name}: {words}"), (0, 0, 0, 2), expand=False) for name, words in notes(venue)]
    return rendered(*shown, width=width, is_coloured=is_coloured)


def as_markdown_table(found: Iterable[Capabilities]) -> str:
    """A row for each feed."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows(found)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def as_markdown(found: Sequence[Capabilities]) -> str:
    """The table, then a section for each venue."""
    sections = [
        f"\n## {venue.title}\n\n" + "".join(f"* **{name}**: {words}\n" for name, words in notes(venue))
        for venue in found
    ]
    return as_markdown_table(found) + "".join(sections)


def with_venues(page: str, made: str) -> str:
    """The page with what stands between its marks made anew."""
    before, begins, rest = page.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    return f"{before}{begins}{made}{ends}{after}"


def documents() -> dict[str, str]:
    """What is made of all venues, by the file it stands in."""
    found = [capabilities(venue) for venue in VENUES.values()]
    return {README: as_markdown_table(found), PAGE: as_markdown(found)}


@click.command("capabilities")
@click.argument("exchanges", nargs=-1, metavar="[EXCHANGE]...")
@format_option(*FORMATS)
@output_option
def command(exchanges: tuple[str, ...], form: str | None, output: Path | None) -> None:
    """Say what proves the books and trades of each EXCHANGE, what can be repaired, and what nobody can see."""
    form = form_of(form, output, FORMATS)
    unknown = [exchange for exchange in exchanges if exchange not in VENUES]
    if unknown:
        raise UsageError(f"unknown: {', '.join(unknown)}; exchanges are {', '.join(sorted(VENUES))}")
    found = [capabilities(VENUES[exchange]) for exchange in dict.fromkeys(exchanges or VENUES)]
    match form:
        case "json":
            tell(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n", output)
        case "markdown":
            tell(as_markdown(found), output)
        case _:
            tell(as_table(found, is_coloured=output is None and is_terminal()), output)


def write() -> None:
    """Writes the documents, from the root of the repository."""
    for name, made in documents().items():
        page = Path(name)
        page.write_text(with_venues(page.read_text(), made))


if __name__ == "__main__":
    write()
