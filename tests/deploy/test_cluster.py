"""The deployments of a cluster: by the schemas of their kinds, NATS's own check of its configuration, and the tree."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.cluster.member import LEAVE_S
from sentinel.config.loading import load
from sentinel.config.names import known_names
from tests import ROOT
from tests.servers.nats import SERVER, nats_servers

BIN = Path(sys.executable).parent
FOLDER = ROOT / "deploy" / "cluster"
KUBERNETES = ROOT / "deploy" / "kubernetes" / "cluster"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image", "").startswith("sentinel-ws")}
NATS = {name: service for name, service in SERVICES.items() if service.get("image", "").startswith("nats")}
MANIFESTS = sorted(KUBERNETES.glob("[!k]*.yaml"))
OBJECTS: list[dict[str, Any]] = [found for file in MANIFESTS for found in yaml.safe_load_all(file.read_text())]
SETS = {found["metadata"]["name"]: found["spec"] for found in OBJECTS if found["kind"] == "StatefulSet"}
NATS_CONF: str = next(
    found["data"]["nats.conf"] for found in OBJECTS if found["kind"] == "ConfigMap" and "nats.conf" in found["data"]
)
FLUSH_S = 10
"""What any of ours takes to end, once a member has handed over what it had."""


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def check(folder: Path, conf: str, users: Path, name: str) -> None:
    """What the server itself says of a configuration, at the place where it would find its include."""
    etc = folder / "etc" / "nats"
    etc.mkdir(parents=True)
    (etc / "nats.conf").write_text(conf.replace("store_dir: /data", f"store_dir: {folder}/data"))
    include = re.findall(r"^include (\S+)$", conf, re.MULTILINE)[0]
    place = (etc / include).resolve()
    place.parent.mkdir(parents=True)
    place.write_text(users.read_text())
    judged = subprocess.run(
        [SERVER, "-t", "-c", etc / "nats.conf"],
        env={**os.environ, "NATS_NAME": name, "POD_NAME": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stderr


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script makes, in a copy of the tree; a second run changes nothing."""
    deploy = tmp_path_factory.mktemp("tree") / "deploy"
    for name in ("make-secrets.sh", "cluster/make-secrets.sh"):
        (deploy / name).parent.mkdir(parents=True, exist_ok=True)
        (deploy / name).write_text((ROOT / "deploy" / name).read_text())
        (deploy / name).chmod(0o755)
    folder = deploy / "secrets"
    folder.mkdir()
    subprocess.run([deploy / "cluster" / "make-secrets.sh"], check=True)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    subprocess.run([deploy / "cluster" / "make-secrets.sh"], check=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
    return folder


# compose


def test_compose_is_what_the_specification_allows() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml"]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_there_are_three_servers_three_collectors_and_two_workers_of_each_kind() -> None:
    assert len(NATS) == 3
    commands = [tuple(service["command"][:2]) for service in OURS.values()]
    assert commands.count(("deliver", "influx")) == commands.count(("deliver", "archive")) == 2
    collectors = [service for service in OURS.values() if service["command"][0] == "collect"]
    assert len(collectors) == 3
    assert {tuple(service["command"]) for service in collectors} == {tuple(collectors[0]["command"])}, "all the same"
    assert collectors[0]["command"][-2:] == ["--replicas", "2"]


@pytest.mark.parametrize("name", sorted(OURS | NATS))
def test_each_is_pinned_local_and_without_rights(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":\d+\.\d+\.\d+(-alpine)?$", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    leaving_s = LEAVE_S if "collect" in service["command"] else 0
    assert seconds(service["stop_grace_period"]) > FLUSH_S + leaving_s


def test_volumes_are_each_services_own_but_for_the_archive() -> None:
    used = [volume.split(":")[0] for service in (OURS | NATS).values() for volume in service["volumes"]]
    named = [volume for volume in used if not volume.startswith("./")]
    assert set(named) | {"influxdb", "influxdb-config"} == set(COMPOSE["volumes"])
    assert {volume for volume in named if named.count(volume) > 1} == {"archive"}
    assert all((FOLDER / volume).is_file() for volume in used if volume.startswith("./"))


def test_ours_are_told_only_what_they_know_and_have_the_secrets_they_read() -> None:
    names = [service["environment"]["SENTINEL_COLLECTOR"] for service in OURS.values()]
    assert sorted(names) == sorted(OURS)
    servers = {f"nats://{name}:4222" for name in NATS}
    for service in OURS.values():
        environment = service["environment"]
        assert set(environment) <= set(known_names())
        assert set(environment["SENTINEL_CLUSTER_SERVERS"].split(",")) == servers
        read = {Path(value).name for value in environment.values() if str(value).startswith("/run/secrets/")}
        assert read == set(service["secrets"]) <= set(COMPOSE["secrets"])


def test_every_secret_is_made_by_the_script(secrets: Path) -> None:
    files = {(FOLDER / secret["file"]).resolve() for secret in COMPOSE["secrets"].values()}
    assert {file.parent for file in files} == {ROOT / "deploy" / "secrets"}
    made = {path.name for path in secrets.iterdir()}
    assert {file.name for file in files} <= made
    assert (secrets / "nats_password").read_text() in (secrets / "nats_users").read_text()


def test_the_settings_of_ours_can_be_read(secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for service in OURS.values():
        environment = {
            name: str(value).replace("/run/secrets", str(secrets)) for name, value in service["environment"].items()
        }
        config = load({}, None, environment)
        assert config.cluster.password is not None
        assert config.cluster.user == "sentinel"


def test_the_servers_accept_their_configuration(secrets: Path, tmp_path: Path) -> None:
    for name, service in NATS.items():
        assert service["environment"] == {"NATS_NAME": name}
        check(tmp_path / name, (FOLDER / "nats.conf").read_text(), secrets / "nats_users", name)


@pytest.mark.parametrize("conf", [(FOLDER / "nats.conf").read_text(), NATS_CONF], ids=["compose", "kubernetes"])
def test_the_servers_find_each_other_and_have_time_to_hand_over(conf: str) -> None:
    routes = re.findall(r"nats://([\w.-]+):6222", conf)
    lame_s = seconds(re.findall(r"lame_duck_duration: (\S+)", conf)[0])
    if conf == NATS_CONF:
        assert routes == [f"nats-{number}.nats" for number in range(SETS["nats"]["replicas"])]
        assert SETS["nats"]["template"]["spec"]["terminationGracePeriodSeconds"] > lame_s
    else:
        assert routes == sorted(NATS)
        assert all(seconds(service["stop_grace_period"]) > lame_s for service in NATS.values())


@pytest.mark.parametrize("conf", [(FOLDER / "nats.conf").read_text(), NATS_CONF], ids=["compose", "kubernetes"])
def test_what_the_servers_acknowledge_survives_a_power_cut(conf: str) -> None:
    assert re.search(r"^ +sync_interval: always", conf, re.MULTILINE)


def test_a_server_that_is_told_to_stop_ends_well(tmp_path: Path) -> None:
    """By the signal of compose, and by the command that a pod runs first; there are no clients to be sent away."""
    lame = "\n".join(re.findall(r"^lame_duck.*$", NATS_CONF, re.MULTILINE))
    signalled = {NATS["nats-1"]["stop_signal"]}
    hook = SETS["nats"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert signalled == {"SIGUSR2"}
    for way in ("compose", "kubernetes"):
        with nats_servers(tmp_path / way, extra=f'{lame}\npid_file: "{tmp_path / way}/nats.pid"') as servers:
            (server,) = servers.servers
            if way == "compose":
                os.kill(server.pid, signal.SIGUSR2)
            else:
                word = hook[2].replace("/tmp/nats.pid", f"{tmp_path / way}/nats.pid")
                subprocess.run([SERVER, hook[1], word], check=True)
            assert server.ended() == 0


# Kubernetes


@pytest.mark.parametrize("version", ["1.28", "1.32"])
def test_kubernetes_accepts_it(version: str) -> None:
    command = [BIN / "kubernetes-validate", "--strict", "--kubernetes-version", version, *MANIFESTS]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert (judged.stdout + judged.stderr).count("passed") == len(OBJECTS)


def test_the_kustomization_names_every_file_and_every_image() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [file.name for file in MANIFESTS]
    images = {container["image"] for spec in SETS.values() for container in spec["template"]["spec"]["containers"]}
    assert {image["name"] for image in kustomization["images"]} == images
    tags = {image["name"]: image["newTag"] for image in kustomization["images"]}
    assert f"nats:{tags['nats']}" == NATS["nats-1"]["image"]


@pytest.mark.parametrize("name", sorted(SETS))
def test_of_each_set_one_may_be_gone_and_no_two_share_a_machine(name: str) -> None:
    spec = SETS[name]
    mine = {"app.kubernetes.io/name": name}
    assert spec["replicas"] >= 2
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"] == mine
    budgets = {found["metadata"]["name"]: found["spec"] for found in OBJECTS if found["kind"] == "PodDisruptionBudget"}
    assert budgets[name] == {"maxUnavailable": 1, "selector": {"matchLabels": mine}}
    services = {found["metadata"]["name"]: found["spec"] for found in OBJECTS if found["kind"] == "Service"}
    assert services[spec["serviceName"]]["selector"] == mine
    assert services[spec["serviceName"]]["clusterIP"] == "None"
    apart = spec["template"]["spec"]["affinity"]["podAntiAffinity"]
    ((kind, (term,)),) = apart.items()
    assert kind.startswith("required") or name in ("sentinel-influx", "sentinel-archive")
    assert term.get("podAffinityTerm", term)["labelSelector"]["matchLabels"] == mine
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}


@pytest.mark.parametrize("name", sorted(SETS))
def test_everything_mounted_is_a_volume_and_nothing_has_rights(name: str) -> None:
    spec = SETS[name]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["terminationGracePeriodSeconds"] > FLUSH_S + (LEAVE_S if name == "sentinel-collector" else 0)
    if name.startswith("sentinel"):
        assert {variable["name"] for variable in container["env"] if variable["name"].startswith("SENTINEL")} <= set(
            known_names()
        )


def test_the_configuration_of_the_pods_can_be_read(secrets: Path, tmp_path: Path) -> None:
    (text,) = (found["data"]["sentinel.toml"] for found in OBJECTS if "sentinel.toml" in found.get("data", {}))
    path = tmp_path / "sentinel.toml"
    path.write_text(text.replace("/run/secrets/sentinel-ws", str(secrets)))
    config = load({}, path, environment={})
    assert config.cluster.servers == tuple(f"nats://nats-{number}.nats:4222" for number in range(3))
    assert config.cluster.replicas == 2
    for name in ("sentinel-collector", "sentinel-influx", "sentinel-archive"):
        (container,) = SETS[name]["template"]["spec"]["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert str(config.data_dir) == mounts["data"]
        assert container["args"][-2:] == ["--config", f"{mounts['config']}/sentinel.toml"]


def test_the_pods_servers_accept_their_configuration(secrets: Path, tmp_path: Path) -> None:
    check(tmp_path / "nats", NATS_CONF, secrets / "nats_users", "nats-0")
