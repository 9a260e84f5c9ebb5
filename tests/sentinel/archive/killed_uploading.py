"""Taking an archive to an object store, killed at some step: nothing is lost, nothing twice, and all of it verifies.

python -m tests.sentinel.archive.killed_uploading --points 50

The steps are every file that is opened, put in its place or removed here, and every word with the store: before, within
and after an upload, between files, while it is read back, and while days are removed here.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from sentinel.certificates.verify import Stored, read_chains, verify
from sentinel.disk.object_store import ObjectPath, folder_at
from tests import ROOT, dying
from tests.sentinel.dataset.made import DAY_NS, make
from tests.servers.object_store import CREDENTIALS, ObjectStore, object_store

NOW_NS = DAY_NS + 10 * 365 * 86_400 * 10**9

CHILD = """
import os, signal, sys
from pathlib import Path
from sentinel.archive import upload as uploading
from sentinel.disk.object_store import ObjectPath
from sentinel.run.upload_worker import upload
data_dir, url, last, now_ns = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
STEPS = ("open", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir")
seen = 0
def step():
    global seen
    if seen == last:
        os.kill(os.getpid(), signal.SIGKILL)
    seen += 1
def watch(event, arguments):
    if event in STEPS and str(data_dir) in str(arguments[:2]):
        step()
def asking(ask):
    def asked(self, *arguments, **named):
        step()
        answer = ask(self, *arguments, **named)
        step()
        return answer
    return asked
def parts(content):
    for part in content:
        half = len(part) // 2
        yield part[:half]
        step()
        yield part[half:]
put = ObjectPath.put
ObjectPath.put = asking(lambda self, content: put(self, parts(content)))
for name in ("read_bytes", "open", "_list", "_info"):
    setattr(ObjectPath, name, asking(getattr(ObjectPath, name)))
uploading.AT_ONCE = 1
target = ObjectPath.of(url)
sys.addaudithook(watch)
assert upload(data_dir, target, 1.0, None, now_ns) == []
print(seen)
"""


def send(data_dir: Path, url: str, last_step: int = -1) -> int | None:
    """One pass in a process of its own, which dies before ``last_step``. Gives its steps; None if it was killed."""
    command = [sys.executable, "-c", CHILD, str(data_dir), url, str(last_step), str(NOW_NS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def archived(root: Path | ObjectPath) -> dict[str, bytes]:
    """What every file of archive and certificates is, but for notes of what was removed here."""
    found = {}
    for name in ("archive", "certificates"):
        folder = root / name
        for file in folder.rglob("*"):
            if file.is_file() and not file.name.startswith(".") and file.name != "pruned.txt":
                found[str(file).partition("/" + name + "/")[2].partition("?")[0]] = file.read_bytes()
    return found


def problems(root: Path | ObjectPath) -> list[str]:
    """What does not hold of what is certified."""
    stored = Stored.of(root)
    chains = read_chains(stored.certificates)
    assert chains.latest
    checks = [chains.check, *verify(stored, chains.latest, chains.latest)]
    return [problem for check in checks for problem in check.problems]


def try_at(folder: Path, store: ObjectStore, points: int, seed: int) -> list[float]:
    """Kills at so many different steps, each time with a prefix of its own. Gives the seconds of each pass after it."""
    healed_s = []
    made = make(folder / "made")
    expected = archived(made)
    steps = send(shutil.copytree(made, folder / "whole"), store.url("whole"))
    assert steps is not None
    assert archived(folder_at(store.url("whole"))) == expected
    assert problems(folder_at(store.url("whole"))) == []
    for step in sorted(random.Random(seed).sample(range(steps), points)):
        data_dir, url = shutil.copytree(made, folder / f"step-{step}"), store.url(f"step-{step}")
        assert send(data_dir, url, step) is None
        # what the kill has left is all there is, in one place or in both, and is the same in both
        here, there = archived(data_dir), archived(folder_at(url))
        assert {name for name in here if name.endswith(".parquet")} | there.keys() >= {
            name for name in expected if name.endswith(".parquet")
        }
        began_s = time.monotonic()
        assert send(data_dir, url) is not None
        healed_s.append(time.monotonic() - began_s)
        assert archived(folder_at(url)) == expected  # of which nothing is wrong
        assert problems(data_dir) == []
        assert not list((data_dir / "archive").rglob("*.parquet"))
    return healed_s


@click.command()
@click.option("--points", default=50, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "told", type=Path, help="Where the seconds of the passes after a death are written.")
def main(points: int, seed: int, told: Path | None) -> None:
    """Kill the upload of an archive at so many seeded points."""
    os.environ.update(CREDENTIALS)
    with tempfile.TemporaryDirectory() as folder, object_store() as store:
        healed_s = try_at(Path(folder), store, points, seed)
    dying.tell(told, healed_s)
    click.echo(f"killed at {points} points: nothing lost, nothing twice, and everything verifies")


if __name__ == "__main__":
    main()
