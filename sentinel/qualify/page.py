"""The document as one self-contained page: no request leaves it, and it needs no script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from sentinel.contract.causes import words as cause_words
from sentinel.gap_report.words import moment
from sentinel.qualify.evidence import Lateness, Qualification, Verdict, WireFound
from sentinel.qualify.markup import Column, counts_of, facts, more, number, or_dash, span, table, time_of

MOST_ROWS = 200
WIDTH, HEIGHT = 1000, 120
STATES = {
    "running": "It is still running: these are intermediate results.",
    "complete": "It ran to its end.",
    "cut short": "It was cut short.",
}
VERDICTS = {"holds": "holds-text", "broken": "broken-text", "not judged": "idle"}


def as_html(found: Qualification) -> str:
    """The page."""
    page = Template(files(__package__).joinpath("page.html").read_text())
    return page.substitute(
        headline=escape(headline(found)),
        verdict=found.verdict.replace(" ", "-"),
        products=escape(_named([f"{each.exchange}:{each.symbol}" for each in found.products]) or "Nothing"),
        start=moment(found.window.start_ns),
        end=moment(found.window.end_ns),
        collected=span(found.collected_s),
        state=STATES[found.state],
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in found.notes),
        facts=facts(_summary(found)),
        claims=_claims(found),
        reliability=_reliability(found),
        markets=_markets(found),
        books=_books(found),
        feeds=_feeds(found),
        transitions=_transitions(found),
        lateness=_lateness(found),
        resources=facts(_resources(found)),
        memory=_memory(found),
        wire=_wire(found),
        verified=_verified(found),
        environment=facts(_environment(found)),
        settings=escape(json.dumps(found.settings, indent=2)),
        version=str(found.version),
        sha256=escape(found.sha256),
    )


def headline(found: Qualification) -> str:
    """The verdict in words."""
    broken = sum(claim.verdict == "broken" for claim in found.claims)
    judged = sum(claim.verdict != "not judged" for claim in found.claims)
    if broken:
        return f"{broken} of {judged} claims did not hold"
    return f"All {judged} claims that could be judged held" if judged else "Nothing could be judged"


def _named(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _summary(found: Qualification) -> list[tuple[str, str]]:
    due, written = (sum(getattr(each, name) for each in found.products) for name in ("due", "written"))
    trades, missing = (sum(getattr(each, name) for each in found.products) for name in ("trades", "missing"))
    numbered = [feed for feed in found.feeds if feed.frames_lost is not None]
    lost = sum(feed.frames_lost or 0 for feed in numbered)
    frames = sum(feed.frames for feed in numbered) + lost
    return [
        ("frames", f"{sum(feed.frames for feed in found.feeds):,}"),
        ("lost per million numbered", f"{lost / frames * 1e6:,.2f}" if frames else "-"),
        ("samples written", f"{written:,} of {due:,}"),
        ("trades", f"{trades:,}"),
        ("trades missing", f"{missing:,}"),
        ("trades repaired", f"{sum(each.repaired for each in found.products):,}"),
        ("gaps", f"{sum(each.count for each in found.gaps):,}"),
        ("connections lost", f"{sum(sum(feed.closed.values()) for feed in found.feeds):,}"),
    ]


def _claims(found: Qualification) -> str:
    rows = [
        (
            f"{escape(claim.says)}<br><small>{escape(claim.rule)}</small>",
            f'<span class="{VERDICTS[claim.verdict]}">{_verdict(claim.verdict)}</span>',
            escape(claim.found),
        )
        for claim in found.claims
    ]
    return table("claims", (Column("claim"), Column("verdict"), Column("found", is_wide=True)), rows)


def _verdict(verdict: Verdict) -> str:
    return {"holds": "holds", "broken": "does not hold", "not judged": "not judged"}[verdict]


def _reliability(found: Qualification) -> str:
    if not found.reliability:
        return "<p>No fault was seen.</p>"
    columns = (
        Column("fault"),
        Column("of"),
        number("seen"),
        number("lost"),
        number("detected: median"),
        number("detected: 99 %"),
        number("healed: median"),
        number("healed: 99 %"),
        number("healed: most"),
    )
    rows = [
        (
            escape(fault.fault),
            fault.channel,
            f"{fault.seen:,}",
            f"{fault.lost:,}",
            time_of(fault.detect.p50_s),
            time_of(fault.detect.p99_s),
            time_of(fault.heal.p50_s),
            time_of(fault.heal.p99_s),
            time_of(fault.heal.most_s),
        )
        for fault in found.reliability
    ]
    return table("reliability", columns, rows)


def _markets(found: Qualification) -> str:
    if not found.products:
        return "<p>Nothing was collected.</p>"
    columns = (
        Column("market"),
        Column("proof of the book"),
        number("first proved after"),
        number("samples due"),
        number("withheld"),
        number("trades"),
        number("missing"),
        number("repaired"),
        number("book back: median"),
        number("book back: 99 %"),
        number("trades back: median"),
        number("trades back: 99 %"),
    )
    rows = [
        (
            f'<span class="market">{escape(each.symbol)}</span> <small>{escape(each.exchange)}</small>',
            escape(each.integrity),
            time_of(each.first_proved_s),
            f"{each.due:,}",
            f"{each.withheld:,}",
            f"{each.trades:,}",
            f"{each.missing:,}",
            f"{each.repaired:,}",
            time_of(each.resync.p50_s),
            time_of(each.resync.p99_s),
            time_of(each.repair.p50_s),
            time_of(each.repair.p99_s),
        )
        for each in found.products
    ]
    return table("markets", columns, rows)


def _books(found: Qualification) -> str:
    every = sorted(
        ((each, move) for each in found.products for move in each.transitions), key=lambda pair: pair[1].start_ns
    )
    rows = [
        (
            moment(move.start_ns),
            f"{escape(each.symbol)} <small>{escape(each.exchange)}</small>",
            escape(cause_words(move.cause)),
            "not over" if move.end_ns is None else time_of((move.end_ns - move.start_ns) / 1e9),
            f"{move.withheld:,}",
        )
        for each, move in every[:MOST_ROWS]
    ]
    columns = (Column("not proved from (UTC)"), Column("market"), Column("cause"), number("for"), number("withheld"))
    return more("times in which a book was not proved", columns, rows, len(every))


def _feeds(found: Qualification) -> str:
    columns = (
        Column("feed"),
        number("connections"),
        number("opened"),
        Column("ended"),
        number("back: median"),
        number("back: 99 %"),
        number("frames"),
        number("lost"),
        number("per million"),
        number("acknowledged"),
    )
    rows = [
        (
            escape(feed.feed),
            f"{feed.connections:,}",
            f"{feed.opened:,}",
            counts_of(feed.closed),
            time_of(feed.reconnect.p50_s),
            time_of(feed.reconnect.p99_s),
            f"{feed.frames:,}",
            "not numbered" if feed.frames_lost is None else f"{feed.frames_lost:,}",
            "-" if feed.lost_per_million is None else f"{feed.lost_per_million:,.2f}",
            f"{feed.acknowledgements:,}",
        )
        for feed in found.feeds
    ]
    odd = [
        f"<li>{escape(feed.feed)}: refused: {counts_of(feed.refusals)}; messages of unknown kinds: "
        f"{counts_of(feed.unknown)}; frames that could not be read: {feed.undecodable:,}; records that could not be "
        f"used: {feed.unusable:,}</li>"
        for feed in found.feeds
    ]
    return f"{table('feeds', columns, rows)}<ul>{''.join(odd)}</ul>"


def _transitions(found: Qualification) -> str:
    rows = [
        (
            moment(each.at_ns),
            f"{escape(each.feed)} <small>{each.connection}</small>",
            each.event,
            escape(each.cause),
            time_of(each.after_s),
        )
        for each in found.transitions[:MOST_ROWS]
    ]
    columns = (Column("at (UTC)"), Column("connection"), Column("event"), Column("cause"), number("after"))
    return more("connections opened and ended", columns, rows, len(found.transitions))


def _lateness(found: Qualification) -> str:
    of = (
        ("sample, from its instant to the frame that proves it", found.lateness),
        ("frame, from socket to book", found.handling),
        ("the collector's own clockwork", found.loop_lag),
    )
    rows = [_late(escape(name), lateness) for name, lateness in of]
    for delay in found.delays:
        name = f"trade from {escape(delay.exchange)}'s time to here <small>least {delay.least_ms:,.2f} ms</small>"
        rows.append(_late(name, Lateness(delay.count, delay.p50_ms, delay.p99_ms, delay.most_ms)))
    columns = (Column("what"), number("count"), number("median, ms"), number("99 %, ms"), number("most, ms"))
    return table("punctuality", columns, rows)


def _late(name: str, late: Lateness) -> tuple[str, ...]:
    if not late.count:
        return name, "0", "-", "-", "-"
    return name, f"{late.count:,}", f"{late.p50_ms:,.2f}", f"{late.p99_ms:,.2f}", f"{late.most_ms:,.2f}"


def _resources(found: Qualification) -> list[tuple[str, str]]:
    took = found.resources

    def mb(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f} MB"

    slope = took.memory_slope_mb_per_h
    facts = [
        ("memory at first", mb(took.memory_start_mb)),
        ("memory at last", mb(took.memory_end_mb)),
        ("memory at its most", mb(took.memory_most_mb)),
        ("memory an hour", "-" if slope is None else f"{slope:+,.2f} MB"),
        ("share of a core", "-" if took.cpu_share is None else f"{took.cpu_share:.3f}"),
        ("descriptors", f"{or_dash(took.descriptors_start)} to {or_dash(took.descriptors_end)}"),
        ("threads", or_dash(took.threads_end)),
        ("processes", f"{len(found.processes):,}"),
        ("steps of the clock", f"{found.clock.steps:,}"),
    ]
    return facts + [
        (f"{kind} a day, at this rate", f"{count / 1e6:,.1f} MB") for kind, count in took.disk_bytes_per_day.items()
    ]


def _memory(found: Qualification) -> str:
    """The memory of all processes over time; nothing of fewer than three moments."""
    series = found.resources.series
    if len(series) < 3:
        return ""
    first_ns, last_ns = series[0].at_ns, series[-1].at_ns
    most = max(point.memory_bytes for point in series)
    places = [
        (
            WIDTH * (point.at_ns - first_ns) / max(1, last_ns - first_ns),
            HEIGHT - (HEIGHT - 8) * point.memory_bytes / most,
        )
        for point in series
    ]
    curve = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    label = f"memory over time, at most {most / 1e6:,.0f} MB"
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<polygon class="area" points="0,{HEIGHT} {curve} {WIDTH},{HEIGHT}"/>'
        f'<polyline class="curve" points="{curve}"/>'
        f"</svg><figcaption><span>{moment(first_ns)}</span><span>{label}</span><span>{moment(last_ns)}</span></figcaption>"
        "</figure>"
    )


def _wire(found: Qualification) -> str:
    if not found.wire:
        return "<p>Nothing was heard.</p>"
    order = {"contradicted": 0, "confirmed": 1, "not seen": 2}
    facts = sorted(found.wire, key=lambda fact: order[fact.found])
    rows = [
        (
            f"{escape(fact.says)} <small>{escape(fact.exchange)}</small>{_example(fact)}",
            fact.confidence,
            f'<span class="{fact.found.replace(" ", "-")}">{fact.found}</span>',
            f"{fact.confirmed:,}",
            f"{fact.contradicted:,}",
        )
        for fact in facts
    ]
    columns = (Column("statement"), Column("confidence"), Column("found"), number("for"), number("against"))
    return f"<p>{by_outcome(found.wire)}.</p>{table('what is believed of the wire', columns, rows)}"


def by_outcome(facts: Sequence[WireFound]) -> str:
    """``20 confirmed, 1 contradicted, 9 not seen``."""
    outcomes = [fact.found for fact in facts]
    return ", ".join(f"{outcomes.count(each)} {each}" for each in ("confirmed", "contradicted", "not seen"))


def _example(fact: WireFound) -> str:
    if not fact.contradicted:
        return ""
    return f"<details><summary>the first frame against it</summary><code>{escape(fact.example)}</code></details>"


def _verified(found: Qualification) -> str:
    verified = found.verified
    if verified is None:
        return "<p>No hour was over and certified, so there was nothing to verify.</p>"
    words = "hold" if verified.holds else "do NOT all hold"
    rows = [(escape(name), f"{count:,}") for name, count in verified.checks.items()]
    problems = "".join(f"<li>{escape(problem)}</li>" for problem in verified.problems)
    heads = "".join(f"<li>{escape(market)}: <code>{head}</code></li>" for market, head in verified.heads.items())
    return (
        f"<p>{verified.certificates:,} certificates {words}.</p>"
        f"{table('what was verified', (Column('check'), number('compared')), rows)}"
        f"{f'<h3>Problems</h3><ul>{problems}</ul>' if problems else ''}<h3>Heads of the chains</h3><ul>{heads}</ul>"
    )


def _environment(found: Qualification) -> list[tuple[str, str]]:
    of = found.environment
    addresses = [f"{venue.exchange}: {'its own' if venue.is_own else 'another'}" for venue in of.venues]
    return [
        ("software", of.software),
        ("commit", of.commit or "not known"),
        ("hottest loops", of.flavour),
        ("Python", of.python),
        ("system", of.platform),
        ("cores", f"{of.cores}"),
        ("address of the venue", ", ".join(addresses)),
        ("sessions", ", ".join(each.ended for each in found.sessions)),
    ]
