"""Dashboards, data sources and scrape configuration fit each other, and ask only for what the collector writes."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.make import dashboards
from sentinel.config import Influx
from sentinel.monitor.api.metrics import FAMILIES
from tests import ROOT
from tests.deploy.collected import DATABASE, POLICY
from tests.deploy.contract import columns
from tests.deploy.sql_engines import ENGINES, tables
from tests.servers.influx import InfluxServer
from tests.servers.programs import program

GRAFANA = ROOT / "deploy" / "grafana"
COLLECTOR = GRAFANA / "dashboards" / "collector.json"
FLUX = [path for path in sorted((GRAFANA / "dashboards").glob("*.json")) if path != COLLECTOR]
INFLUXQL = sorted((GRAFANA / "influxql" / "dashboards").glob("*.json"))
SQL = sorted((GRAFANA / "sql" / "dashboards").glob("*.json"))
BOARDS = [*FLUX, COLLECTOR, *INFLUXQL, *SQL]
PLACES = {"${book}": f'"{DATABASE}"."{POLICY}"', "${trades}": f'"{DATABASE}"."autogen"'}
MAY_BE_EMPTY = {"Accounts that do not close"}
CHOSEN = {"${exchange}": "coinbase", "${symbol}": "BTC-USD"}
INTERVALS = {"$__rate_interval": "1m"}
OF_TRADES = {"trades"}
TIME_COLUMNS = {"_time", "_value", "_field", "_start", "_stop", "_measurement"}


def load(path: Path) -> dict[str, Any]:
    board: dict[str, Any] = json.loads(path.read_text())
    return board


def queries(board: dict[str, Any]) -> list[str]:
    return [query for _, query in named_queries(board)]


def named_queries(board: dict[str, Any]) -> list[tuple[str, str]]:
    asked = [(panel["title"], _text(target)) for panel in board["panels"] for target in panel["targets"]]
    asked += [(each["name"], _text(each["query"])) for each in board["templating"]["list"] if each["type"] == "query"]
    return asked + [(each["name"], _text(each["target"])) for each in board["annotations"]["list"]]


def _text(asked: str | dict[str, str]) -> str:
    return asked if isinstance(asked, str) else asked.get("query") or asked.get("rawSql") or asked["expr"]


def named(path: Path) -> str:
    return f"{path.stem} {path.parent.parent.name}"


def sources(path: Path) -> dict[str, dict[str, Any]]:
    """What is provisioned with this board."""
    provisioned = path.parents[1] / "provisioning/datasources/sentinel.yaml"
    return {source["uid"]: source for source in yaml.safe_load(provisioned.read_text())["datasources"]}


def test_there_is_one_for_each_question() -> None:
    for boards in (FLUX, INFLUXQL, SQL):
        assert [path.stem for path in boards] == ["coverage", "depth", "flow", "gaps"]
    assert COLLECTOR.is_file()


def test_no_two_are_taken_for_each_other() -> None:
    boards = [load(path) for path in BOARDS]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(BOARDS)


@pytest.mark.parametrize("path", BOARDS, ids=named)
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


@pytest.mark.parametrize("path", BOARDS, ids=named)
def test_every_datasource_is_provisioned(path: Path) -> None:
    found = _datasources(load(path))
    assert found
    for source in found:
        assert sources(path)[source["uid"]]["type"] == source["type"]


@pytest.mark.parametrize("path", FLUX, ids=named)
def test_every_query_asks_for_what_is_written(path: Path) -> None:
    contract = columns()
    for query in queries(load(path)):
        (bucket,) = set(re.findall(r'bucket: "\$\{(\w+)\}"', query))
        (measurement,) = set(re.findall(r'_measurement == "(\w+)"|measurement: "(\w+)"', query))
        name = "".join(measurement)
        assert bucket == ("bucket_trades" if name in OF_TRADES else "bucket_book"), query
        asked = set(re.findall(r'r\._field == "(\w+)"', query))
        if "from(bucket" in query:
            assert asked, query
        asked |= set(re.findall(r'r\.(\w+) == "', query)) | set(re.findall(r'tag: "(\w+)"', query))
        for names in re.findall(r"(?:group|keep)\(columns: \[([^]]+)\]", query):
            asked |= set(re.findall(r'"(\w+)"', names))
        assert asked - TIME_COLUMNS <= contract[name], query


@pytest.mark.parametrize("path", FLUX, ids=named)
def test_two_exchanges_products_of_one_name_are_never_drawn_as_one(path: Path) -> None:
    which_exchange = [query for query in queries(load(path)) if 'tag: "exchange"' in query]
    assert len(which_exchange) == 1
    for query in queries(load(path)):
        assert query in which_exchange or 'r.exchange == "${exchange}"' in query, query


@pytest.mark.parametrize("path", BOARDS, ids=named)
def test_every_variable_is_defined(path: Path) -> None:
    board = load(path)
    used = set(re.findall(r"\$\{?([a-z]\w+)\}?", " ".join(queries(board)))) - {"timeFilter"}
    assert used == {variable["name"] for variable in board["templating"]["list"]}


@pytest.mark.parametrize("path", FLUX, ids=named)
def test_a_bucket_is_what_the_collector_writes_to_unless_another_is_chosen(path: Path) -> None:
    settings = Influx(url="http://influxdb:8086")
    boxes = [each for each in load(path)["templating"]["list"] if each["type"] == "textbox"]
    chosen = {each["name"]: each["current"]["value"] for each in boxes}
    assert chosen["bucket_book"] == settings.bucket_book
    assert chosen.get("bucket_trades", settings.bucket_trades) == settings.bucket_trades


@pytest.mark.parametrize("path", BOARDS, ids=named)
def test_every_number_has_a_unit(path: Path) -> None:
    for panel in load(path)["panels"]:
        assert panel["title"] in ("Integrity", "Every gap") or panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@pytest.mark.parametrize("path", [*FLUX, *INFLUXQL, *SQL], ids=named)
def test_what_adds_up_is_added_up(path: Path) -> None:  # F21
    """However far one zooms out, the flow of a whole step is drawn, not that of its last second."""
    for panel in load(path)["panels"]:
        for target in panel["targets"]:
            if re.search(r"\b(ofi|size)\b", _text(target)):
                assert not re.search(r"fn: last|\blast(_value)?\(", _text(target)), panel["title"]


def test_those_for_influxql_and_sql_are_made_of_those_for_flux() -> None:
    assert {path: path.read_text() for path in (*INFLUXQL, *SQL)} == dashboards(), "python -m deploy.grafana.make"


@pytest.mark.parametrize("engine", ENGINES)
def test_every_query_in_sql_finds_something(engine: str, server: InfluxServer) -> None:
    ask = ENGINES[engine](tables(server))
    until = datetime.now(UTC)
    first, last = (f"'{at:%Y-%m-%dT%H:%M:%SZ}'" for at in (until - timedelta(hours=1), until + timedelta(hours=1)))
    for path in SQL:
        for title, query in named_queries(load(path)):
            query = query.replace("$__timeFilter(time)", f"time >= {first} AND time <= {last}")
            bins = "date_bin(interval '10 second', time, timestamp '1970-01-01T00:00:00Z')"
            for name, value in {**CHOSEN, "$__dateBin(time)": bins}.items():
                query = query.replace(name, value)
            assert ask(query).num_rows, (title, query)


@pytest.mark.parametrize("path", INFLUXQL, ids=named)
def test_a_real_server_answers_every_query(path: Path, server: InfluxServer) -> None:
    for title, query in named_queries(load(path)):
        for name, value in {**PLACES, **CHOSEN, "$timeFilter": "time > now() - 1h", "$__interval": "10s"}.items():
            query = query.replace(name, value)
        (result,) = server.query(query, DATABASE)
        assert "error" not in result, (title, query)
        assert result.get("series") or title in MAY_BE_EMPTY, (title, query)


def test_the_collectors_board_asks_only_for_metrics_that_there_are() -> None:
    known = {family.name for family in FAMILIES}
    known |= {f"{family.name}_bucket" for family in FAMILIES if family.kind == "histogram"}
    labels = {family.name: set(family.labels) | {"job", "instance", "le"} for family in FAMILIES}
    for title, query in named_queries(load(COLLECTOR)):
        for name in re.findall(r"\b(sentinel_\w+)", query):
            assert name in known, title
        for name, chosen in re.findall(r"(sentinel_\w+)\{([^}]*)\}", query):
            asked = set(re.findall(r"(\w+)=~", chosen))
            assert asked <= labels[name.removesuffix("_bucket")], title


def test_promtool_reads_every_query_of_the_collectors_board(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    board = load(COLLECTOR)
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in board["annotations"]["list"]]
    rules = [{"record": f"asked:{n}", "expr": _chosen(query)} for n, query in enumerate(asked)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    said = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def _chosen(query: str) -> str:
    return re.sub(r"\$(\w+)", lambda match: INTERVALS.get(match[0], ".*"), query)


def test_grafana_finds_the_dashboards_where_compose_mounts_them() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/sentinel.yaml").read_text())["providers"]
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in service["volumes"]
    home = Path(service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (GRAFANA / "dashboards" / home.name).is_file()
