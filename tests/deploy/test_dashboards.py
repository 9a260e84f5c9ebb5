"""Dashboards, data sources and scrape configuration fit each other, and ask only for what the collector writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.config import Influx
from tests import ROOT
from tests.deploy.contract import columns

GRAFANA = ROOT / "deploy" / "grafana"
BOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
OF_TRADES = {"trades"}
TIME_COLUMNS = {"_time", "_value", "_field", "_start", "_stop", "_measurement"}


def load(path: Path) -> dict[str, Any]:
    board: dict[str, Any] = json.loads(path.read_text())
    return board


def queries(board: dict[str, Any]) -> list[str]:
    found = [target["query"] for panel in board["panels"] for target in panel["targets"]]
    found += [variable["query"]["query"] for variable in board["templating"]["list"]]
    return found + [annotation["target"]["query"] for annotation in board["annotations"]["list"]]


def sources() -> dict[str, dict[str, Any]]:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/sentinel.yaml").read_text())["datasources"]
    return {source["uid"]: source for source in provisioned}


def test_there_is_one_for_each_question() -> None:
    assert [path.stem for path in BOARDS] == ["coverage", "depth", "flow", "gaps"]


def test_no_two_are_taken_for_each_other() -> None:
    boards = [load(path) for path in BOARDS]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(BOARDS)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_panels_are_numbered_once_and_do_not_overlap(path: Path) -> None:
    panels = load(path)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def _datasources(node: object) -> list[dict[str, str]]:
    """Every ``datasource`` anywhere in a board."""
    if isinstance(node, list):
        return [found for item in node for found in _datasources(item)]
    if not isinstance(node, dict):
        return []
    here = [node["datasource"]] if "datasource" in node else []
    return here + [found for value in node.values() for found in _datasources(value)]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_datasource_is_provisioned(path: Path) -> None:
    found = _datasources(load(path))
    assert found
    for source in found:
        assert sources()[source["uid"]]["type"] == source["type"]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_query_asks_for_what_is_written(path: Path) -> None:
    contract, settings = columns(), Influx(url="http://influxdb:8086")
    for query in queries(load(path)):
        (bucket,) = set(re.findall(r'bucket: "(\w+)"', query))
        (measurement,) = set(re.findall(r'_measurement == "(\w+)"|measurement: "(\w+)"', query))
        name = "".join(measurement)
        assert bucket == (settings.bucket_trades if name in OF_TRADES else settings.bucket_book), query
        asked = set(re.findall(r'r\._field == "(\w+)"', query))
        if "from(bucket" in query:
            assert asked, query
        asked |= set(re.findall(r'r\.(\w+) == "', query)) | set(re.findall(r'tag: "(\w+)"', query))
        for names in re.findall(r"(?:group|keep)\(columns: \[([^]]+)\]", query):
            asked |= set(re.findall(r'"(\w+)"', names))
        assert asked - TIME_COLUMNS <= contract[name], query


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_two_exchanges_products_of_one_name_are_never_drawn_as_one(path: Path) -> None:
    which_exchange = [query for query in queries(load(path)) if 'tag: "exchange"' in query]
    assert len(which_exchange) == 1
    for query in queries(load(path)):
        assert query in which_exchange or 'r.exchange == "${exchange}"' in query, query


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_variable_is_defined(path: Path) -> None:
    board = load(path)
    used = set(re.findall(r"\$\{(\w+)\}", " ".join(queries(board))))
    assert used == {variable["name"] for variable in board["templating"]["list"]}


def test_grafana_finds_the_dashboards_where_compose_mounts_them() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/sentinel.yaml").read_text())["providers"]
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in service["volumes"]
    home = Path(service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (GRAFANA / "dashboards" / home.name).is_file()
