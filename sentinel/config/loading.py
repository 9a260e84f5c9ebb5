"""Where settings come from, which one wins, and one clear line when one is wrong.

Precedence: flags > environment > ``.env`` > ``sentinel.toml`` > defaults.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from sentinel.command.near import suggestion
from sentinel.config import Config, is_file, whole
from sentinel.config.names import (
    ENVIRONMENT_PREFIX,
    NOT_SETTINGS,
    OLD_KEYS,
    OLD_NAMES,
    environment_name,
    known_keys,
    unknown_names,
)
from sentinel.config.secret_files import open_to_all
from sentinel.errors import UNREADABLE, UsageError, one_line

CONFIG_FILE = Path("sentinel.toml")
DOTENV_FILE = Path(".env")
ECOSYSTEM_NAMES = {"INFLUXDB_V2_URL": "url", "INFLUXDB_V2_TOKEN": "token", "INFLUXDB_V2_ORG": "org"}
"""Names that InfluxDB's own clients read; ours win over them."""


class WrongSettings(UsageError):
    """All the ``mistakes`` of a configuration; its text is the first, and how many more there are."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = [one_line(mistake) for mistake in mistakes]
        more = len(mistakes) - 1
        super().__init__(f"{mistakes[0]} (and {more} more); check-config lists all" if more else mistakes[0])


def load(
    flags: Mapping[str, Any],
    config_file: Path | None,
    environment: Mapping[str, str] = os.environ,
    warn: Callable[[str], object] = lambda text: sys.stderr.write(f"sentinel-ws: {text}\n"),
) -> Config:
    """Reads every source.

    ``flags`` is nested like the TOML file and holds only what was given. ``config_file`` must exist if it is named;
    by default ``sentinel.toml`` is read if it is there. ``warn`` is told in one line which names of the environment
    look like ours and are not, in another which names are old, and of each file with a secret that everybody can read.

    Raises:
        UsageError: one line that says which setting is wrong and why, without its value.
    """
    if config_file is not None and not is_file(config_file):
        raise UsageError(f"no such file: {config_file}")
    dotenv, file = _dotenv(), config_file or CONFIG_FILE
    ignored, misspelt = unknown_names([*environment, *dotenv])
    if ignored:
        warn(f"not settings, ignored: {', '.join(ignored)}")
    ecosystem = {key: environment[name] for name, key in ECOSYSTEM_NAMES.items() if environment.get(name)}
    renamed: dict[str, str] = {}
    merged: dict[str, Any] = {}
    files = {file: _renamed(_toml(file), renamed), DOTENV_FILE: _from_environment(dotenv, renamed)}
    for source in (
        *files.values(),
        {"influx": ecosystem} if ecosystem else {},
        _from_environment(environment, renamed),
        _renamed(flags, renamed),
    ):
        merged = _merged(merged, source)
    if renamed:
        warn(f"old names, still accepted: {', '.join(f'{old} is now {new}' for old, new in sorted(renamed.items()))}")
    try:
        config = whole().model_validate(merged)
    except ValidationError as error:
        explained = _explain(error, {new: old for old, new in renamed.items()})
        raise WrongSettings([*misspelt, *explained]) from error
    if misspelt:
        raise WrongSettings(misspelt)
    for path in open_to_all(config, files.items()):
        warn(f"everybody on this machine can read {path}, which holds a secret: chmod o-r {path}")
    return config


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The same for a process that is to have none of our settings."""
    return {
        name: value
        for name, value in environment.items()
        if name in NOT_SETTINGS or not (name.startswith(ENVIRONMENT_PREFIX) or name in ECOSYSTEM_NAMES)
    }


def _dotenv() -> dict[str, str | None]:
    try:
        return dotenv_values(DOTENV_FILE)
    except UNREADABLE as error:
        raise UsageError(f"{DOTENV_FILE}: {error}") from error
    except OSError as error:
        raise UsageError(f"{DOTENV_FILE}: {error.strerror}") from error


def _toml(path: Path) -> dict[str, Any]:
    if not is_file(path):
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UNREADABLE as error:
        raise UsageError(f"{path}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _renamed(given: Mapping[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    """Settings by their names of today; old names among them are added to ``renamed``. Those of today win."""
    rest, moved = _merged({}, given), dict[str, Any]()
    for old, new in OLD_NAMES.items():
        table, _, key = old.rpartition(".")
        holder = rest.get(table) if table else rest
        if isinstance(holder, dict) and key in holder:
            renamed[old] = new
            moved = _merged(moved, _nested(new, holder.pop(key)))
    return _merged(moved, rest)


def _from_environment(values: Mapping[str, str | None], renamed: dict[str, str]) -> dict[str, Any]:
    """The settings among names of the environment, whatever their case."""
    by_name = {environment_name(key): key for key in [*OLD_KEYS, *known_keys()]}
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = by_name.get(name.upper())
        if key is not None and value is not None:
            found = _merged(found, _nested(key, value))
    return _renamed(found, renamed)


def _nested(key: str, value: object) -> dict[str, Any]:
    name, _, rest = key.partition(".")
    return {name: _nested(rest, value) if rest else value}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, key by key; what is ``above`` wins."""
    merged = dict(below)
    for key, value in above.items():
        beneath = merged.get(key)
        if isinstance(value, Mapping):
            value = _merged(beneath if isinstance(beneath, Mapping) else {}, value)
        merged[key] = value
    return merged


def _names() -> list[str]:
    """Every setting and every section, such as ``venues`` and ``venues.kraken``."""
    parts = [key.split(".") for key in known_keys()]
    return list(dict.fromkeys(".".join(key[:length]) for key in parts for length in range(1, len(key) + 1)))


def _explain(error: ValidationError, given_as: Mapping[str, str]) -> list[str]:
    """A line for each thing that is wrong. Never the value: it may be a secret.

    ``given_as`` are the old names of settings that bear a new one.
    """
    lines = []
    for detail in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in detail["loc"] if isinstance(part, str))
        if detail["type"] == "extra_forbidden":
            lines.append(f"unknown setting {key}{suggestion(key, _names())}")
        else:
            reason = detail["msg"].removeprefix("Value error, ")
            key = f"{key} (given as {given_as[key]})" if key in given_as else key
            lines.append(f"{key}: {reason}" if key else reason)
    return list(dict.fromkeys(lines))
