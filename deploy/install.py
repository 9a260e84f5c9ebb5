"""Installs a lock file with pip, and says how far it is: ``python deploy/install.py PIP LOCK``.

For ``make``, before anything of ours is installed: the standard library only. Exits with pip's status, and shows what
pip said if it fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

EVERY_S = 1.0
OF_LOG = 10
"""Where nobody watches, one line for so many packages."""

BEGUN = re.compile(r"\s*(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)")


def say(words: str) -> None:
    """At once."""
    sys.stdout.write(words)
    sys.stdout.flush()


class Progress:
    """One line that is written anew at a terminal; else a line now and then."""

    def __init__(self, total: int) -> None:
        self.words = "asking for packages"
        self._total = total
        self._seen = 0
        self._began_s = time.monotonic()
        self._is_terminal = sys.stdout.isatty()

    def take(self, line: str) -> None:
        """What pip says next."""
        begun = BEGUN.match(line)
        if begun is not None:
            self._seen += 1
            self.words = f"{min(self._seen, self._total)} of {self._total}: {begun[1]}"
        elif line.startswith("Installing collected packages"):
            self.words = f"unpacking {self._total} packages"
        else:
            return
        if not self._is_terminal and (begun is None or self._seen % OF_LOG == 0):
            say(f"  {self.words}\n")

    def show(self) -> None:
        """At a terminal, how it is now."""
        if self._is_terminal:
            say(f"\r\033[K  {time.monotonic() - self._began_s:3.0f} s  {self.words}"[:79])

    def end(self, words: str) -> None:
        start = "\r\033[K" if self._is_terminal else ""
        say(f"{start}  {words} in {time.monotonic() - self._began_s:.0f} s\n")


def main(pip: str, lock: Path) -> int:
    """Installs; gives pip's exit status."""
    total = len(re.findall(r"^[A-Za-z0-9._-]+==", lock.read_text(encoding="utf-8"), re.MULTILINE))
    say(f"Installing {total} packages from {lock.name}, once; one to three minutes on a usual line\n")
    command = [pip, "install", "--disable-pip-version-check", "--progress-bar", "off", "-r", str(lock)]
    progress, said, ended = Progress(total), list[str](), threading.Event()

    def tick() -> None:
        while not ended.wait(EVERY_S):
            progress.show()

    ticking = threading.Thread(target=tick, daemon=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        ticking.start()
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            progress.take(line)
    ended.set()
    ticking.join()
    progress.end("installed" if process.returncode == 0 else "pip failed")
    if process.returncode:
        sys.stderr.writelines(said[-40:])
    return process.returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], Path(sys.argv[2])))
    except KeyboardInterrupt:
        sys.exit(130)
