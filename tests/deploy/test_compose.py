"""compose.yaml against the compose specification's own schema, and what it mounts against the tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.config import Influx
from sentinel.config.names import known_names
from tests import ROOT

BIN = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FLUSH_S = 10


def test_it_is_what_the_specification_allows() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned_and_every_port_is_local(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert (ROOT / source).is_dir() if source.startswith("./") else source in COMPOSE["volumes"], mount


def test_every_secret_is_made_by_the_script_and_never_committed(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    script = tmp_path / "make-secrets.sh"
    script.write_text((ROOT / "deploy/make-secrets.sh").read_text())
    subprocess.run(["bash", script], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert {f"deploy/secrets/{name}" for name in made} == {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert all(re.fullmatch(r"[A-Za-z0-9]{36,43}", text) for text in made.values())
    assert len(set(made.values())) == len(made)
    subprocess.run(["bash", script], check=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made
    ignored = [secret["file"] for secret in COMPOSE["secrets"].values()]
    kept = subprocess.run(["git", "check-ignore", *ignored], cwd=ROOT, capture_output=True, text=True, check=True)
    assert kept.stdout.split() == ignored


def test_the_secrets_used_are_defined() -> None:
    for service in SERVICES.values():
        assert set(service["secrets"]) <= set(COMPOSE["secrets"])
        for value in service["environment"].values() if "environment" in service else ():
            if str(value).startswith("/run/secrets/"):
                assert Path(value).name in service["secrets"], value


def test_the_collector_is_told_only_what_it_knows() -> None:
    environment = SERVICES["collector"]["environment"]
    assert set(environment) <= set(known_names())


def test_the_collector_needs_no_rights_and_has_time_to_end() -> None:
    collector = SERVICES["collector"]
    assert collector["read_only"] is True
    assert collector["cap_drop"] == ["ALL"]
    assert "collected:/data" in collector["volumes"]
    assert int(collector["stop_grace_period"].removesuffix("s")) > FLUSH_S


def test_the_collector_writes_where_influxdb_has_buckets() -> None:
    ours, theirs = SERVICES["collector"]["environment"], SERVICES["influxdb"]["environment"]
    defaults = Influx(url=ours["SENTINEL_INFLUX_URL"])
    assert theirs["DOCKER_INFLUXDB_INIT_BUCKET"] == defaults.bucket_trades
    assert theirs["BOOK_BUCKET"] == defaults.bucket_book
    assert theirs["DOCKER_INFLUXDB_INIT_ORG"] == ours["SENTINEL_INFLUX_ORG"]
    assert Path(theirs["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE"]) == Path(ours["SENTINEL_INFLUX_TOKEN_FILE"])


def test_prometheus_asks_the_collector_with_its_token() -> None:
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    environment = SERVICES["collector"]["environment"]
    port = environment["SENTINEL_HTTP"].rpartition(":")[2]
    assert scrape["static_configs"] == [{"targets": [f"collector:{port}"]}]
    assert scrape["authorization"]["credentials_file"] == environment["SENTINEL_HTTP_TOKEN_FILE"]
    assert "http_token" in SERVICES["prometheus"]["secrets"]
