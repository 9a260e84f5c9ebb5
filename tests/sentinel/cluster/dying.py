"""``python -m tests.sentinel.cluster.dying collect …``: a member that is killed by its own hand where it takes or
renews what it has; ``DEATH`` says at which step, as in ``tests/faults/dies.py``.

``ARMED`` may name a file: steps count from when it is there. Who is not killed takes its leave without haste.
"""

from __future__ import annotations

import os
from pathlib import Path

from sentinel import cli
from sentinel.cluster import member
from sentinel.cluster.lease import Lease
from sentinel.cluster.member import Member
from tests.faults.dies import Death
from tests.servers.waiting import LONGEST_S

STEPS: dict[str, tuple[type, str]] = {
    "lease written": (Lease, "_write"),
    "markets taken": (Member, "_collect"),
}
"""To write a lease is to ask for it, to renew it and to tell what is held. Markets are taken before that is told."""


class ArmedDeath(Death):
    """One that comes only once a file is there."""

    def __init__(self, text: str, armed: Path | None) -> None:
        self._armed = armed
        super().__init__(text, STEPS)

    @property
    def is_armed(self) -> bool:
        return self._armed is None or self._armed.exists()


if __name__ == "__main__":
    member.LEAVE_S = LONGEST_S
    if death := os.environ.pop("DEATH", ""):
        armed = os.environ.pop("ARMED", "")
        ArmedDeath(death, Path(armed) if armed else None)
    cli.main()
