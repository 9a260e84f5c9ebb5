"""What settings are called: of today, of old, and in the environment.

A setting ``key`` of section ``[section]`` in the TOML file is ``SENTINEL_SECTION_KEY`` in the environment, and one of
``[venues.name]`` is ``SENTINEL_NAME_KEY``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from book.native import PURE
from feeds.catalogue import DEFAULT_EXCHANGE
from feeds.settings import Strict
from sentinel.config import Section, whole

ENVIRONMENT_PREFIX = "SENTINEL_"

NOT_SETTINGS = {"SENTINEL_CAPTURES", PURE}
"""Environment names of ours that are not settings: where the tests find recordings, and which code runs."""

SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$")
"""How names end that Kubernetes and Docker make up for a service called ``sentinel…``; no setting's name does."""

NEAR = 0.75
"""Of 1: a name so like a setting's is a misspelt one."""

VENUES_SECTION = "venues"

OLD_NAMES = {
    DEFAULT_EXCHANGE: f"venues.{DEFAULT_EXCHANGE}",
    "feeds.book": f"venues.{DEFAULT_EXCHANGE}.book",
    "feeds.trades": f"venues.{DEFAULT_EXCHANGE}.trades",
}
"""What sections and settings were called by version 0.1, which knew one venue: still read, with a warning."""

OLD_KEYS = [old for old in OLD_NAMES if "." in old]
"""Single settings. A section of a venue is called in the environment as it always was."""


def unknown_names(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of the environment that begin like a setting's and are not near one: other programs' business. And a line
    for each that is near: nobody else would say so, and a misspelt setting must not be lost.
    """
    known = [environment_name(key).removeprefix(ENVIRONMENT_PREFIX) for key in [*known_keys(), *OLD_KEYS]]
    ignored, misspelt = [], []
    for name in names:
        bare = name.removeprefix(ENVIRONMENT_PREFIX)
        if bare == name or bare in known or name in NOT_SETTINGS:
            continue
        near = [] if SERVICE_LINK.search(name) else difflib.get_close_matches(bare, known, n=1, cutoff=NEAR)
        if near:
            misspelt.append(f"unknown environment variable {name}; did you mean {ENVIRONMENT_PREFIX}{near[0]}?")
        else:
            ignored.append(name)
    return sorted(ignored), misspelt


def environment_name(key: str) -> str:
    """What ``section.key`` is called in the environment."""
    return ENVIRONMENT_PREFIX + key.removeprefix(f"{VENUES_SECTION}.").replace(".", "_").upper()


def venue_environment(exchange: str, urls: Mapping[str, str]) -> dict[str, str]:
    """Where a venue is, for the environment of a collector. ``urls`` are those of ``simulate``: of each feed by its
    short name, or by the exchange's if it has one feed, and of ``rest``."""
    keys = {name: "url" if name == exchange else f"{name}_url" for name in urls}
    return {environment_name(f"{VENUES_SECTION}.{exchange}.{key}"): urls[name] for name, key in keys.items()}


def known_names() -> list[str]:
    """Every environment name of a setting."""
    return [environment_name(key) for key in known_keys()]


def known_keys() -> list[str]:
    """Every setting as ``section.key``, or ``key`` outside a section."""
    return list(_keys(whole(), ""))


def _keys(model: type[Strict], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            yield from _keys(section, f"{prefix}{name}.")
        else:
            yield prefix + name
