"""What we say of ourselves, each with the rule it is judged by. Pure.

A claim that nothing could have broken is not judged: silence is no evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sentinel.qualify.evidence import Claim, Qualification, Verdict
from sentinel.qualify.resources import longest_process
from sentinel.qualify.state import Known

LATE_MS = 100.0
STEADY = 1.05
STEADY_COUNT = 8
STEADY_LEAST_H = 2.0
NS_PER_H = 3.6e12

Outcome = tuple[Verdict, str]


class Rule(NamedTuple):
    """``name`` is for programs, ``says`` the claim, ``rule`` what decides, and ``outcome`` decides."""

    name: str
    says: str
    rule: str
    outcome: Callable[[Qualification, Known], Outcome]


def judge(found: Qualification, known: Known) -> list[Claim]:
    """All of them."""
    return [Claim(rule.name, rule.says, rule.rule, *rule.outcome(found, known)) for rule in RULES]


def verdict(claims: Sequence[Claim]) -> Verdict:
    """Broken if one is, not judged if none is; else they hold."""
    verdicts = {claim.verdict for claim in claims}
    return "broken" if "broken" in verdicts else "holds" if "holds" in verdicts else "not judged"


def _plain(*, is_broken: bool, words: str) -> Outcome:
    return ("broken" if is_broken else "holds"), words


def _trades(found: Qualification, _: Known) -> Outcome:
    judged = [product for product in found.products if product.trade_proof == "ids" and product.trades]
    if not judged:
        return "not judged", "no trades with dense ids"
    missing, repaired = sum(each.missing for each in judged), sum(each.repaired for each in judged)
    doubled = sum(each.doubled or 0 for each in judged)
    words = (
        f"{sum(each.trades for each in judged):,} trades, {missing:,} missing, {repaired:,} repaired, {doubled:,} twice"
    )
    return _plain(is_broken=bool(missing or doubled), words=words)


def _instants(found: Qualification, _: Known) -> Outcome:
    if not found.products:
        return "not judged", "nothing was collected"
    withheld, named = (sum(getattr(each, name) for each in found.products) for name in ("withheld", "named"))
    away = sum(each.not_collected for each in found.products)
    is_broken = bool(away) or any(each.withheld != each.named for each in found.products)
    return _plain(is_broken=is_broken, words=f"{withheld:,} withheld, {named:,} named by gaps, {away:,} by nobody")


def _accounts(found: Qualification, known: Known) -> Outcome:
    if not found.products:
        return "not judged", "nothing was collected"
    residue = sum(each.due - each.written - each.withheld for each in found.products)
    written, stored = (sum(getattr(each, name) for each in found.products) for name in ("written", "stored_samples"))
    frames = sum(lane.residue for each in known.processes if each.last for lane in each.last.lanes)
    is_broken = bool(residue or frames) or any(each.written != each.stored_samples for each in found.products)
    words = f"{written:,} samples written, {stored:,} stored; residue of samples {residue:,}, of frames {frames:,}"
    return _plain(is_broken=is_broken, words=words)


def _losses(found: Qualification, _: Known) -> Outcome:
    numbered = [feed for feed in found.feeds if feed.frames_lost is not None]
    if not any(feed.frames for feed in numbered):
        return "not judged", "no frames that have numbers"
    lost = sum(feed.frames_lost or 0 for feed in numbered)
    named = sum(each.missing for each in found.gaps if (each.channel, each.cause) == ("book", "sequence"))
    frames = sum(feed.frames for feed in numbered)
    return _plain(is_broken=bool(lost and not named), words=f"{lost:,} lost of {frames + lost:,} frames")


def _healing(found: Qualification, _: Known) -> Outcome:
    if not found.gaps:
        return "not judged", "no gap"
    still = sum(each.open for each in found.gaps)
    lacking = sum(each.missing - each.repaired for each in found.gaps if each.channel == "trades")
    words = f"{sum(each.count for each in found.gaps):,} gaps, {still:,} open; {lacking:,} trades not repaired"
    return _plain(is_broken=bool(still or lacking), words=words)


def _punctuality(found: Qualification, _: Known) -> Outcome:
    """Of frames: how late a sample is proved is up to the venue's next frame."""
    late = found.handling
    if not late.count:
        return "not judged", "no frame"
    words = (
        f"of {late.count:,} frames that were timed 99 % within {late.p99_ms:,.1f} ms, the latest {late.most_ms:,.1f} ms"
    )
    return _plain(is_broken=late.p99_ms > LATE_MS, words=words)


