"""Where InfluxDB is and how it is written to."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct
from pydantic import SecretStr


class InfluxSettings(Struct, frozen=True, kw_only=True):
    """``token`` is an API token, or ``user:password`` for 1.x; ``token_file`` wins and is read anew when it is refused.

    A bucket is ``name``, or ``database/policy`` as 1.x has them. With ``rotation`` monthly each month of points has a
    bucket of its own, ``name_2026_11``.
    """

    url: str
    token: SecretStr | None = None
    token_file: Path | None = None
    org: str | None = None
    bucket_trades: str = "sentinel_trades"
    bucket_book: str = "sentinel_book"
    ca_file: Path | None = None
    rotation: Literal["none", "monthly"] = "none"
    retention_s: float | None = None
    """How long the server keeps points, for the buckets we create; None is for ever."""

    batch_points: int = 5000
    interval_s: float = 1.0
    concurrency: int = 2
    """Requests under way at once for each of trades and book."""

    timeout_s: float = 10.0
    gzip: bool = False
