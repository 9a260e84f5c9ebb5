"""From what is known to the document. Pure: every figure is a function of a ``Known`` and of the stored accounts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from book.sampler import count_instants
from feeds.catalogue import FEEDS, VENUES
from sentinel.contract.causes import words as cause_words
from sentinel.contract.gaps import DELISTED, NOT_COLLECTED, Gap
from sentinel.coverage.accounts import Rows
from sentinel.coverage.holes import merge
from sentinel.gap_report.report import ProductReport, Report, Window, build
from sentinel.qualify.claims import judge, verdict
from sentinel.qualify.evidence import (
    BookTransition,
    ClockFound,
    Delay,
    Fault,
    FeedFound,
    GapsFound,
    Lateness,
    Process,
    ProductFound,
    Qualification,
    Session,
    Span,
    State,
    WireFound,
    sealed,
    times_of,
)
from sentinel.qualify.resources import resources
from sentinel.qualify.state import Known
from sentinel.qualify.tapes import Answer, TapeState, is_numbered
from sentinel.timing.histogram import BUCKETS, quantiles

NS_PER_MS = 1e6
MILLION = 1e6
KNOWN_KINDS = ("unasked ", "unusable ")
"""What a lane passes over besides messages of kinds that nobody knows."""


def qualification(known: Known, rows: Rows, state: State) -> Qualification:
    """The document of a run as it is by now; its window ends with the last session."""
    begun_ns, end_ns = known.sessions[0].start_ns, known.sessions[-1].end_ns
    report = build(rows, Window(begun_ns, end_ns), cadence_ns=known.cadence_ns, now_ns=end_ns)
    tapes = known.tapes
    steps_ns = [abs(step) for step in tapes.steps_ns]
    found = Qualification(
        state=state,
        verdict="not judged",
        window=Span(begun_ns, end_ns),
        asked_s=known.asked_s,
        collected_s=known.collected_s,
        sessions=[Session(each.start_ns, each.end_ns, each.ended) for each in known.sessions],
        processes=[Process(each.start_ns, each.end_ns, each.status) for each in known.processes],
        environment=known.environment,
        settings=known.settings,
        claims=[],
        products=[product_found(product, known) for product in report.products],
        feeds=[feed_found(feed, known) for feed in sorted(tapes.feeds)],
        transitions=tapes.transitions,
        transitions_left_out=tapes.transitions_left_out,
        gaps=gaps_found(report),
        reliability=reliability(report, known),
        lateness=lateness(known, "lateness"),
        handling=lateness(known, "handling"),
        loop_lag=lateness(known, "loop_lag"),
        delays=[_delay(exchange, tapes) for exchange in sorted(tapes.delays)],
        clock=ClockFound(len(steps_ns), max(steps_ns, default=0) / NS_PER_MS),
        resources=resources(known),
        wire=wire_found(tapes),
        verified=known.verified,
        notes=notes(known),
    )
    claims = judge(found, known)
    return sealed(replace(found, claims=claims, verdict=verdict(claims)))


def product_found(product: ProductReport, known: Known) -> ProductFound:
    """One market: its accounts, and how long each trouble lasted."""
    name = str(product.market)
    book = [gap for gap in product.gaps if gap.channel == "book" and gap.cause not in (DELISTED, NOT_COLLECTED)]
    window = product.window.start_ns, product.window.end_ns
    within = [_clipped(gap, window) for gap in book]
    ledger = known.lines.ledgers.get(name)
    is_dense = product.trade_proof == "ids" and not any(gap.cause == "reset" for gap in product.gaps)
    starts_ns = known.tapes.starts_ns
    return ProductFound(
        exchange=product.exchange,
        symbol=product.symbol,
        integrity=product.integrity,
        trade_proof=product.trade_proof,
        window=Span(*window),
        first_proved_s=(product.window.start_ns - starts_ns[0]) / 1e9 if starts_ns else None,
        due=product.samples.due,
        written=product.samples.written,
        withheld=product.samples.withheld,
        named=sum(count_instants(*span, known.cadence_ns) for span in merge(within)),
        not_collected=product.samples.not_collected,
        stored_samples=known.lines.tops.get(name, 0),
        trades=product.trades.count,
        missing=product.trades.missing,
        repaired=product.trades.repaired,
        doubled=ledger.doubled if ledger is not None and is_dense else None,
        transitions=[
            BookTransition(gap.start_ns, gap.end_ns, gap.cause, count_instants(*span, known.cadence_ns))
            for gap, span in zip(book, within, strict=True)
        ],
        resync=times_of([gap.end_ns - gap.start_ns for gap in book if gap.end_ns is not None]),
        repair=times_of(_repairs_ns(product, known.tapes)),
    )


def _clipped(gap: Gap, window: tuple[int, int]) -> tuple[int, int]:
    """The part of a gap that is within the window; nothing of it may be."""
    start_ns = min(max(gap.start_ns, window[0]), window[1])
    end_ns = window[1] if gap.end_ns is None else min(gap.end_ns, window[1])
    return start_ns, max(start_ns, end_ns)


def _repairs_ns(product: ProductReport, tapes: TapeState) -> list[int]:
    """Of each hole of trades that REST has filled: from the trade behind it, which shows it, to the last answer."""
    answers = tapes.answers.get(str(product.market), [])
    spans = (_repair_ns(gap, answers) for gap in product.gaps if gap.channel == "trades")
    return [span for span in spans if span is not None]


def _repair_ns(gap: Gap, answers: Sequence[Answer]) -> int | None:
    if gap.start_seq is None or gap.end_seq is None or gap.end_ns is None or gap.repaired_count < gap.missing_count:
        return None
    filled = [each.at_ns for each in answers if each.first <= gap.end_seq and each.last >= gap.start_seq]
    return max(0, max(filled) - gap.end_ns) if filled else None


def feed_found(feed: str, known: Known) -> FeedFound:
    """One feed, by the tapes; what is unknown, by the collector."""
    state = known.tapes.feeds[feed]
    lost = state.lost if is_numbered(feed) else None
    expected = state.frames + state.lost
    return FeedFound(
        exchange=FEEDS[feed].exchange,
        feed=feed,
        connections=len(state.lanes),
        opened=state.opened,
        replaced=state.replaced,
        closed=state.closed,
        failed=state.failed,
        frames=state.frames,
        bytes=state.bytes,
        frames_lost=lost,
        lost_per_million=None if lost is None or not expected else lost / expected * MILLION,
        frames_late=state.late,
        undecodable=state.undecodable,
        unusable=state.unusable,
        acknowledgements=state.acknowledgements,
        refusals=state.refusals,
        unknown=_unknown(feed, known),
        reconnect=times_of([span for spans in state.reconnects_ns.values() for span in spans]),
    )


def _unknown(feed: str, known: Known) -> dict[str, int]:
    """Of all processes, by what each said last."""
    lasts = [process.last for process in known.processes if process.last is not None]
    counts: dict[str, int] = {}
    for lane in (lane for last in lasts for lane in last.lanes if lane.feed == feed):
        for kind, count in lane.skipped.items():
            if not kind.startswith(KNOWN_KINDS):
                counts[kind] = counts.get(kind, 0) + count
    return counts


def gaps_found(report: Report) -> list[GapsFound]:
    """The gaps of all products by channel and cause."""
    by_cause: dict[tuple[str, str], list[Gap]] = defaultdict(list)
    for product in report.products:
        for gap in product.gaps:
            by_cause[gap.channel, gap.cause].append(gap)
    return [
        GapsFound(
            channel=channel,
            cause=cause,
            count=len(gaps),
            open=sum(gap.is_open for gap in gaps),
            missing=sum(gap.missing_count for gap in gaps),
            repaired=sum(gap.repaired_count for gap in gaps),
            length=times_of([gap.end_ns - gap.start_ns for gap in gaps if gap.end_ns is not None]),
        )
        for (channel, cause), gaps in sorted(by_cause.items())
    ]


def reliability(report: Report, known: Known) -> list[Fault]:
    """A row for each kind of fault that was seen: how often, what stayed lost, how long until it was known and healed.

    A fault of a book is seen once for each book it costs. It heals when the book is proved again, a hole of trades when
    REST has filled it, a connection when it is open again.
    """
    rows: dict[tuple[str, str], list[tuple[ProductReport, Gap]]] = defaultdict(list)
    for product in report.products:
        for gap in product.gaps:
            rows[gap.channel, gap.cause].append((product, gap))
    found = _of_connections(known.tapes)
    of_books = {plan.venue for plan in known.tapes.lanes if "book" in plan.subscription.channels}
    for (channel, cause), gaps in sorted(rows.items()):
        if channel == "book":
            lost = sum(_withheld(product, gap, known.cadence_ns) for product, gap in gaps)
            heal = [gap.end_ns - gap.start_ns for _, gap in gaps if gap.end_ns is not None]
            states = (state for feed, state in known.tapes.feeds.items() if feed in of_books)
            detect = [span for state in states for span in state.detected_ns.get(cause, ())]
        else:
            lost = sum(gap.missing_count - gap.repaired_count for _, gap in gaps)
            answers = known.tapes.answers
            each = (_repair_ns(gap, answers.get(str(product.market), [])) for product, gap in gaps)
            heal, detect = [span for span in each if span is not None], []
        words = cause_words(cause)
        found.append(Fault(words, channel, len(gaps), lost, times_of(detect), times_of(heal)))
    return found


def _of_connections(tapes: TapeState) -> list[Fault]:
    """Connections that ended, by cause; what that cost stands at books and trades."""
    causes = {cause for state in tapes.feeds.values() for cause in state.closed}
    found = []
    for cause in sorted(causes):
        states = [state for state in tapes.feeds.values() if cause in state.closed]
        found.append(
            Fault(
                fault=cause_words(cause),
                channel="connection",
                seen=sum(state.closed[cause] for state in states),
                lost=0,
                detect=times_of([span for state in states for span in state.detected_ns.get(cause, ())]),
                heal=times_of([span for state in states for span in state.reconnects_ns.get(cause, ())]),
            )
        )
    return found


def _withheld(product: ProductReport, gap: Gap, cadence_ns: int) -> int:
    return count_instants(*_clipped(gap, (product.window.start_ns, product.window.end_ns)), cadence_ns)


def lateness(known: Known, name: str) -> Lateness:
    """Of all processes, by what each said last."""
    counts = [0] * BUCKETS
    for process in known.processes:
        if process.last is not None:
            counts = [mine + more for mine, more in zip(counts, getattr(process.last, name), strict=True)]
    found = quantiles(counts)
    return Lateness(sum(counts), found.p50_ms, found.p99_ms, found.most_ms)


def _delay(exchange: str, tapes: TapeState) -> Delay:
    state = tapes.delays[exchange]
    found = quantiles(state.counts)
    return Delay(exchange, state.count, state.least_ns / NS_PER_MS, found.p50_ms, found.p99_ms, found.most_ms)


def wire_found(tapes: TapeState) -> list[WireFound]:
    """Every fact of every venue that was heard of."""
    return [
        found
        for exchange in sorted({FEEDS[feed].exchange for feed in tapes.feeds})
        for found in _of_wire(exchange, tapes)
    ]


def _of_wire(exchange: str, tapes: TapeState) -> list[WireFound]:
    wire, tallies = VENUES[exchange].wire, tapes.wires.get(exchange, {})
    found = []
    for fact in () if wire is None else wire.facts:
        tally = tallies.get(fact.name)
        confirmed, contradicted, example = (tally.confirmed, tally.contradicted, tally.example) if tally else (0, 0, "")
        told = confirmed + contradicted
        found.append(
            WireFound(
                exchange=exchange,
                name=fact.name,
                says=fact.says,
                confidence=fact.confidence,
                found="not seen"
                if not told
                else "contradicted"
                if contradicted > fact.tolerance * told
                else "confirmed",
                confirmed=confirmed,
                contradicted=contradicted,
                example=example,
            )
        )
    return found


def notes(known: Known) -> list[str]:
    """What must be known to read the figures, in sentences."""
    told = list(known.notes)
    others = [venue.exchange for venue in known.environment.venues if not venue.is_own]
    if others:
        told.append(
            f"{', '.join(others)}: not at the venue's own address. This is evidence of what was there, such as a local "
            "exchange, and not of the venue."
        )
    if known.tapes.pruned:
        told.append("Tapes were removed before they were read: connections and frames of that time are not counted.")
    if known.tapes.transitions_left_out:
        told.append(f"{known.tapes.transitions_left_out:,} later transitions are counted and not listed.")
    return told
