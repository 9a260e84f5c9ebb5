"""Whose accounts a data directory holds.

A collector's gaps and coverage are told apart by its name. It is the host's only at the first start: a container that
is made anew on the same data has another host name, and the accounts of the old one would stay open for ever.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from loguru import logger

from feeds.market import Market
from sentinel.config import COLLECTOR, Config
from sentinel.disk.data_dir import COLLECTOR_NAME
from sentinel.disk.files import make_folder, replacing
from sentinel.errors import UsageError
from sentinel.pipeline.product import ProductState


def settle(config: Config, states: Mapping[Market, ProductState]) -> Config:
    """The configuration with the name that is in force in its data directory, where it is kept from now on.

    A name that is configured wins; else it is the directory's, else that of the accounts that are under way in
    ``states``, as older versions left them, else the host's.

    Raises:
        UsageError: if the name cannot be read.
    """
    path = config.data_dir / COLLECTOR_NAME
    kept = _read(path)
    config = with_name(config, kept or _of_accounts(config, states) or config.collector)
    if config.collector != kept:
        try:
            make_folder(path.parent)
            with replacing(path) as new:
                new.write_text(f"{config.collector}\n")
        except OSError as error:
            logger.bind(reason=str(error)).error("collector_not_named")
    return config


def with_name(config: Config, name: str) -> Config:
    """The configuration with this name, unless one is configured."""
    return config if "collector" in config.model_fields_set else config.model_copy(update={"collector": name})


def _read(path: Path) -> str | None:
    """None if there is none yet."""
    try:
        name = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the collector's name in {path}: {error}") from error
    if not re.fullmatch(COLLECTOR, name):
        raise UsageError(f"{path} does not hold the name of a collector")
    return name


def _of_accounts(config: Config, states: Mapping[Market, ProductState]) -> str | None:
    """The name of most products, those first that are collected on."""
    collected = [states[market] for market in config.markets if market in states]
    names = Counter(state.collector for state in collected or states.values())
    return names.most_common(1)[0][0] if names else None
