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
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
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
    "or of as many as are named: in the others there was no such word, or no gap. A pass that was killed heals by "
    "running once more, a cluster by others having a member's markets. Of pytest a run is a test."
)
HEAD = ("fault", "runs", "lost", "time to detect", "time to heal", "test")


class Campaign(Struct, frozen=True):
    """``command`` is a module and its arguments: ``{seeds}`` is a range, ``{runs}`` a number, ``{json}`` where it is to
    write its rows. One that writes none yields a single row, of the ``fault``: of a pass that is killed, as many
    runs as it leaves times of the pass after it; of pytest, as many as there are tests of the fault.

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
        return [part.format(**places) for part in shlex.split(self.command)]

    def shown(self, seeds: int) -> str:
        """How to run it again, in the table; venues are one."""
        runs = self._runs(seeds)
        if self.command.startswith("pytest"):
            return f"pytest {self.command.partition('{json} ')[2]}"
        return self.command.partition(" --json")[0].format(seeds=f"0-{runs - 1}", runs=runs).replace(" --at-once 2", "")


def _killed(name: str, command: str, fault: str) -> Campaign:
    return Campaign(f"killed-{name}", f"tests.sentinel.{command} --points {{runs}} --json {{json}}", 0.5, fault)


def _tests(name: str, path: str, fault: str, only: str) -> Campaign:
    """``only`` those tests of a file that are runs of the fault, as pytest's ``-k`` has it."""
    return Campaign(
        name, f"pytest -q -p no:cacheprovider --junitxml {{json}} tests/sentinel/{path} -k '{only}'", None, fault
    )


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
        "cluster/test_archiving_processes.py",
        "workers of a cluster's archive, five of them killed or frozen",
        "killed",
    ),
    _tests(
        "cluster-killed", "cluster/test_member.py", "a member of a cluster is killed (its lease is of 9 s)", "killed"
    ),
    _tests(
        "cluster-frozen", "cluster/test_member.py", "a member of a cluster is frozen (its lease is of 9 s)", "frozen"
    ),
    _tests("cluster-alone", "cluster/test_member.py", "members of a cluster lose all servers", "without_servers"),
    _tests("cluster-lease", "cluster/test_lease.py", "a lease while its server is frozen", "renewal or answer"),
    _tests(
        "cluster-publisher",
        "cluster/test_publisher.py",
        "servers of a cluster are killed, frozen or emptied while lines are published",
        "dies or frozen or lost_everything or last_trades",
    ),
    _tests(
        "cluster-delivery",
        "cluster/test_delivery_faults.py",
        "workers into InfluxDB are frozen, stopped, refused, unanswered or cut off",
        "frozen or stopped or refuses or not_answered or does_not_reach",
    ),
    _tests("journal-cut", "disk/test_damaged_journal.py", "a journal is cut at every 4 KiB", "cut_at"),
    _tests("journal-flipped", "disk/test_damaged_journal.py", "a journal has any bit flipped, 60 times", "flipped"),
    _tests("journal-log", "disk/test_damaged_journal.py", "a journal has another's or an older log", "older"),
    _tests("data-away", "run/test_collect.py", "the data directory is taken away and comes back", "taken_away"),
    _tests("files-full", "run/test_collect.py", "the file table is full", "file_table"),
    _tests("second", "run/test_collect.py", "a second collector is started on the data directory", "second_one"),
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
        return [_of_tests(campaign.fault, told, status)]
    if status or not told.exists():
        return [Row(campaign.fault, int(arguments[arguments.index("--points") + 1]), 1)]
    heal_s = msgspec.json.decode(told.read_bytes(), type=list[float])
    return [Row(campaign.fault, len(heal_s), 0, None, heal_s)]


def _of_tests(fault: str, told: Path, status: int) -> Row:
    """Of what pytest has told; a test may have measured times, as properties."""
    root = ElementTree.parse(told).getroot() if told.exists() else ElementTree.Element("testsuites")
    suites = list(root.iter("testsuite"))
    counts = {
        name: sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "skipped", "failures", "errors")
    }
    times: dict[str, list[float]] = defaultdict(list)
    for measured in root.iter("property"):
        times[measured.get("name", "")].append(float(measured.get("value", "")))
    lost = max(counts["failures"] + counts["errors"], int(status != 0))
    return Row(fault, counts["tests"] - counts["skipped"], lost, times.get("detect_s"), times.get("heal_s"))


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
