"""The Kubernetes example: one StatefulSet that could be a pair, and nothing it refers to is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.config.loading import load
from sentinel.config.names import known_names
from tests import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
OBJECTS: dict[str, dict[str, Any]] = {
    found["kind"]: found for found in yaml.safe_load_all((FOLDER / "sentinel-ws.yaml").read_text())
}
SET = OBJECTS["StatefulSet"]["spec"]
POD = SET["template"]["spec"]
(COLLECTOR,) = POD["containers"]


@pytest.mark.parametrize("version", ["1.28", "1.32"])
def test_kubernetes_accepts_it(version: str) -> None:
    """By the schemas of two versions, one of them old; nothing misspelt either."""
    command = [Path(sys.executable).parent / "kubernetes-validate", "--strict", "--kubernetes-version", version]
    manifest = FOLDER / "sentinel-ws.yaml"
    judged = subprocess.run([*command, manifest], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert (judged.stdout + judged.stderr).count("passed") == len(OBJECTS)


def test_labels_and_names_meet() -> None:
    labels = SET["template"]["metadata"]["labels"]
    assert SET["selector"]["matchLabels"] == OBJECTS["Service"]["spec"]["selector"] == labels
    assert SET["serviceName"] == OBJECTS["Service"]["metadata"]["name"]
    assert OBJECTS["Service"]["spec"]["ports"][0]["targetPort"] == COLLECTOR["ports"][0]["name"]
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert kustomization["namespace"] == OBJECTS["Namespace"]["metadata"]["name"]
    assert kustomization["images"][0]["name"] == COLLECTOR["image"]


def test_everything_mounted_is_a_volume() -> None:
    volumes = {volume["name"] for volume in POD["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in SET["volumeClaimTemplates"]}
    assert {mount["name"] for mount in COLLECTOR["volumeMounts"]} == volumes


def test_it_runs_without_rights() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    assert POD["enableServiceLinks"] is False
    assert COLLECTOR["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["terminationGracePeriodSeconds"] > 10


def test_the_two_of_a_pair_keep_their_accounts_apart() -> None:
    environment = {variable["name"]: variable for variable in COLLECTOR["env"]}
    assert environment["SENTINEL_COLLECTOR"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert set(environment) <= set(known_names())


def test_its_configuration_can_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "influx_token"
    secret.write_text("a token")
    text = OBJECTS["ConfigMap"]["data"]["sentinel.toml"]
    assert "/run/secrets/sentinel-ws/influx_token" in text
    path = tmp_path / "sentinel.toml"
    path.write_text(text.replace("/run/secrets/sentinel-ws/influx_token", str(secret)))
    config = load({}, path, environment={})
    mounts = {mount["name"]: mount["mountPath"] for mount in COLLECTOR["volumeMounts"]}
    assert str(config.data_dir) == mounts["data"]
    assert COLLECTOR["args"] == ["collect", "--config", f"{mounts['config']}/sentinel.toml"]
