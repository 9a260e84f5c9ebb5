"""How a delivery is going; apart from it, so that a collector without InfluxDB need not load its client (12 MB)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

SINK = "influx"
"""The name of InfluxDB's cursor in the journal."""

PUBLISHER = "cluster"
"""The name of the cursor of a cluster's stream."""

State = Literal["delivering", "waiting", "barred"]


class UploadStatistics(Struct):
    """How it goes with an object store: ``waiting`` while it is away, ``barred`` where it holds somebody else's data.

    ``folders_waiting`` have something that it has not got yet; files and bytes since the start.
    """

    url: str
    state: State = "delivering"
    folders_waiting: int = 0
    files_stored: int = 0
    bytes_stored: int = 0
    last_error: str | None = None


class SinkStatistics(Struct):
    """What a sink has done since it started, and how it is. ``by_design_s`` is how far behind it may always be,
    ``set_aside_ns`` when it last set lines aside, ``errors`` how often something had to be tried again.
    """

    by_design_s: float
    state: State = "delivering"
    lines_delivered: int = 0
    lines_set_aside: int = 0
    set_aside_ns: int = 0
    requests: int = 0
    errors: int = 0
    last_error: str | None = None

    def failed(self, reason: str) -> None:
        """It is to be tried again, because of this."""
        self.errors += 1
        self.last_error = reason
