"""A long run of everything at once, judged by the truth and by what grows:

python -m tests.soak --minutes 120 --keep DIR
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path

from tests.soak.run import Given, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--markets", type=int, default=50)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, required=True)
    given = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # who is killed does not read what is sent to him
    asyncio.run(run(given.keep, Given(given.minutes * 60, given.markets, given.rate, given.seed)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
