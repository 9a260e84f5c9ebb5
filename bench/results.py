"""Reruns every benchmark and writes RESULTS.md and its picture: ``make bench``, or ``python -m bench.results``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import measured, plot, report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="try everything, too short to be quoted")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder of RESULTS.md")
    options = parser.parse_args()
    found = measured.measure(measured.QUICK if options.quick else measured.FULL)
    (options.output / "RESULTS.md").write_text(report.text(found))
    if found.found.get("curve"):
        plot.draw(found.found["curve"], options.output / "RESULTS.svg")
    for name, words in found.failures.items():
        print(f"{name}: {words}", file=sys.stderr)
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())
