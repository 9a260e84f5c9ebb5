"""Runs the campaigns behind the tables of docs/reliability.md, and writes these.

    python -m tests.faults.reliability                  # hours: every campaign, 100 seeds of the largest
    python -m tests.faults.reliability --seeds 4        # all of them, small
    python -m tests.faults.reliability --only crash --only power-cut
    python -m tests.faults.reliability --seeds 0        # runs nothing: the tables of what is there

A campaign is one line of ``CAMPAIGNS``: a command, how many runs of it there are, and what it yields. Each leaves its
rows in the folder of results as soon as it is over, so that they may be run on several days; the tables are made of
all that are there, each with the commit it was run on.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import click
import msgspec
from msgspec import Struct

from tests import ROOT
from tests.faults import rows
from tests.faults.played import PLAYED
from tests.faults.rows import NOT_MEASURED, Row, merged, spread

PAGE = ROOT / "docs" / "reliability.md"
BEGINS, ENDS = "<!-- measured: python -m tests.faults.reliability -->\n", "<!-- end of what was measured -->\n"
RESULTS = ROOT / "build" / "reliability"
LEGEND = (
    '"Lost" counts runs in which anything was gone without being named, or was wrong. "Detect" is from the beginning '
    "of a trouble to the first word of the log that names one of its kind, the start of the next collector included; "
    "where several troubles meet, another one may have given the word. Times are the median and the worst, of all runs "
    "or of as many as are named: in the others there was no such word, or no gap."
)
HEAD = ("fault", "runs", "lost", "time to detect", "time to heal", "test")


class Campaign(Struct, frozen=True):
    """``command`` is a module and its arguments: ``{seeds}`` is a range, ``{runs}`` a number, ``{json}`` where it is to
    write its rows. One that writes none yields a single row, of the ``fault``; of pytest, as many runs as tests.

    ``share``: of the seeds that are asked for, so many; None for one that is always the same.
    """

    name: str
    command: str
    share: float | None = 1.0
    fault: str = ""

    def _runs(self, seeds: int) -> int:
        """At least one."""
        return max(1, round(seeds * (self.share or 1.0)))

    def arguments(self, seeds: int, folder: Path) -> list[str]:
        """Of the command, its module first."""
        runs = self._runs(seeds)
        places = {"seeds": f"0-{runs - 1}", "runs": str(runs), "json": str(folder / "rows.json"), "folder": str(folder)}
        return [part.format(**places) for part in self.command.split()]

    def shown(self, seeds: int) -> str:
        """How to run it again, in the table; venues are one."""
        runs = self._runs(seeds)
        words = self.command.partition(" --json")[0].split()
        if words[0] == "pytest":
            return f"pytest {words[-1]}"
        return " ".join(words).format(seeds=f"0-{runs - 1}", runs=runs).replace(" --at-once 2", "")


def _killed(name: str, command: str, fault: str) -> Campaign:
    return Campaign(f"killed-{name}", f"tests.sentinel.{command} --points {{runs}}", 0.5, fault)


def _tests(name: str, path: str, fault: str) -> Campaign:
    return Campaign(name, f"pytest -q -p no:cacheprovider --junitxml {{json}} {path}", None, fault)


CAMPAIGNS = (
    *(
        Campaign(f"scenario-{venue}", f"tests.faults.scenario {{seeds}} --at-once 2 --json {{json}} --venue {venue}")
        for venue in PLAYED
        if venue != "tidepool"
    ),
    Campaign("crash", "tests.faults.crash {seeds} --at-once 2 --json {json}", 0.5),
    Campaign("power-cut", "tests.faults.power_cut {seeds} --at-once 2 --json {json}", 0.3),
    Campaign("bad-disk", "tests.faults.bad_disk --times {runs} --json {json}", 0.05),
    Campaign("bad-network", "tests.faults.bad_network --times {runs} --at-once 2 --json {json}", 0.05),
    Campaign("clocks", "tests.faults.clocks --times {runs} --json {json}", 0.03),
    Campaign("liar", "tests.faults.liar {seeds} --json {json}", 0.1),
    _killed("archive", "archive.killed --what archive", "archiving an hour, killed"),
    _killed("l2", "archive.killed --what l2", "archiving the changes of books, killed"),
    _killed("certificates", "archive.killed --what certificates", "certifying, killed"),
    _killed("prune", "archive.killed --what prune", "pruning archive and tapes, killed"),
    _killed("upgrade", "archive.killed --what upgrade", "first pass over data of version 0.1, killed"),
    _killed("upload", "archive.killed_uploading", "upload to an object store, killed"),
    _killed("backfill", "backfill.killed", "backfill, killed"),
    _killed("freeze", "dataset.killed", "freezing a data set, killed"),
    _tests(
        "cluster-archive",
        "tests/sentinel/cluster/test_archiving_processes.py",
        "workers of a cluster's archive, killed",
    ),
    _tests("cluster-members", "tests/sentinel/cluster/test_member.py", "members of a cluster, killed and frozen"),
    _tests("cluster-lease", "tests/sentinel/cluster/test_lease.py", "leases of a cluster"),
    _tests("cluster-publisher", "tests/sentinel/cluster/test_publisher.py", "servers of a cluster, killed and frozen"),
    _tests(
        "cluster-delivery", "tests/sentinel/cluster/test_delivery_faults.py", "workers into InfluxDB, killed and frozen"
    ),
    _tests("journal-damage", "tests/sentinel/disk/test_damaged_journal.py", "journal cut and flipped"),
)


class Result(Struct, frozen=True):
    """What a campaign came to, and where."""

    campaign: str
    test: str
    commit: str
    machine: str
    began: str
    seconds: float
    rows: list[Row]


def run(campaign: Campaign, seeds: int) -> Result:
    """Plays it in a process of its own, whose words go on to ours."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sentinel-campaign-") as folder:
        arguments = campaign.arguments(seeds, Path(folder))
        status = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT, env=os.environ | {"TMPDIR": folder}, stdout=sys.stderr, check=False,
        ).returncode  # fmt: skip
        found = _rows(campaign, arguments, Path(folder) / "rows.json", status)
    return Result(
        campaign=campaign.name,
        test=campaign.shown(seeds),
        commit=_commit(),
        machine=f"{os.cpu_count()} cores, Python {platform.python_version()}",
        began=datetime.now(UTC).strftime("%Y-%m-%d"),
        seconds=round(time.monotonic() - began, 1),
        rows=found,
    )


