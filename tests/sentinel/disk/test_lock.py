"""Whoever cannot have a lock is told why: another process, or a disk that cannot lock."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest

from sentinel.archive.archiver import alone
from sentinel.disk.journal import Journal
from sentinel.disk.lock import Held, hold
from sentinel.errors import UsageError
from tests import ROOT


def archive(folder: Path) -> None:
    with alone(folder):
        pass


def journal(folder: Path) -> None:
    Journal.open(folder / "journal.sqlite3").close()


HOLDERS = pytest.mark.parametrize("take", [journal, archive])


@HOLDERS
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO, errno.ENOTSUP, errno.EROFS, errno.EINTR])
def test_a_disk_that_cannot_lock_is_not_called_another_process(
    take: Callable[[Path], None], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UsageError) as caught:
        take(tmp_path / "data")
    assert os.strerror(number) in str(caught.value)
    assert "another" not in str(caught.value)


@HOLDERS
def test_another_process_is_called_so(take: Callable[[Path], None], tmp_path: Path) -> None:
    name = "journal.lock" if take is journal else ".lock"
    script = (
        f"from pathlib import Path; from sentinel.disk.lock import hold; held = hold(Path({name!r})); print(); input()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=tmp_path, stdin=PIPE, stdout=PIPE, env=environment) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(UsageError, match="another"):
                take(tmp_path)
        finally:
            other.kill()
    take(tmp_path)


def test_it_is_held_until_it_is_closed(tmp_path: Path) -> None:
    lock = hold(tmp_path / "new" / "lock")
    with pytest.raises(Held, match="in use"):
        hold(tmp_path / "new" / "lock")
    lock.close()
    hold(tmp_path / "new" / "lock").close()
