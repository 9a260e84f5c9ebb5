"""The report of several collectors' accounts in a real InfluxDB, one of which died."""

from __future__ import annotations

import json
import random
import subprocess
import time

from click.testing import CliRunner

from sentinel.cli import cli
from tests.sentinel.archive.market import sample, trade
from tests.sentinel.gap_report.moving import FIRST_ID, START_NS, ns
from tests.sentinel.gap_report.test_stream import MOVING
from tests.servers.influx import ADMIN, InfluxServer


def test_what_the_dead_one_had_is_there(influxd: InfluxServer) -> None:
    name = f"r{time.time_ns()}"
    influxd.make(name)
    rng = random.Random(1)
    lines = [*MOVING.points, *(sample(rng, "BTC-USD", ns(at)) for at in sorted(MOVING.written))]
    lines += [trade(number, ns((number - FIRST_ID) * 7)) for number in sorted(MOVING.ids)]
    url = f"{influxd.url}/write?db={name}"
    subprocess.run(["curl", "-sf", "-u", ADMIN, url, "--data-binary", "@-"], input=b"\n".join(lines), check=True)
    settings = {"TOKEN": ADMIN, "BUCKET_TRADES": name, "BUCKET_BOOK": name}
    environment = {f"SENTINEL_INFLUX_{key}": value for key, value in settings.items()}
    times = ["--since", str(START_NS), "--until", str(ns(2400)), "--format", "json"]
    result = CliRunner().invoke(cli, ["gap-report", "--influx-url", influxd.url, *times], env=environment)
    assert result.exit_code == 0, repr(result.exception)
    (product,) = json.loads(result.stdout)["products"]
    assert product["samples"]["written"] == len(MOVING.written) == 1850
    assert (product["trades"]["count"], product["trades"]["missing"]) == (len(MOVING.ids), 9)
    book = [gap for gap in product["gaps"] if gap["channel"] == "book"]
    told = [((gap["start_ns"] - START_NS) // 10**8, (gap["end_ns"] - START_NS) // 10**8) for gap in book]
    assert told == [(780, 830), (1700, 1800), (2000, 2400)]
