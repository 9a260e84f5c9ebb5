"""What Prometheus scrapes: by its own tool, by its client's parser, and against the accounts it is made of."""

from __future__ import annotations

import subprocess
from collections import defaultdict

import pytest
from msgspec.structs import replace
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from feeds.market import Market
from sentinel.collector.service import Service
from sentinel.exchange.rest import RestHeld
from sentinel.monitor.alerts import Alert
from sentinel.monitor.api.metrics import FAMILIES, Metrics
from sentinel.monitor.distributions import OF_NETWORKS_S, Distribution, Distributions
from sentinel.monitor.status import Status, UncoveredMarket
from tests.sentinel.monitor.statuses import GOOD_PRODUCT
from tests.sentinel.monitor.test_alerts import GAP, GOOD, GOOD_LINE, INSIDE
from tests.servers.programs import program

ALERT = Alert("gap_open", 'BTC-USD "book"\n', "silence for 100 s", 0, exchange="coinbase")
LATE = Distribution("sample_lateness", "coinbase", OF_NETWORKS_S, [*range(len(OF_NETWORKS_S)), 20], 3.5)
EVERYTHING = replace(
    GOOD,
    gaps=[GAP],
    cluster=replace(INSIDE, uncovered=[UncoveredMarket("coinbase", "BTC-USD", 100.0)]),
    connections=[
        replace(
            GOOD_LINE, frames_received=15, frames_applied=5, frames_control=4, frames_duplicate=3,
            frames_undecodable=2, frames_unasked=1, frames_lost=7, openings=3, skipped={"auctions": 4},
        )
    ],
    products=[replace(GOOD_PRODUCT, trades_repaired=2, crossed_for_s=0.5)],
    rest_held=[RestHeld("coinbase", 5_000_000_000, "429")],
    distributions=[
        LATE, replace(LATE, name="trade_delay"),
        replace(LATE, name="loop_lag", exchange=""), replace(LATE, name="frame_handling", exchange=""),
    ],
)  # fmt: skip


def text_of(status: Status) -> str:
    return Metrics(lambda: status, lambda: [ALERT]).text().decode()


def scraped(status: Status) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text_of(status))}


def test_every_metric_is_there_with_its_labels_and_nothing_else() -> None:
    ours = {name: found for name, found in scraped(EVERYTHING).items() if name.startswith("sentinel_")}
    assert set(ours) == {family.name.removesuffix("_total") for family in FAMILIES}
    for family in FAMILIES:
        found = ours[family.name.removesuffix("_total")]
        assert (found.type, found.documentation) == (family.kind, family.help)
        assert {tuple(sorted(sample.labels.keys() - {"le"})) for sample in found.samples} == {
            tuple(sorted(family.labels))
        }


def test_promtool_finds_nothing_to_say() -> None:  # F18
    promtool = program("promtool", "prometheus")
    for status in (GOOD, EVERYTHING):
        text = text_of(status)
        said = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_names_are_as_prometheus_wants_them() -> None:
    """The rules of promtool that matter, where it is not installed."""
    for family in FAMILIES:
        assert family.name.startswith("sentinel_")
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert not {"quantile", "le", "job", "instance"} & set(family.labels)
        assert "symbol" not in family.labels or "exchange" in family.labels
        assert family.help.endswith("."), family.name


def test_no_frame_is_counted_twice() -> None:  # F18
    found = scraped(EVERYTHING)
    (received,) = [sample.value for sample in found["sentinel_frames_received"].samples]
    by_outcome = {sample.labels["outcome"]: sample.value for sample in found["sentinel_frames"].samples}
    assert received == sum(by_outcome.values()) - by_outcome["lost"] == 15
    assert by_outcome["lost"] == 7


def test_a_histogram_is_cumulative_and_ends_with_all() -> None:
    samples = scraped(EVERYTHING)["sentinel_sample_lateness_seconds"].samples
    buckets = [(sample.labels["le"], sample.value) for sample in samples if sample.name.endswith("_bucket")]
    assert buckets[0] == ("0.005", 0.0)
    assert buckets[-1] == ("+Inf", 20.0)
    rest = {sample.name.rpartition("_")[2]: sample.value for sample in samples if "le" not in sample.labels}
    assert rest == {"count": 20.0, "sum": 3.5}


def test_the_process_tells_of_itself() -> None:
    found = scraped(GOOD)
    for name in ("cpu_seconds", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"):
        (sample,) = found[f"process_{name}"].samples
        assert sample.value > 0


def test_a_name_with_quotes_and_newlines_comes_back_as_it_was() -> None:
    (sample,) = scraped(GOOD)["sentinel_alert"].samples
    assert sample.labels["about"] == 'BTC-USD "book"\n'


def test_open_gaps_are_counted_for_each_market_and_channel() -> None:
    away = replace(GOOD_PRODUCT, exchange="elsewhere")
    status = replace(GOOD, products=[GOOD_PRODUCT, away], gaps=[GAP, GAP, replace(GAP, channel="trades")])
    counts: dict[tuple[str, str], float] = defaultdict(float)
    for sample in scraped(status)["sentinel_gaps_open"].samples:
        counts[sample.labels["exchange"], sample.labels["channel"]] = sample.value
    assert counts == {
        ("coinbase", "book"): 2, ("coinbase", "trades"): 1, ("elsewhere", "book"): 0, ("elsewhere", "trades"): 0,
    }  # fmt: skip


async def test_what_a_product_that_left_has_counted_stays(service: Service) -> None:
    """Else a counter would fall, and Prometheus take everything that is left for new."""
    products = service.pipeline.products
    for number, product in enumerate(products.values()):
        product.books.lateness.add((number + 1) * 100_000_000)
        product.trades.delay.add(7_000_000)
    distributions = Distributions(service)
    before = {each.name: each for each in distributions.read()}
    assert before["sample_lateness"].counts[-1] == 2
    assert before["sample_lateness"].sum_s == pytest.approx(0.3)
    gone = products[Market("coinbase", "ETH-USD")]
    gone.trades.delay.add(7_000_000)  # after the last look
    del products[gone.market]
    assert {each.name: each.counts[-1] for each in distributions.read() if each.exchange} == {
        "sample_lateness": 2, "trade_delay": 3,
    }  # fmt: skip
    products.clear()
    assert [each.counts[-1] for each in distributions.read() if each.exchange] == [2, 3]


async def test_a_duration_is_never_counted_as_shorter_than_it_was(service: Service) -> None:
    product = service.pipeline.products[Market("coinbase", "BTC-USD")]
    for bound_s in OF_NETWORKS_S:
        product.books.lateness.add(round(bound_s * 1e9) + 1)
    found = next(each for each in Distributions(service).read() if each.name == "sample_lateness")
    assert all(count <= place for place, count in enumerate(found.counts))
    assert found.counts[-1] == len(OF_NETWORKS_S)
