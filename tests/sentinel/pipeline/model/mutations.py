"""Would the state machine have found the faults it was made for? ``python -m tests.sentinel.pipeline.model.mutations``

Each mutation puts an old fault back into a copy of the code, and the machine plays against it as in the suite. Printed
is after how long it was found, and what the judge said. Exit status 1 if one is not found; a mutation whose text is
not in the code any more is an error.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[4]
COPIED = ("book", "feeds", "sentinel", "tests", "pyproject.toml")
MACHINE = "tests/sentinel/pipeline/test_model.py"
VENUES = "tests/sentinel/pipeline/test_every_venue.py"


@dataclass(frozen=True)
class Mutation:
    """``fault`` comes back when ``right`` is ``wrong``, and ``machine`` is to find it."""

    fault: str
    path: str
    right: str
    wrong: str
    machine: str = MACHINE


MUTATIONS = (
    Mutation(
        "an answer of REST while the disk refuses is dropped",
        "sentinel/pipeline/pipeline.py",
        "        if product is not None:\n            product.trades.repaired(",
        "        if product is not None and not self._is_suspended:\n            product.trades.repaired(",
    ),
    Mutation(
        "a copy that is crossed withholds what the other has",
        "sentinel/pipeline/books.py",
        "            if sample is None:\n",
        "            if sample is None or self.crossed_since() is not None:\n",
    ),
    Mutation(
        "a crossed copy is not fetched anew while another serves",
        "sentinel/pipeline/books.py",
        'return lane.flaw == "crossed" or any(',
        'return lane.flaw == "crossed" and not any(',
    ),
    Mutation(
        "the updates of a copy that takes over are all it ever took in",
        "sentinel/pipeline/books.py",
        "updates = lane.updates_between(self._written_ns, grid_ns)",
        "last, self.last = getattr(self, 'last', lane), lane\n"
        "            updates = sample.updates if last is lane else lane.book.revision",
    ),
    Mutation(
        "a copy that stood aside counts updates from its own last sample",
        "sentinel/pipeline/books.py",
        "updates = lane.updates_between(self._written_ns, grid_ns)",
        "updates = sample.updates",
    ),
    Mutation(
        "a step forward looks like silence on healthy lanes",
        "sentinel/pipeline/pipeline.py",
        "                lane.step(step_ns, now_ns)\n",
        "                pass\n",
    ),
    Mutation(
        "a step is forgotten in the accounts when the next one is noted",
        "sentinel/pipeline/accounts.py",
        "self.clock_step_ms = max(self.clock_step_ms, step_ms, key=abs)",
        "self.clock_step_ms = step_ms",
    ),
    Mutation(
        "after a run that was ahead nothing is written until its time has come",
        "sentinel/pipeline/books.py",
        "return ahead_ns if ahead_ns > AHEAD_MOST_NS else 0",
        "return 0",
    ),
    Mutation(
        "what REST has not got is asked for every two seconds",
        "sentinel/pipeline/numbering.py",
        "            patience.pause_ns *= 2\n",
        "",
    ),
    Mutation(
        "ids jumped over just before a stop are not named",
        "sentinel/pipeline/pipeline.py",
        "            product.trades.stop(now_ns)\n",
        "",
    ),
    Mutation(
        "ids jumped over just before a kill are not in the checkpoint",
        "sentinel/pipeline/numbering.py",
        "            self._pending(),\n",
        "            [],\n",
    ),
    Mutation(
        "an id beyond belief is believed",
        "sentinel/pipeline/numberings.py",
        "CREDIBLE = 10_000\n",
        "CREDIBLE = 10**18\n",
    ),
    Mutation(
        "a trade under an id that was used before is taken for a copy",
        "sentinel/pipeline/numberings.py",
        "        if trade.venue_ns <= newest_ns or numbering is not self.present:\n            return True\n",
        "        return True\n",
    ),
    Mutation(
        "a hole in the counter of a connection is none",
        "book/proof.py",
        "            return Hole(expected, sequence - 1)\n",
        "            return Verdict.NEXT\n",
        VENUES,
    ),
    Mutation(
        "a hole in a chain of ranges is none",
        "book/proof.py",
        "return Verdict.NEXT if link.first <= held + 1 else Hole(held + 1, link.first - 1)",
        "return Verdict.NEXT",
        VENUES,
    ),
    Mutation(
        "a hole in a chain of previous ids is none",
        "book/proof.py",
        "return Hole(held + 1, previous, is_dense=False) if previous > held else Verdict.BROKEN",
        "return Verdict.NEXT",
        VENUES,
    ),
    Mutation(
        "a wrong checksum is right",
        "book/proof.py",
        "return Verdict.NEXT if self.checksum() == link.checksum else Verdict.BROKEN",
        "return Verdict.NEXT",
        VENUES,
    ),
)
NUMBERS = (3, 5, 5, 6, 6, 7, 7, 7, 8, 10, 10, 15, 15, 18, 18, 18, 18)
"""Of issues 11 and 18, in the order of the mutations."""


def try_one(number: int, mutation: Mutation, options: list[str]) -> bool:
    """Whether the machine finds it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder)
        path = folder / mutation.path
        text = path.read_text()
        if text.count(mutation.right) != 1:
            raise SystemExit(f"{mutation.path} has not got once: {mutation.right!r}")
        path.write_text(text.replace(mutation.right, mutation.wrong))
        machine = folder / mutation.machine
        machine.write_text(machine.read_text().replace(", Phase.shrink", ""))
        command = [
            sys.executable,
            "-m",
            "pytest",
            mutation.machine,
            "-k",
            "TestTroubles",
            "-q",
            "--tb=short",
            "--timeout",
            "0",
        ]
        played = subprocess.run(
            [*command, "-p", "no:cacheprovider", "--hypothesis-show-statistics", *options],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    lines = played.stdout.splitlines()
    said = next((line[1:].strip()[:100] for line in lines if re.match(r"E +\S*(Error|Exc)", line)), "nothing")
    generated = " ".join(re.findall(r"during generate phase \(([\d.]+) seconds\)", played.stdout))
    sequences = " ".join(re.findall(r"- (\d+) passing, \d+ failing", played.stdout)[:1])
    outcome = "found" if played.returncode == 1 else "NOT FOUND"
    sys.stdout.write(
        f"{number:>2} {outcome}: {mutation.fault}\n   in {generated} s, after {sequences} good sequences: {said}\n"
    )
    sys.stdout.flush()
    return played.returncode == 1


def main() -> int:
    """Options of pytest may be given, such as ``--hypothesis-profile fuzz``."""
    found = [try_one(*pair, sys.argv[1:]) for pair in zip(NUMBERS, MUTATIONS, strict=True)]
    return 0 if all(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
