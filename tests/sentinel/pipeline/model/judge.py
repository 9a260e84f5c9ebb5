"""Is what the disk holds the truth? One function for each promise; each raises AssertionError with what is wrong.

The judge knows the market, what each connection could prove (``ear.py``) and which inputs reached the disk. It shares
no code with the product but the decoder of lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from tests.book.oracle import OracleBook
from tests.sentinel.pipeline.model.collector import EDGES_BPS, named_by
from tests.sentinel.pipeline.model.ear import Ear, Spell
from tests.sentinel.pipeline.model.lines import Facts, Line, ProductLines, read, read_more
from tests.sentinel.pipeline.model.market import MS, Book, Deal, Market, S, cents, thousandths
from tests.sentinel.pipeline.model.traffic import PRODUCTS, Away, Run
from tests.sentinel.pipeline.model.world import World

GRID_NS = 100 * MS
MINUTE_NS = 60 * S
TAKE_OVER_NS = 4 * S
"""How long a copy may need, after its snapshot, to stand in for one that is just being lost."""

LONGEST_GAP_NS = 24 * 3_600 * S
HEALED_WITHIN_NS = 400 * S
WANTED_FOR_MS = 12_000
"""What nobody has is asked for so long that asking too often shows."""

MOST_REQUESTS = 40


def settle_and_judge(world: World) -> None:
    """Ends every trouble, waits until all is healed, and holds the disk against the truth."""
    world.calm()
    requests, read_up_to = world.requests, 0
    found: dict[str, ProductLines] = defaultdict(ProductLines)
    end_ns = world.true_ns + HEALED_WITHIN_NS
    while True:
        for batch in world.disk.batches[read_up_to:]:
            read_more(found, batch, with_book=False)
        read_up_to = len(world.disk.batches)
        unhealed = [] if world.are_books_good() else ["a connection does not tell its books as they are"]
        unhealed += open_gaps(found, world)
        if not unhealed:
            break
        assert world.true_ns < end_ns, f"not healed: {unhealed}"
        world.wait(2_000)
    if any(lines.missing_ids() for lines in found.values()):
        world.wait(WANTED_FOR_MS)
    assert world.requests - requests <= MOST_REQUESTS, "the venue is asked again and again"
    world.stop()
    judge(world)


def open_gaps(found: dict[str, ProductLines], world: World) -> list[str]:
    """Gaps that ought to be closed by now."""
    unhealed = []
    for name, lines in found.items():
        unhealed += [f"open: {gap}" for gap in lines.open_book_gaps()]
        market = world.markets[name]
        deals = market.deals.values()
        never = {deal.trade_id for deal in deals if "rest" in deal.kept_from or deal.era < market.era}
        if wrong := lines.missing_ids() - never:
            unhealed.append(f"{name} is still missing {len(wrong)}, from {min(wrong)} on")
    return unhealed


def judge(world: World) -> None:
    found = read(world.disk.batches)
    for name in PRODUCTS:
        lines, market = found[name], world.markets[name]
        judge_once(lines, world)
        judge_trades(lines, market, world)
        if not went_back(world):  # the same minutes come twice
            judge_trade_accounts(lines, market)
        if any(run.ears and name in ear.spells for run in world.runs for ear in run.ears):
            judge_samples(lines, name, world)
            judge_instants(lines, name, world)
            judge_minutes(lines, world)
    judge_clock(found, world)


def judge_once(lines: ProductLines, world: World) -> None:
    """Nothing is counted twice."""
    twice = [key for key, count in Counter(line.identity for line in lines.trades).items() if count > 1]
    assert not twice, f"stored twice: {twice}"
    written = [(line.run if went_back(world) else 0, *line.identity) for line in (*lines.tops, *lines.flows)]
    twice = [key for key, count in Counter(written).items() if count > 1]
    assert not twice, f"written twice: {twice[:3]}"


def went_back(world: World) -> bool:
    """Whether a run began at an earlier time than the one before had reached: instants then come twice."""
    return any(run.went_back for run in world.runs)


# Trades


def judge_trades(lines: ProductLines, market: Market, world: World) -> None:
    """Every trade published within the accounts is stored as it was, or named; nothing else is."""
    stored = {(line.time_ns, line.facts["trade_id"]): line for line in lines.trades}
    published = {(deal.point_ns, deal.trade_id): deal for deal in market.deals.values()}
    wild = {(deal.point_ns, deal.trade_id): deal for deal in world.wild[market.name].values()}
    for key, line in stored.items():
        assert key in published or key in wild, f"made up: {line}"
        _judge_trade(line, published.get(key) or wild[key])
    missing = lines.missing_ids()
    made_up = missing - {deal.trade_id for deal in market.deals.values()}
    assert not made_up, f"named missing, never published: {sorted(made_up)[:5]} and {len(made_up)} in all"
    named = lines.named_ids() if market.era else missing  # of two trades of one id, one may be stored
    for era in range(market.era + 1):
        first = _first_heard(market, era, world)
        if first is not None:
            lost = [
                deal.trade_id
                for key, deal in published.items()
                if deal.era == era and deal.trade_id >= first and key not in stored and deal.trade_id not in named
                and not is_of_others(deal.trade_id, market, world)
            ]  # fmt: skip
            assert not lost or (era < market.era and lost[0] > _last_heard(market, era, world)), (
                f"lost silently: {lost}"
            )


def is_of_others(trade_id: int, market: Market, world: World) -> bool:
    """Whether others collected when this trade was published: it is later than all that was heard here before."""
    persisted = last_turns(world)
    for away in world.aways:
        if away.product == market.name and (away.back_ns is None or trade_id <= away.last_id):
            before = (
                one.trade_id
                for one in world.heard
                if one.product == market.name and one.turn <= min(away.turn, persisted.get(one.run, -1))
                and (one.era, one.trade_id) in market.deals
            )  # fmt: skip
            if trade_id > max(before, default=0):
                return True
    return False


def _reached(market: Market, era: int, world: World) -> list[int]:
    """Ids of trades in frames that reached the disk."""
    persisted = last_turns(world)
    return [
        heard.trade_id
        for heard in world.heard
        if heard.product == market.name and heard.era == era and not heard.is_tail
        and (era, heard.trade_id) in market.deals and heard.turn <= persisted.get(heard.run, -1)
    ]  # fmt: skip


def _first_heard(market: Market, era: int, world: World) -> int | None:
    """The accounts begin with the first trade; of history only what is whole, which the newest ones are."""
    reached = _reached(market, era, world)
    return reached[0] if reached else None


def _last_heard(market: Market, era: int, world: World) -> int:
    return max(_reached(market, era, world), default=0)


def last_turns(world: World) -> dict[int, int]:
    """By run of the collector, the last input whose consequences are on disk."""
    return {batch.run: batch.turn for batch in world.disk.batches}


def _judge_trade(line: Line, deal: Deal) -> None:
    facts = line.facts
    assert facts["price"] == float(cents(deal.price)), (line, deal)
    assert facts["size"] == float(thousandths(deal.size)), (line, deal)
    assert dict(line.tags)["side"] == {"buy": "sell", "sell": "buy"}[deal.maker], (line, deal)
    assert not (facts.get("repaired") and "recv_ns" in facts), f"repaired and live: {line}"


def judge_trade_accounts(lines: ProductLines, market: Market) -> None:
    """What the minutes count is what the lines hold."""
    rows = [line.facts for line in lines.coverage.values()]
    if not rows or market.era:
        return
    first = min((row["first_trade_id"] for row in rows if "first_trade_id" in row), default=None)
    within = [line for line in lines.trades if first is not None and line.facts["trade_id"] >= first]
    assert sum(row["trades"] for row in rows) == len(within), "the accounts of trades are wrong"
    repaired = sum(bool(line.facts.get("repaired")) for line in lines.trades)
    assert sum(row["repaired"] for row in rows) == repaired, "the accounts of repaired trades are wrong"
    named = {
        trade_id for gap in lines.gaps_of("trades") for trade_id in range(gap["start_seq"], gap["end_seq"] + 1)
    }  # fmt: skip
    assert sum(row["missing"] for row in rows) == len(named), "the accounts of missing trades are wrong"


def judge_jumps(world: World, *, with_checkpoint: bool) -> None:
    """At an end: whatever was jumped over is named, by a gap or at least by the checkpoint a report can read."""
    found = read(world.disk.batches, with_book=False)
    checkpoint = world.disk.checkpoint
    waiting = named_by(checkpoint) if checkpoint and with_checkpoint else {}
    persisted = last_turns(world)
    heard = [heard for heard in world.heard if heard.turn <= persisted.get(heard.run, -1)]
    for name, market in world.markets.items():
        lines = found[name]
        first = None if market.era else _first_heard(market, 0, world)
        if first is None:
            continue
        newest = max(
            one.trade_id
            for one in heard
            if one.product == name and (0, one.trade_id) in market.deals and not (one.is_tail and with_checkpoint)
        )
        named = lines.missing_ids() | {line.facts["trade_id"] for line in lines.trades}
        parts = waiting.get(name, [])
        unnamed = [
            trade_id
            for trade_id in range(first, newest + 1)
            if trade_id not in named
            and not any(part.first <= trade_id <= part.last for part in parts)
            and not is_of_others(trade_id, market, world)
        ]
        assert not unnamed, f"{name}: jumped over, not named at the end: {unnamed}"


# Samples


def judge_samples(lines: ProductLines, name: str, world: World) -> None:
    """Nothing is invented: each sample is the book of a connection that had proved it."""
    before: dict[int, int] = {}
    for line in lines.tops:
        grid_ns, run = line.time_ns, world.runs[line.run]
        assert grid_ns > before.get(line.run, 0), f"written out of order: {grid_ns}"
        able = [
            (ear, spell)
            for ear in run.ears
            for spell in ear.spells.get(name, ())
            if spell.start_ns <= grid_ns < spell.end_ns
        ]
        assert able, f"nobody had proved {name} at {grid_ns}"
        if not any(spell.is_free for _, spell in able):
            right = [spell for _, spell in able if _is_right(line, lines.bins[line.run, grid_ns], spell, run)]
            assert right, f"{name} at {grid_ns} was {[spell.at(grid_ns) for _, spell in able]}, not {line.facts}"
            _judge_updates(line, name, able, run.ears, before.get(line.run))
        before[line.run] = grid_ns


def _is_right(line: Line, bins: dict[tuple[str, str], Facts], spell: Spell, run: Run) -> bool:
    book, since_ns = spell.at(line.time_ns)
    leapt_ns = sum(end_ns - start_ns for start_ns, end_ns in run.jumps if since_ns < end_ns <= line.time_ns)
    if book.is_crossed:
        return False
    top, depths = expected(book)
    age_ms = (line.time_ns - since_ns - leapt_ns) / 1e6
    if line.facts["age_ms"] != age_ms or any(line.facts[key] != value for key, value in top.items()):
        return False
    return all(
        (found["volume"], found["notional"], found.get("vwap"), found["levels"]) == depths[key]
        for key, found in bins.items()
    ) and set(bins) == set(depths)


@lru_cache(maxsize=4_096)
def expected(book: Book) -> tuple[dict[str, float], dict[tuple[str, str], tuple[float, float, float | None, int]]]:
    """The top and the bins of a book, by decimals."""
    oracle = OracleBook()
    oracle.replace((side, cents(price), thousandths(size)) for side, price, size in book.levels())
    depths = {
        (side, str(edge)): oracle.depth({"bid": "bid", "ask": "offer"}[side], Fraction(Decimal(str(edge))))
        for edge in EDGES_BPS
        for side in ("bid", "ask")
    }
    return oracle.top(), depths


def _judge_updates(
    line: Line, name: str, able: list[tuple[Ear, Spell]], ears: list[Ear], before_ns: int | None
) -> None:
    """``updates`` counts what was told since the sample before: never more than any copy was told since then."""
    updates, grid_ns = line.facts["updates"], line.time_ns
    since_ns = -1 if before_ns is None else before_ns
    by_lane: Counter[int] = Counter()
    for ear in ears:
        by_lane[ear.lane] += ear.changes(name, since_ns, grid_ns)
    assert 0 <= updates <= max(by_lane.values()), f"{updates} updates at {grid_ns}, not {dict(by_lane)}"
    if len(by_lane) == 1 and since_ns == grid_ns - GRID_NS and able[0][1].start_ns <= since_ns:
        assert updates == max(by_lane.values()), f"{updates} updates at {grid_ns}, not {dict(by_lane)}"


def judge_instants(lines: ProductLines, name: str, world: World) -> None:
    """Every instant is written or in a gap, never both; what a sound copy had proved is written."""
    if went_back(world):
        _judge_later_runs(lines, world)
        return
    written = {line.time_ns for line in lines.tops}
    missing = instants_in(lines.gaps_of("book"))
    if both := written & missing:
        raise AssertionError(f"samples inside a gap: {sorted(both)[:3]}")
    resolved = written | missing
    if resolved:
        silent = set(range(min(resolved), max(resolved), GRID_NS)) - resolved
        for away in world.aways:
            if away.product == name:
                silent -= _while_away(away, resolved)
        assert not silent, f"neither written nor in a gap: {sorted(silent)[:3]} and {len(silent)} in all"
    wanted = due(name, world) - written
    assert not wanted, f"proved and not written: {sorted(wanted)[:3]} and {len(wanted)} in all"


def _while_away(away: Away, resolved: set[int]) -> set[int]:
    """The instants that others had: after the last one accounted for before it left, up to the first one after."""
    end_ns = max(resolved) if away.back_ns is None else away.back_ns
    start_ns = max((instant for instant in resolved if instant <= away.left_ns), default=min(resolved))
    stop_ns = min((instant for instant in resolved if instant >= end_ns), default=max(resolved))
    return set(range(start_ns, stop_ns, GRID_NS))


def _judge_later_runs(lines: ProductLines, world: World) -> None:
    """A clock was set back between two runs: each run is judged for itself, since instants come twice."""
    missing = instants_in(lines.gaps_of("book"))
    for number, run in enumerate(world.runs):
        own = {line.time_ns for line in lines.tops if line.run == number}
        seen = [spell for ear in run.ears for spells in ear.spells.values() for spell in spells if spell.proofs]
        if own or not seen or number != len(world.runs) - 1:
            continue
        start_ns, end_ns = min(s.start_ns for s in seen), max(s.end_ns for s in seen)
        silent = set(range(-(-start_ns // GRID_NS) * GRID_NS, end_ns, GRID_NS)) - missing
        assert not silent, f"run {number} has written nothing and names no gap: {len(silent)} instants"


def instants_in(gaps: list[Facts]) -> set[int]:
    found: set[int] = set()
    for gap in gaps:
        if "end_ns" in gap:
            assert gap["end_ns"] - gap["start_ns"] < LONGEST_GAP_NS, f"a gap beyond belief: {gap}"
            found |= set(range(-(-gap["start_ns"] // GRID_NS) * GRID_NS, gap["end_ns"], GRID_NS))
    return found


def due(name: str, world: World) -> set[int]:
    """Instants that a copy had proved when it was able to serve, with a book that was not crossed."""
    persisted = last_turns(world)
    found: set[int] = set()
    for number, run in enumerate(world.runs):
        for ear in run.ears:
            for spell in ear.spells.get(name, ()):
                from_ns = spell.start_ns + (TAKE_OVER_NS if world.copies > 1 else 0)
                for proof in spell.proofs:
                    if proof.is_due and not spell.is_free and proof.turn <= persisted.get(number, -1):
                        # the clock was put forward before the proof came: what it passed over nobody saw
                        leaps = [end_ns for _, end_ns in run.jumps if proof.start_ns <= end_ns <= proof.end_ns]
                        start_ns = -(-max(proof.start_ns, from_ns, *leaps) // GRID_NS) * GRID_NS
                        found |= {g for g in range(start_ns, proof.end_ns, GRID_NS) if not spell.at(g)[0].is_crossed}
    return found


# Accounts


def judge_minutes(lines: ProductLines, world: World) -> None:
    """The accounts close, minute by minute, and they count what the lines hold."""
    if went_back(world):
        return
    rows = {line.time_ns: line.facts for line in lines.coverage.values()}
    for minute_ns, row in rows.items():
        assert row["samples_due"] == row["samples_written"] + row["samples_withheld"], f"open accounts: {row}"
        tops = sum(minute_ns <= line.time_ns < minute_ns + MINUTE_NS for line in lines.tops)
        assert row["samples_written"] == tops, f"{row['samples_written']} samples in the accounts, {tops} on disk"
        due = due_of(minute_ns, row)
        assert len(due) == row["samples_due"], f"{row['samples_due']} instants are due, {len(due)} are said to be"
        assert due.issuperset(line.time_ns for line in lines.tops if minute_ns <= line.time_ns < minute_ns + MINUTE_NS)
    gaps = lines.gaps_of("book")
    withheld = sum(row["samples_withheld"] for row in rows.values())
    uncounted = sum(gap["missing_count"] for gap in gaps if gap["cause"] in ("stopped", "clock"))
    missing = len(instants_in(gaps))
    assert withheld + uncounted == missing, f"{withheld} withheld, {uncounted} when nobody ran, {missing} in gaps"


def due_of(minute_ns: int, row: Facts) -> set[int]:
    """The instants that a row says are due."""
    told = str(row.get("due_ms", "0-60000"))
    spans = [tuple(map(int, span.split("-"))) for span in told.split(",")] if row["samples_due"] else []
    return {minute_ns + at_ms * 1_000_000 for start, end in spans for at_ms in range(start, end, 100)}


def judge_clock(found: dict[str, ProductLines], world: World) -> None:
    """A step of the wall clock that was seen is in the accounts."""
    persisted = last_turns(world)
    if went_back(world) or not any(
        abs(step_ms) >= 1_000 and turn <= persisted.get(run, -1) for run, turn, step_ms in world.clock_steps_ms
    ):
        return
    rows = [line.facts for lines in found.values() for line in lines.coverage.values()]
    assert any(row["clock_step_ms"] for row in rows), f"steps of {world.clock_steps_ms} ms are in no account"
