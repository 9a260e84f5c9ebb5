"""The example files and the table are those of the model, and every setting says what is wrong with a wrong value."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sentinel.config import Config
from sentinel.config.documents import TABLE_FILE, Setting, as_dotenv, as_toml, settings, with_table
from sentinel.config.loading import load
from sentinel.errors import UsageError
from tests import ROOT

ALL = list(settings())
BY_KEY = {setting.key: setting for setting in ALL}
TEXTS = {
    "cluster.user",
    "data_dir",
    "influx.org",
    "influx.bucket_trades",
    "influx.bucket_book",
    "venues.coinbase.advanced_key_name",
}
"""Anything goes, on its own. What must be printable, complete or a file that is there is tried with the rest."""


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory and none of our variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("SENTINEL_", "INFLUXDB_")) and name != "SENTINEL_CAPTURES":
            monkeypatch.delenv(name)
    return tmp_path


def test_the_files_are_those_of_the_model() -> None:
    assert (ROOT / "sentinel.example.toml").read_text() == as_toml()
    assert (ROOT / ".env.example").read_text() == as_dotenv()
    page = (ROOT / TABLE_FILE).read_text()
    assert page == with_table(page)


def test_every_setting_is_explained() -> None:
    assert [setting.key for setting in ALL if not setting.meaning.endswith(".")] == []


def test_the_examples_change_nothing_as_they_are(nowhere: Path) -> None:
    default = load({}, None).model_dump()
    (nowhere / "sentinel.toml").write_text(as_toml())
    (nowhere / ".env").write_text(as_dotenv())
    assert load({}, None).model_dump() == default


def _taken_off(text: str, name_of: str) -> str:
    """The example with the # off every setting that has a default."""
    section = ""
    lines = []
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        found = re.match(r"# (\w+) ?=", line)
        names = {getattr(setting, name_of): setting for setting in ALL}
        setting = names.get((section if name_of == "key" else "") + found[1]) if found else None
        lines.append(line.removeprefix("# ") if setting is not None and setting.default is not None else line)
    return "\n".join(lines) + "\n"


def test_the_example_in_toml_is_the_default(nowhere: Path) -> None:
    default = load({}, None).model_dump()
    text = _taken_off(as_toml(), "key")
    assert sum(re.match(r"\w+ =", line) is not None for line in text.splitlines()) > 30
    (nowhere / "sentinel.toml").write_text(text)
    assert load({}, None).model_dump() == default


def test_the_example_for_the_environment_is_the_default(nowhere: Path) -> None:
    default = load({}, None).model_dump()
    text = _taken_off(as_dotenv(), "environment_name")
    assert text.count("\nSENTINEL_") > 30
    (nowhere / ".env").write_text(text)
    assert load({}, None).model_dump() == default


@pytest.mark.parametrize("key", [setting.key for setting in ALL if setting.key not in TEXTS and not setting.is_secret])
def test_a_wrong_value_is_named_in_one_line(nowhere: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(BY_KEY[key].environment_name, "no such thing")
    with pytest.raises(UsageError) as caught:
        load({}, None)
    said = str(caught.value)
    assert "\n" not in said
    assert key.rpartition(".")[2].removesuffix("_file").removeprefix("exchange_") in said


@pytest.mark.parametrize("setting", [setting for setting in ALL if setting.is_secret], ids=lambda setting: setting.key)
def test_a_secret_is_never_shown(nowhere: Path, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    monkeypatch.setenv(setting.environment_name, "s3cret")
    monkeypatch.setenv("SENTINEL_LOG_LEVEL", "nonsense")
    with pytest.raises(UsageError) as caught:
        load({}, None)
    assert "s3cret" not in str(caught.value)
    monkeypatch.delenv("SENTINEL_LOG_LEVEL")
    try:
        config: object = load({}, None)
    except UsageError as error:
        config = error
    assert "s3cret" not in repr(config)


def test_sections_come_after_what_stands_outside_them() -> None:
    keys = list(BY_KEY)
    assert keys[0] == "products"
    assert len(keys) == len({setting.environment_name for setting in ALL})
    assert {key.partition(".")[0] for key in keys} <= set(Config.model_fields)
