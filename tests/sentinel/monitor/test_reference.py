"""What is documented of the running collector is what the code has: metrics, alerts, rules, endpoints."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from sentinel.config import Config
from sentinel.monitor.alerts import CRITICAL, Kind
from sentinel.monitor.api.examples import EXAMPLES
from sentinel.monitor.api.metrics import FAMILIES
from sentinel.monitor.reference import PAGES, RULES, documents, endpoints_page
from tests import ROOT
from tests.servers.programs import program

KINDS = get_args(Kind)
ALERTS = (ROOT / "docs/alerts.md").read_text()
SECTIONS = dict(re.findall(r"^## `(\w+)`\n\n(.*?)(?=^## |\Z)", ALERTS, re.MULTILINE | re.DOTALL))
RUNBOOK_RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / RULES).read_text())["groups"][0]["rules"]


@pytest.mark.parametrize("name", [*PAGES, RULES])
def test_documents_are_as_they_would_be_made_now(name: str) -> None:
    assert (ROOT / name).read_text() == documents(ROOT)[name], "python -m sentinel.monitor.reference"


def test_every_endpoint_shows_an_answer() -> None:
    documented = set(re.findall(r"^### `[A-Z]+ (\S+)`$", endpoints_page(), re.MULTILINE))
    assert documented == set(EXAMPLES), (
        "give it an example in sentinel/monitor/api/examples.py, of the struct it answers"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_alert_says_what_it_means_and_what_to_do(kind: str) -> None:
    section = SECTIONS[kind]
    severity = "Critical" if kind in CRITICAL else "Warning"
    assert section.startswith(f"{severity}; names "), kind
    assert "* **Look at**: " in section
    assert "* **Do**: " in section


def test_no_section_is_of_an_alert_that_is_no_more() -> None:
    assert list(SECTIONS) == ["collector_unreachable", *KINDS]


def test_metrics_settings_and_events_that_the_runbook_names_exist() -> None:
    named = set(re.findall(r"`([a-z_.0-9]+)`", ALERTS))
    metrics = {name for name in named if name.startswith("sentinel_")}
    assert metrics <= {family.name for family in FAMILIES}
    for name in (name for name in named if re.fullmatch(r"\w+\.\w+", name) and not name.endswith(".lp")):
        section, _, field = name.partition(".")
        assert field in type(getattr(Config(), section)).model_fields, name
    events = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/logs.md").read_text(), re.MULTILINE))
    for name in re.findall(r"(?:`(\w+)`(?:, | or | and )?)+(?: with its[^;]*| with[^;]*)? in the log", ALERTS):
        assert name in events, name


def test_each_kind_of_alert_has_a_rule_that_leads_to_its_section() -> None:
    of_kinds = [rule for rule in RUNBOOK_RULES if "sentinel_alert" in rule["expr"]]
    assert [re.findall(r'kind="(\w+)"', rule["expr"]) for rule in of_kinds] == [[kind] for kind in KINDS]
    for rule in RUNBOOK_RULES:
        page, _, section = rule["annotations"]["runbook_url"].rpartition("#")
        assert section in SECTIONS
        assert page.endswith("/docs/alerts.md")


def test_promtool_fires_every_rule_and_only_while_its_alert_is_raised(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    named = {"about": "BTC-USD", "exchange": "coinbase", "instance": "a:1", "job": "sentinel-ws"}
    tests = []
    for rule in RUNBOOK_RULES:
        labels = {**named, "kind": found[0]} if (found := re.findall(r'kind="(\w+)"', rule["expr"])) else named
        metric = "sentinel_alert" if found else "up"
        series = ",".join(f'{name}="{value}"' for name, value in labels.items())
        fired = {
            "exp_labels": labels | rule["labels"],
            "exp_annotations": {
                name: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: labels[match[1]], text)  # noqa: B023
                for name, text in rule["annotations"].items()
            },
        }
        tests.append(
            {
                "interval": "15s",
                "input_series": [
                    {"series": f"{metric}{{{series}}}", "values": "_x9 1x9 _x20" if found else "1x9 0x9 1x20"}
                ],
                "alert_rule_test": [
                    {"eval_time": "2m", "alertname": rule["alert"], "exp_alerts": []},
                    {"eval_time": "4m30s", "alertname": rule["alert"], "exp_alerts": [fired]},
                    {"eval_time": "10m", "alertname": rule["alert"], "exp_alerts": []},
                ],
            }
        )
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ROOT / RULES)], "tests": tests}))
    said = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
