"""The document as one self-contained page: no request leaves it, and it needs no script."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import NamedTuple

from sentinel.gap_report.words import CAUSES, duration, moment
from sentinel.qualify.evidence import Lateness, Qualification, Verdict, WireFound

MOST_ROWS = 200
WIDTH, HEIGHT = 1000, 120
STATES = {
    "running": "It is still running: these are intermediate results.",
    "complete": "It ran to its end.",
    "cut short": "It was cut short.",
}
VERDICTS = {"holds": "holds-text", "broken": "broken-text", "not judged": "idle"}


class Column(NamedTuple):
    """``is_number`` is set to the right; ``is_wide`` takes a line of its own on a small screen."""

    title: str
    is_number: bool = False
    is_wide: bool = False


def number(title: str) -> Column:
    return Column(title, is_number=True)


def as_html(found: Qualification) -> str:
    """The page."""
    page = Template(files(__package__).joinpath("page.html").read_text())
    return page.substitute(
        headline=escape(headline(found)),
        verdict=found.verdict.replace(" ", "-"),
        products=escape(_named([f"{each.exchange}:{each.symbol}" for each in found.products]) or "Nothing"),
        start=moment(found.window.start_ns),
        end=moment(found.window.end_ns),
        collected=_span(found.collected_s),
        state=STATES[found.state],
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in found.notes),
        facts=_facts(_summary(found)),
        claims=_claims(found),
        reliability=_reliability(found),
        markets=_markets(found),
        books=_books(found),
        feeds=_feeds(found),
        transitions=_transitions(found),
        lateness=_lateness(found),
        resources=_facts(_resources(found)),
        memory=_memory(found),
        wire=_wire(found),
        verified=_verified(found),
        environment=_facts(_environment(found)),
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
    return _table("claims", (Column("claim"), Column("verdict"), Column("found", is_wide=True)), rows)


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
            _time(fault.detect.p50_s),
            _time(fault.detect.p99_s),
            _time(fault.heal.p50_s),
            _time(fault.heal.p99_s),
            _time(fault.heal.most_s),
        )
        for fault in found.reliability
    ]
    return _table("reliability", columns, rows)


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
            _time(each.first_proved_s),
            f"{each.due:,}",
            f"{each.withheld:,}",
            f"{each.trades:,}",
            f"{each.missing:,}",
            f"{each.repaired:,}",
            _time(each.resync.p50_s),
            _time(each.resync.p99_s),
            _time(each.repair.p50_s),
            _time(each.repair.p99_s),
        )
        for each in found.products
    ]
    return _table("markets", columns, rows)


def _books(found: Qualification) -> str:
    every = sorted(
        ((each, move) for each in found.products for move in each.transitions), key=lambda pair: pair[1].start_ns
    )
    rows = [
        (
            moment(move.start_ns),
            f"{escape(each.symbol)} <small>{escape(each.exchange)}</small>",
            escape(CAUSES.get(move.cause, move.cause)),
            "not over" if move.end_ns is None else _time((move.end_ns - move.start_ns) / 1e9),
            f"{move.withheld:,}",
        )
        for each, move in every[:MOST_ROWS]
    ]
    columns = (Column("not proved from (UTC)"), Column("market"), Column("cause"), number("for"), number("withheld"))
    return _more("times in which a book was not proved", columns, rows, len(every))


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
            _counts(feed.closed),
            _time(feed.reconnect.p50_s),
            _time(feed.reconnect.p99_s),
            f"{feed.frames:,}",
            "not numbered" if feed.frames_lost is None else f"{feed.frames_lost:,}",
            "-" if feed.lost_per_million is None else f"{feed.lost_per_million:,.2f}",
            f"{feed.acknowledgements:,}",
        )
        for feed in found.feeds
    ]
    odd = [
        f"<li>{escape(feed.feed)}: refused: {_counts(feed.refusals)}; messages of unknown kinds: "
        f"{_counts(feed.unknown)}; frames that could not be read: {feed.undecodable:,}; records that could not be "
        f"used: {feed.unusable:,}</li>"
        for feed in found.feeds
    ]
    return f"{_table('feeds', columns, rows)}<ul>{''.join(odd)}</ul>"


def _transitions(found: Qualification) -> str:
    rows = [
        (
            moment(each.at_ns),
            f"{escape(each.feed)} <small>{each.connection}</small>",
            each.event,
            escape(each.cause),
            _time(each.after_s),
        )
        for each in found.transitions[:MOST_ROWS]
    ]
    columns = (Column("at (UTC)"), Column("connection"), Column("event"), Column("cause"), number("after"))
    return _more("connections opened and ended", columns, rows, len(found.transitions))


def _lateness(found: Qualification) -> str:
    of = (
        ("sample after its instant, or its proof", found.lateness),
        ("frame from socket to book", found.handling),
        ("clockwork of the collector", found.loop_lag),
    )
    rows = [_late(escape(name), lateness) for name, lateness in of]
    for delay in found.delays:
        name = f"trade from {escape(delay.exchange)}'s time to here <small>least {delay.least_ms:,.2f} ms</small>"
        rows.append(_late(name, Lateness(delay.count, delay.p50_ms, delay.p99_ms, delay.most_ms)))
    columns = (Column("what"), number("count"), number("median, ms"), number("99 %, ms"), number("most, ms"))
    return _table("punctuality", columns, rows)


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
        ("descriptors", f"{_or(took.descriptors_start)} to {_or(took.descriptors_end)}"),
        ("threads", _or(took.threads_end)),
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
    return f"<p>{by_outcome(found.wire)}.</p>{_table('what is believed of the wire', columns, rows)}"


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
        f"{_table('what was verified', (Column('check'), number('compared')), rows)}"
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


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)


def _table(name: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Cells are markup already, and the first one of a row names it. What is too wide is scrolled by keys."""

    def kind(column: Column) -> str:
        names = [name for name, is_so in (("n", column.is_number), ("wide", column.is_wide)) if is_so]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f'<th scope="col"{kind(column)}>{escape(column.title)}</th>' for column in columns)
    body = ""
    for first, *others in rows:
        cells = "".join(
            f'<td{kind(column)} data-of="{escape(column.title)}">{cell}</td>'
            for column, cell in zip(columns[1:], others, strict=True)
        )
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">{table}</div>'


def _more(what: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], count: int) -> str:
    if not count:
        return f"<p><small>No {what}.</small></p>"
    left = f" The first {len(rows):,} are shown; qualification.json has more." if count > len(rows) else ""
    table = _table(what, columns, rows)
    return f"<details><summary>{count:,} {what}</summary><p>{left}</p>{table}</details>"


def _counts(counts: dict[str, int]) -> str:
    words = [f"{count:,} {escape(CAUSES.get(kind, kind))}" for kind, count in sorted(counts.items())]
    return "; ".join(words) or "none"


def _or(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _span(seconds: float) -> str:
    return duration(round(seconds * 1e9))


def _time(seconds: float | None) -> str:
    """``12 ms``, ``1.25 s``, ``3 m 20 s``; a dash for what never happened."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    return f"{seconds:,.2f} s" if seconds < 60 else _span(seconds)
