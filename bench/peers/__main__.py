"""``python -m bench.peers [--json] [--facts] [--repeats N] [--rounds N]``."""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from typing import Any

from bench.corpus import Corpus, recorded
from bench.oracle import books
from bench.peers.contenders import PEERS, BookOnly, Contender, Cpp, Floor, Ours, Pure, Timed, Tops
from bench.peers.environment import NoInterpreter, has_peers, python_with_peers
from book.native import is_native


def truth(corpus: Corpus) -> Tops:
    """The final books by plain dicts of decimals."""
    return {
        product: (float(book.best[0]), float(book.best[1]), len(book.bids), len(book.asks))
        for product, book in books([*corpus.snapshots, *corpus.updates]).items()
    }


def seconds_of(kind: type[Any], corpus: Corpus) -> tuple[float, Contender]:
    """One run of a fresh contender over the updates."""
    contender = kind(corpus)
    gc.collect()
    gc.disable()
    began_s = time.perf_counter()
    contender.run(corpus)
    seconds = time.perf_counter() - began_s
    gc.enable()
    return (contender.seconds if isinstance(contender, Timed) else seconds), contender


def verdict(tops: Tops, expected: Tops) -> str:
    """Whether a final book is the true one."""
    if not tops:
        return "-"
    if tops == expected:
        return "right"
    found = ", ".join(f"{product} {tops.get(product)} for {top}" for product, top in expected.items())
    return f"WRONG: {found}"


def measure(repeats: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Every contender that is here, in turn, ``rounds`` times; the fastest run of each counts, as noise only slows."""
    corpus = recorded(repeats)
    expected = truth(corpus)
    seconds: dict[str, list[float]] = {}
    facts: dict[str, dict[str, Any]] = {}
    absent: set[str] = set()
    for _ in range(rounds):
        for kind in (Floor, Ours, Pure, BookOnly, *PEERS):
            if kind.name in absent:
                continue
            try:
                taken_s, contender = seconds_of(kind, corpus)
            except ImportError as error:
                absent.add(kind.name)
                facts[kind.name] = {"what": kind.what, "absent": str(error)}
                continue
            seconds.setdefault(kind.name, []).append(taken_s)
            book = verdict(contender.tops(), expected)
            facts[kind.name] = {"version": contender.version, "what": contender.what, "book": book}
    for name, taken in seconds.items():
        facts[name]["changes_per_s"] = corpus.changes / min(taken)
    return facts


def ratios(facts: dict[str, dict[str, Any]]) -> dict[str, float | bool | None]:
    """The public figures; null where a peer is absent. All but ``pure_floor_ratio`` are of ``native`` code or not."""
    rate = {name: fact.get("changes_per_s") for name, fact in facts.items()}
    ours, book_only = rate[Ours.name], rate[BookOnly.name]

    def over(mine: float, name: str) -> float | None:
        theirs = rate.get(name)
        return None if theirs is None else round(mine / theirs, 3)

    return {
        "native": is_native,
        "floor_ratio": over(ours, Floor.name),
        "pure_floor_ratio": over(rate[Pure.name], Floor.name),
        "vs_cryptofeed": over(ours, "cryptofeed"),
        "vs_ccxt": over(ours, "ccxt.pro"),
        "vs_order_book_c": over(book_only, "orjson + order_book (C)"),
        "vs_cpp": over(book_only, Cpp.name),
        "updates_per_s": round(ours),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the ratios only, as one JSON object")
    parser.add_argument("--facts", action="store_true", help="with --json: each contender's facts, too")
    parser.add_argument("--repeats", type=int, default=20, help="of the recording's updates")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--here", action="store_true", help="with this interpreter, whichever peers it has")
    options = parser.parse_args()
    if not options.here and not has_peers():
        try:
            return subprocess.run(
                [python_with_peers(), "-m", "bench.peers", *sys.argv[1:], "--here"], check=False
            ).returncode
        except NoInterpreter as missing:
            print(f"{missing}; they are shown as absent", file=sys.stderr)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    facts = measure(options.repeats, options.rounds)
    if options.json:
        print(json.dumps({"ratios": ratios(facts), "facts": facts} if options.facts else ratios(facts)))
    else:
        for name, fact in facts.items():
            rate = f"{fact['changes_per_s'] / 1e6:6.2f} M changes/s" if "changes_per_s" in fact else "absent"
            print(f"{name:<26} {rate:<20} {fact.get('version', ''):<14} {fact['what']}; book {fact.get('book', '-')}")
        print(json.dumps(ratios(facts)))
    wrong = [name for name in (Ours.name, Pure.name, BookOnly.name) if facts[name]["book"] != "right"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