def _steadiness(found: Qualification, known: Known) -> Outcome:
    points = longest_process(known.series)
    hours = (points[-1].at_ns - points[0].at_ns) / NS_PER_H if points else 0.0
    if hours < STEADY_LEAST_H:
        return "not judged", f"the longest process ran {hours:.1f} h"
    middle_ns = (points[0].at_ns + points[-1].at_ns) / 2
    halves = (
        [point for point in points if point.at_ns <= middle_ns],
        [point for point in points if point.at_ns > middle_ns],
    )
    memory = [max(point.memory_bytes for point in half) for half in halves]
    files = [max(point.descriptors or 0 for point in half) for half in halves]
    threads = [max(point.threads for point in half) for half in halves]
    has_grown = any(counts[1] > counts[0] + STEADY_COUNT for counts in (files, threads))
    words = f"memory {memory[0] / 1e6:,.0f} and {memory[1] / 1e6:,.0f} MB, descriptors {files[0]} and {files[1]}, "
    words += f"threads {threads[0]} and {threads[1]}, over {hours:.1f} h"
    return _plain(is_broken=has_grown or memory[1] > STEADY * memory[0], words=words)


def _running(found: Qualification, known: Known) -> Outcome:
    if not found.processes:
        return "not judged", "no process"
    fallen = [each.status for each in found.processes if each.status not in (0, None)]
    failed: dict[str, int] = {}
    for each in known.processes:
        for part, count in (each.last.part_failures if each.last else {}).items():
            failed[part] = failed.get(part, 0) + count
    words = f"{len(found.processes):,} started, {len(fallen):,} ended by itself"
    parts = ", ".join(f"{part} {count} times" for part, count in sorted(failed.items()))
    return _plain(is_broken=bool(fallen or failed), words=f"{words}; parts that failed: {parts or 'none'}")


def _certificates(found: Qualification, _: Known) -> Outcome:
    verified = found.verified
    if verified is None or not verified.certificates:
        return "not judged", "no hour was over and certified"
    words = f"{verified.certificates:,} certificates, {len(verified.problems):,} problems"
    return _plain(is_broken=not verified.holds, words=words)


RULES = (
    Rule(
        "trades",
        "Every trade once",
        "Of each market whose ids are dense none is missing from the first id to the last, and none was stored twice.",
        _trades,
    ),
    Rule(
        "instants",
        "No unexplained gap",
        "As many sampling instants were withheld as gaps with a cause name, and nobody was away without a word.",
        _instants,
    ),
    Rule(
        "accounts",
        "The report adds up",
        "Due is written and withheld; the journal has as many samples as were written; every frame received is "
        "applied, control, duplicate, unasked or undecodable.",
        _accounts,
    ),
    Rule(
        "losses",
        "No frame is lost silently",
        "Where frames are numbered: if the tape lacks a number, books have gaps with the cause sequence.",
        _losses,
    ),
    Rule(
        "healing",
        "Gaps heal",
        "At the end every gap of a book is closed, and every trade that was missing is repaired.",
        _healing,
    ),
    Rule(
        "punctuality",
        "No frame is kept waiting",
        f"99 of 100 frames were in the book within {LATE_MS:g} ms of leaving the socket.",
        _punctuality,
    ),
    Rule(
        "steadiness",
        "It can run for months",
        "In the second half of the longest process memory was never above "
        f"{STEADY:g} times the most of the first half, and descriptors and threads never more than {STEADY_COUNT} "
        f"above theirs. Judged from {STEADY_LEAST_H:g} h on.",
        _steadiness,
    ),
    Rule(
        "running", "It does not fall over", "No collector process ended by itself, and no part of it failed.", _running
    ),
    Rule(
        "certificates",
        "What was certified holds",
        "sentinel-ws verify finds nothing wrong with the hours that are over. Judged if there is one.",
        _certificates,
    ),
)
