"""Tries odd things at every surface in turn, until the time is over or one breaks its promise.

    python -m tests.fuzz.everything --seconds 600 [--seed 1] [--only NAME]... [--list]

Each case has a seed of its own, and what fails says how to try that case alone:

    python -m tests.fuzz.everything --only tape --case 1/4711

Recordings of real frames are taken from ``$SENTINEL_CAPTURES``, if they are there. ``SENTINEL_PURE=1`` tries the code
without the C extension.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from loguru import logger

from tests.fuzz.surfaces import SURFACES, Case, load

TURN_S = 1.0


def played(case: Case, name: str, seed: str) -> str:
    """One case. Says which it was if it fails."""
    try:
        return case(random.Random(f"{name}/{seed}"))
    except BaseException as error:
        error.add_note(f"python -m tests.fuzz.everything --only {name} --case {seed}")
        raise


def run(names: list[str], seconds: float, seed: int) -> tuple[Counter[str], list[str]]:
    """The cases tried, and what was found. A surface that broke its promise is left alone from then on."""
    counts: Counter[str] = Counter()
    found: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cases = {}
        for name in names:
            (folder / name).mkdir()
            cases[name] = stack.enter_context(load(name)[1](folder / name))
        tried = dict.fromkeys(names, 0)
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and cases:
            for name in list(cases):
                turn_s = min(until_s, time.monotonic() + TURN_S)
                while time.monotonic() < turn_s:
                    tried[name] += 1
                    try:
                        counts[f"{name}: {played(cases[name], name, f'{seed}/{tried[name]}')}"] += 1
                    except Exception:  # noqa: BLE001 (whatever it is, it is what was looked for)
                        found.append(traceback.format_exc(limit=-8))
                        del cases[name]
                        break
    return counts, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() // 10**9, help="By default, another each second.")
    parser.add_argument("--only", action="append", choices=SURFACES)
    parser.add_argument("--case")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    logger.remove()
    names = options.only or SURFACES
    if options.list:
        for name in names:
            sys.stdout.write(f"{name:15} {load(name)[0]}\n")
        return 0
    if options.case is not None:
        (name,) = names
        with tempfile.TemporaryDirectory() as folder, load(name)[1](Path(folder)) as case:
            sys.stdout.write(f"{played(case, name, options.case)}\n")
        return 0
    counts, found = run(names, options.seconds, options.seed)
    for what, count in sorted(counts.items()):
        sys.stdout.write(f"{count:12,} {what}\n")
    sys.stdout.write(f"{counts.total():12,} cases in all, {len(found)} found\n")
    sys.stdout.writelines(f"\n{each}" for each in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
