"""What a setting holds that nobody else may know: never empty, never in an address, and kept in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from sentinel.config import bare_types, is_secret_file, whole
from sentinel.config.documents import Setting, settings
from sentinel.config.loading import load
from sentinel.errors import UsageError
from tests.sentinel.config.test_documents import nowhere

__all__ = ["nowhere"]

ALL = list(settings())
SECRETS = [setting for setting in ALL if setting.is_secret]
ADDRESSES = [setting for setting in ALL if setting.key.endswith("url") and not setting.is_secret]
FILES = {f"{setting.key}_file" for setting in SECRETS} | {"cluster.nkey_file", "cluster.creds_file", "cluster.key_file"}
PLANTED = "pl4nted"
COMPANIONS: dict[str, dict[str, object]] = {
    "report.smtp_password": {"smtp_user": "u"},
    "cluster.password": {"user": "u"},
    "cluster.key": {"cert_file": "secret"},
    "venues.coinbase.advanced_private_key": {"advanced_key_name": "k"},
    "venues.coinbase.exchange_passphrase": {"exchange_key": "k", "exchange_secret": "x"},
    "venues.coinbase.exchange_secret": {"exchange_key": "k", "exchange_passphrase": "x"},
}
"""What belongs to a secret, for it to be accepted."""


def flags_of(key: str, value: object) -> dict[str, object]:
    section, _, name = key.rpartition(".")
    flags: dict[str, object] = {name: value, **COMPANIONS.get(key.removesuffix("_file"), {})}
    for part in reversed(section.split(".") if section else []):
        flags = {part: flags}
    return flags


def test_every_secret_can_come_from_a_file() -> None:
    """`alerts.webhook_url` could not, and was shown."""
    assert {"alerts.webhook_url", "report.webhook_url", "influx.token", "http_token"} <= {one.key for one in SECRETS}
    assert {f"{setting.key}_file" for setting in SECRETS} <= {setting.key for setting in ALL}


@pytest.mark.parametrize("content", ["", " \n"])
@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.key)
def test_an_empty_secret_is_none(nowhere: Path, setting: Setting, content: str) -> None:
    """With an empty `http_token`, as of a variable that nobody filled, 0.0.0.0 was served to everybody."""
    (nowhere / "empty").write_text(content)
    for key, value in ((setting.key, content), (f"{setting.key}_file", "empty")):
        with pytest.raises(UsageError) as caught:
            load({"http": "0.0.0.0:8080", **flags_of(key, value)}, None)
        reason = "is not a http" if "url" in key else f"{key.rpartition('.')[2]} is empty"
        assert reason in str(caught.value)


@pytest.mark.parametrize("setting", ADDRESSES, ids=lambda setting: setting.key)
def test_an_address_has_no_password_in_it(nowhere: Path, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    """Addresses are in logs, errors and the status; a password in one was, too."""
    name = setting.environment_name
    for scheme in ("https", "wss", "s3"):
        monkeypatch.setenv(name, f"{scheme}://user:{PLANTED}@127.0.0.1:1/path")
        with pytest.raises(UsageError) as caught:
            load({}, None)
        assert PLANTED not in str(caught.value)


def test_a_webhook_may_have_whatever_lets_us_in(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"https://user:{quote('p@ss')}@hooks.example.com/{PLANTED}"
    (nowhere / "hook").write_text(f"{url}\n")
    Path("hook").chmod(0o600)
    monkeypatch.setenv("SENTINEL_ALERTS_WEBHOOK_URL_FILE", "hook")
    config = load({}, None)
    assert config.alerts.webhook_url is not None
    assert config.alerts.webhook_url.get_secret_value() == url
    assert PLANTED not in repr(config) + config.model_dump_json()


def test_which_files_hold_secrets_is_known_by_their_settings() -> None:
    model = whole()
    found = set()
    for setting in ALL:
        section: object = model
        *path, name = setting.key.split(".")
        for part in path:
            (section,) = bare_types(section.model_fields[part].annotation)  # type: ignore[attr-defined]
        if is_secret_file(section, name):  # type: ignore[arg-type]
            found.add(setting.key)
    assert found == FILES


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("key", sorted(FILES))
def test_a_secret_that_everybody_on_the_machine_can_read_is_told(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    content = "https://hooks.example.com/x" if "webhook" in key else PLANTED
    (nowhere / "secret").write_text(content)
    shut: list[Path] = []
    monkeypatch.setattr("sentinel.config.secret_files._lets_in", lambda folder: folder not in shut)
    flags = flags_of(key, "secret")
    told: list[str] = []
    Path("secret").chmod(0o644)
    load(flags, None, warn=told.append)
    assert told == ["everybody on this machine can read secret, which holds a secret: chmod o-r secret"]
    for mode in (0o640, 0o600):
        Path("secret").chmod(mode)
        load(flags, None, warn=told.append)
    shut.append(nowhere)
    Path("secret").chmod(0o644)
    load(flags, None, warn=told.append)
    assert len(told) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sentinel.toml", '[venues.coinbase]\nadvanced_key_name = "k"\nadvanced_private_key = "x"\n'),
        ("sentinel.toml", 'http_token = "x"\n'),
        (".env", "SENTINEL_INFLUX_TOKEN=x\n"),
    ],
)
def test_settings_with_a_secret_among_them_are_a_secret(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str
) -> None:
    monkeypatch.setattr("sentinel.config.secret_files._lets_in", lambda folder: True)
    told: list[str] = []
    (nowhere / file).write_text(text)
    (nowhere / file).chmod(0o644)
    load({}, None, warn=told.append)
    assert told == [f"everybody on this machine can read {file}, which holds a secret: chmod o-r {file}"]
    (nowhere / file).chmod(0o600)
    load({}, None, warn=told.append)
    (nowhere / file).write_text("collector = 'c'\n" if file == "sentinel.toml" else "SENTINEL_COLLECTOR=c\n")
    (nowhere / file).chmod(0o644)
    load({}, None, warn=told.append)
    assert len(told) == 1
