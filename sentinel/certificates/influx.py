"""Whether InfluxDB holds what was certified: points and trade ids of each hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from feeds.market import Market
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.certificate import Certificate, parquet_file, spelled
from sentinel.certificates.verify import Check, hour_ns
from sentinel.config import Influx
from sentinel.influx.audit import FIELDS, Tally, tallies
from sentinel.influx.server import Server


async def check_influx(server: Server, settings: Influx, latest: Sequence[Certificate]) -> Check:
    """More than was certified is no difference: another collector may have written it.

    Raises:
        UsageError: if the server refuses who is asking.
        InfluxError: if it does not answer.
    """
    check = Check("points in InfluxDB", claim="InfluxDB has the certified points")
    by_hour: dict[int, list[Certificate]] = defaultdict(list)
    for link in latest:
        by_hour[hour_ns(link)].append(link)
    for start_ns, links in sorted(by_hour.items()):
        for measurement in FIELDS:
            minutes = await tallies(server, settings, measurement, start_ns, start_ns + HOUR_NS)
            for link in links:
                seal = link.evidence.files.get(parquet_file(link.market, measurement, start_ns))
                if seal is None:
                    continue
                check.compared += seal.rows
                theirs = [
                    tally
                    for of_minute in minutes.values()
                    for (exchange, symbol, *_), tally in of_minute.items()
                    if Market(exchange, symbol) == link.market
                ]
                held = sum(tally.points for tally in theirs)
                whose = f"{spelled(link.market)} {link.hour}"
                if held < seal.rows:
                    check.problems.append(f"{whose}: {held:,} of {seal.rows:,} points of {measurement} are in InfluxDB")
                elif measurement == "trades" and not _has_ids(link, theirs):
                    check.problems.append(f"{whose}: the first or the last trade is not in InfluxDB")
    return check


def _has_ids(link: Certificate, theirs: Sequence[Tally]) -> bool:
    trades = link.evidence.trades
    if trades is None:
        return True
    first_id, last_id = min(tally.first_id for tally in theirs), max(tally.last_id for tally in theirs)
    return first_id <= trades.first_id and last_id >= trades.last_id
