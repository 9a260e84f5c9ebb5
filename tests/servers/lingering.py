"""Members of a cluster that take their leave without haste.

Who goes, goes on until the others have what it had. On a busy machine that may take longer than anybody should wait for
a program's end. ``python -m tests.servers.lingering`` is ``sentinel-ws`` that has the time.
"""

from __future__ import annotations

from sentinel import cli
from sentinel.cluster import member
from tests.servers.waiting import LONGEST_S

if __name__ == "__main__":
    member.LEAVE_S = LONGEST_S
    cli.main()
