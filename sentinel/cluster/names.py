"""What everything is called on the NATS servers, and how a batch of lines travels. Pure.

A cluster ``sentinel`` has one stream, ``sentinel_lines``, and two key-value buckets: ``sentinel_members``, whose keys
are leases and end by themselves, and ``sentinel_markets``, what is known of markets for good. The archive's workers
have two more: ``sentinel_archivers``, their leases, and ``sentinel_archive``, how far each partition is. A batch of the
journal goes into the stream in one message for each partition it has lines of, or more if they are many::

    subject  sentinel.lines.trades.7
    headers  Nats-Msg-Id: desk-1/5f0c9a3e/18211/7/0      batch, partition and piece: sent again, it is the same message
             Sentinel-Collector: desk-1
             Sentinel-Times: 1788746279000000000..1788746279900000000     first and last point
    body     lines of line protocol, zstd
"""

from __future__ import annotations

from hashlib import blake2b

from feeds.market import Market

MESSAGE_ID = "Nats-Msg-Id"
COLLECTOR = "Sentinel-Collector"
TIMES = "Sentinel-Times"


class Names:
    """Those of one cluster."""

    def __init__(self, cluster: str) -> None:
        self.lines = f"{cluster}_lines"
        self.members = f"{cluster}_members"
        self.markets = f"{cluster}_markets"
        self.archive = f"{cluster}_archive"
        self.archivers = f"{cluster}_archivers"
        self._prefix = f"{cluster}.lines"

    @property
    def all_subjects(self) -> str:
        """Every subject of the stream of lines."""
        return f"{self._prefix}.>"

    @property
    def dead(self) -> str:
        """Where lines go that InfluxDB refuses for good."""
        return f"{self._prefix}.dead.influx"

    def subject(self, stream: str, partition: int | None = None) -> str:
        """Where the lines of a partition go; of all partitions if it is None."""
        return f"{self._prefix}.{stream}.{'*' if partition is None else partition}"


def partition_of(market: Market, partitions: int) -> int:
    """The part of the lines a market is in: always the same, on every machine."""
    digest = blake2b(str(market).encode(), digest_size=8).digest()
    return int.from_bytes(digest) % partitions


def message_id(collector: str, journal: str, batch_id: int, partition: int, piece: int) -> str:
    """The same for the same lines, whoever asks and whenever."""
    return f"{collector}/{journal}/{batch_id}/{partition}/{piece}"
