"""A long run of everything at once, judged by the truth and by what grows:

    python -m tests.soak [--minutes 120] [--markets 50] [--rate 1] [--seed 1] [--keep DIR]
    python -m tests.soak --of DIR [--docs docs]        # judges what a run left, once more, and draws it

Eight venues with faults all the time, a real InfluxDB behind a front that fails in every way, one collector of most
markets that lives through it all, one that is ended again and again by SIGTERM and SIGKILL, readers of files and of the
API beside them, retention and the archive on. ``--rate`` multiplies what the venues say and how often something goes
wrong. Exits with 1 if anything is wrong or grows; how late the machine was is never wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import tempfile
from pathlib import Path

import click

from tests.soak.run import Given, run
from tests.soak.summary import Record, as_json, as_markdown, draw, slopes
from tests.soak.verdict import judge_all


def judge(folder: Path, pictures: Path) -> bool:
    """Writes ``summary.json`` and ``summary.md``; False if anything is wrong."""
    record = Record(folder)
    problems, counts = list(record.run.get("problems", ["the run did not come to its end"])), {}
    if record.run:
        for name, wrong, counted in judge_all(folder):
            counts[name] = counted
            click.echo(f"{name}: {counted}, {len(wrong)} wrong", err=True)
            problems += [f"{name}: {each}" for each in wrong[:10]]
    found = slopes(record)
    problems += [f"{slope.name} rises" for slope in found if slope.rises]
    told = as_json(record, found, problems, counts)
    (folder / "summary.json").write_text(json.dumps(told, indent=1))
    text = as_markdown(told, found)
    (folder / "summary.md").write_text(text)
    click.echo(text)
    click.echo(f"drawn: {', '.join(map(str, draw(record, pictures)))}", err=True)
    return not problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES") or 120))
    parser.add_argument("--markets", type=int, default=50, help="of the one that lives")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave everything here")
    parser.add_argument("--of", type=Path, help="what a run left; nothing is run")
    parser.add_argument("--docs", type=Path, help="where the pictures go, if not beside it")
    given = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # who is killed does not read what is sent to him
    with tempfile.TemporaryDirectory(prefix="sentinel-soak-") as name:
        folder = (given.of or given.keep or Path(name)).resolve()
        if given.of is None:
            if folder.exists() and any(folder.iterdir()):
                parser.error(f"{folder} is not empty")
            asyncio.run(run(folder, Given(given.minutes * 60, given.markets, given.rate, given.seed)))
        is_good = judge(folder, given.docs or folder)
    click.echo("good" if is_good else "WRONG")
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
