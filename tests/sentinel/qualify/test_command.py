"""What a person can do wrong is one line, and nothing of the machine is in what is published."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from sentinel.cli import cli
from sentinel.config import Config, whole
from sentinel.errors import UsageError
from sentinel.qualify import state
from sentinel.qualify.claims import judge
from sentinel.qualify.command import qualify
from sentinel.qualify.evidence import as_json, sealed
from sentinel.qualify.session import Asked, begin, commit_of, environment, settings, tell
from sentinel.qualify.state import SessionState
from tests.sentinel.qualify.made import H, found, known


def config(**changed: object) -> Config:
    return whole().model_validate({"products": ("BTC-USD", "kraken:BTC/USD")} | changed)


def asked(output: Path, *products: str, resume: bool = False, duration_s: float | None = None) -> state.Known:
    return begin(Asked(products, duration_s, output, None, None, None, is_resumed=resume, with_replay=True))


def test_a_product_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.UsageError, match="no product to collect"):
        asked(tmp_path)


def test_it_begins_in_an_empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begun = asked(tmp_path, "BTC-USD")
    assert (begun.asked_s, begun.data_dir) == (72 * 3600, str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "journal.sqlite3").touch()
    with pytest.raises(UsageError, match="has data already"):
        asked(tmp_path, "BTC-USD")
    state.save(known(), tmp_path)
    with pytest.raises(UsageError, match="--resume goes on with it"):
        asked(tmp_path, "BTC-USD")


def test_what_is_resumed_must_be_there_and_be_the_same(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no qualification in"):
        asked(tmp_path, resume=True)
    (tmp_path / "state.json").write_text('{"version": "x"}')
    with pytest.raises(UsageError, match="cannot be read"):
        asked(tmp_path, resume=True)
    state.save(known(version=99), tmp_path)
    with pytest.raises(UsageError, match="another version"):
        asked(tmp_path, resume=True)
    state.save(known(asked_s=7200.0, sessions=[SessionState(0, H)]), tmp_path)
    with pytest.raises(UsageError, match="is of BTC-USD"):
        asked(tmp_path, "ETH-USD", resume=True)
    assert asked(tmp_path, "BTC-USD", resume=True).asked_s == 7200
    assert asked(tmp_path, resume=True, duration_s=9000.0).asked_s == 9000
    state.save(known(asked_s=7200.0, data_dir="elsewhere"), tmp_path)
    assert asked(tmp_path, resume=True).data_dir == "elsewhere"
    state.save(known(asked_s=7200.0, sessions=[SessionState(0, H)]), tmp_path)
    with pytest.raises(UsageError, match="is complete: 1 h 0 m were collected"):
        asked(tmp_path, resume=True, duration_s=3600.0)


def test_a_session_with_another_version_or_other_settings_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state.save(asked(tmp_path, "BTC-USD"), tmp_path)
    assert asked(tmp_path, resume=True).notes == []
    monkeypatch.setenv("SENTINEL_BOOK_CADENCE_MS", "500")
    assert asked(tmp_path, resume=True).notes == ["A later session had other settings than those shown."]
    monkeypatch.delenv("SENTINEL_BOOK_CADENCE_MS")
    monkeypatch.setenv("SENTINEL_COINBASE_REST_URL", "http://127.0.0.1:1")
    ran, addresses = asked(tmp_path, resume=True).notes
    assert ran.startswith("A later session ran sentinel-ws")
    assert addresses == "A later session asked the venues at other addresses."


def test_a_cluster_is_not_qualified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENTINEL_CLUSTER_SERVERS", "nats://127.0.0.1:4222")
    with pytest.raises(UsageError, match="of one collector"):
        asked(tmp_path, "BTC-USD")


def test_nothing_of_the_machine_is_published() -> None:
    secret = {
        "url": "https://influx.example",
        "token": "planted",
        "org": "desk",
        "bucket_book": "b",
        "bucket_trades": "t",
    }
    given = config(collector="planted", data_dir="/planted", http="127.0.0.1:1", http_token="planted", influx=secret)
    text = json.dumps(settings(given)) + msgspec.json.encode(environment(given)).decode()
    for planted in ("planted", "influx.example", "desk", "127.0.0.1", str(Path(__file__).parent)):
        assert planted not in text
    assert settings(given)["venues"]["coinbase"]["book"] == "coinbase_advanced"
    assert settings(given)["products"] == ["BTC-USD", "kraken:BTC/USD"]


def test_another_address_than_the_venues_own_is_told() -> None:
    given = config(venues={"kraken": {"url": "ws://127.0.0.1:1"}})
    assert {venue.exchange: venue.is_own for venue in environment(given).venues} == {"coinbase": True, "kraken": False}
    given = config(venues={"coinbase": {"rest_url": "http://127.0.0.1:1"}})
    assert {venue.exchange: venue.is_own for venue in environment(given).venues} == {"coinbase": False, "kraken": True}


def test_the_outcome_has_a_line_for_each_claim_whatever_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    claims = judge(found(), known())
    tell(replace(found(), claims=claims), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1 : 1 + len(claims)] == [f"{claim.verdict:>10}  {claim.says}: {claim.found}" for claim in claims]


def test_only_the_digest_is_checked_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "any.json"
    path.write_bytes(as_json(sealed(found())))
    done = CliRunner().invoke(cli, ["qualify", "--check", str(path)])
    assert (done.exit_code, "unchanged" in done.output) == (0, True)
    path.write_text("[]")
    done = CliRunner().invoke(qualify, ["--check", str(path)])
    assert isinstance(done.exception, UsageError)


def test_what_is_installed_below_a_repository_of_somebody_has_no_commit_of_it(tmp_path: Path) -> None:
    ours, installed = tmp_path / "ours.py", tmp_path / ".venv" / "ours.py"
    installed.parent.mkdir()
    for path in (ours, installed):
        path.touch()
    assert commit_of(ours) is None
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for arguments in (["init", "--quiet"], ["add", "ours.py"], [*who, "commit", "--quiet", "--message", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    assert commit_of(ours)
    assert commit_of(installed) is None