def _rows(campaign: Campaign, arguments: Sequence[str], told: Path, status: int) -> list[Row]:
    if not campaign.fault:
        found = rows.read(told) if told.exists() else []
        if status and not any(row.lost for row in found):  # it says that something is wrong, and not of what
            found.append(Row(f"{campaign.name}: ended with status {status}", 1, 1))
        return found
    if arguments[0] == "pytest":
        suites = list(ElementTree.parse(told).getroot().iter("testsuite"))
        counts = {
            name: sum(int(suite.get(name, 0)) for suite in suites)
            for name in ("tests", "skipped", "failures", "errors")
        }
        return [Row(campaign.fault, counts["tests"] - counts["skipped"], counts["failures"] + counts["errors"])]
    return [Row(campaign.fault, int(arguments[arguments.index("--points") + 1]), int(status != 0))]


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def as_markdown(results: Sequence[Result]) -> str:
    """What a death costs, and one table of all."""
    lines = [*_costs(results), "| " + " | ".join(HEAD) + " |", "|---|---|---|---|---|---|"]
    found: dict[tuple[str, str], list[Row]] = {}
    for result in results:
        for row in result.rows:
            found.setdefault((result.test, row.fault), []).append(row)
    for (test, fault), of_fault in found.items():
        row = merged(of_fault)
        times = spread(row.detect_s, "nothing to say", row.runs), spread(row.heal_s, "no gap", row.runs)
        reached = f" (at least {min(row.per_s):,.0f} a second were taken)" if row.per_s else ""
        lines.append("| " + " | ".join([fault + reached, f"{row.runs:,}", str(row.lost), *times, f"`{test}`"]) + " |")
    where = dict.fromkeys(f"commit {result.commit}, {result.began}, {result.machine}" for result in results)
    return "\n".join([*lines, "", LEGEND, "", f"Measured at {'; '.join(where)}.", ""])


def _costs(results: Sequence[Result]) -> Iterator[str]:
    """The loss bound: judged by all runs of a campaign, measured in those of a life that had a sample."""
    kinds = (("crash", "deaths by SIGKILL"), ("power-cut", "power cuts, of which only what was synced is left"))
    is_any = False
    for campaign, words in kinds:
        if not (of_kind := [row for result in results if result.campaign == campaign for row in result.rows]):
            continue
        row, is_any = merged(of_kind), True
        held = "none lost" if not row.lost else f"**{row.lost} lost**"
        cost = f"{spread(row.cost_s, '')} (of the {len(row.cost_s)} lives that had one)" if row.cost_s else NOT_MEASURED
        yield (
            f"* {row.runs:,} {words}: {held} a line that was committed or given to InfluxDB, or a trade that no gap "
            f"names. What was not committed, samples of the last {cost}, is in a gap `stopped`."
        )
    if is_any:
        yield ""


def with_table(page: str, made: str) -> str:
    """The page with another table; as it is, if it has no place for one."""
    if BEGINS not in page:
        return page
    before, _, rest = page.partition(BEGINS)
    return f"{before}{BEGINS}{made}{ENDS}{rest.partition(ENDS)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the campaigns behind docs/reliability.md and write its table.")
    parser.add_argument("--seeds", type=int, default=100, help="of the largest campaigns; 0 runs none")
    parser.add_argument("--only", action="append", choices=[campaign.name for campaign in CAMPAIGNS], default=[])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of what campaigns came to")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    names = [campaign.name for campaign in CAMPAIGNS]
    for campaign in CAMPAIGNS:
        if options.seeds and (not options.only or campaign.name in options.only):
            result = run(campaign, options.seeds)
            (options.results / f"{campaign.name}.json").write_bytes(
                msgspec.json.format(msgspec.json.encode(result)) + b"\n"
            )
            click.echo(f"{campaign.name}: {sum(row.runs for row in result.rows)} runs in {result.seconds:.0f} s")
    files = (options.results / f"{name}.json" for name in names)
    results = [msgspec.json.decode(file.read_bytes(), type=Result) for file in files if file.exists()]
    options.page.write_text(with_table(options.page.read_text(), as_markdown(results)))
    lost = [f"{row.fault} ({result.campaign})" for result in results for row in result.rows if row.lost]
    click.echo(f"lost: {', '.join(lost)}" if lost else "nothing was lost without being named")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
