"""SIGHUP: the configuration is read again, and what can be changed without a restart is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loguru import logger

from sentinel.config import Config
from sentinel.config.names import known_keys
from sentinel.errors import UsageError
from sentinel.timing.loops import on_signal


def is_safe(key: str) -> bool:
    """Whether a running collector can take over this setting."""
    return key == "log_level" or key.startswith("alerts.")


class Reload:
    """``read`` gives the configuration as it is now, ``apply`` takes over the safe part of one."""

    def __init__(self, config: Config, read: Callable[[], Config], apply: Callable[[Config], None]) -> None:
        self._config = config
        self._read = read
        self._apply = apply
        self._is_asked = asyncio.Event()

    async def run(self) -> None:
        """Reads again at each SIGHUP, until cancelled."""
        deafen = on_signal("SIGHUP", self._is_asked.set)
        try:
            while True:
                await self._is_asked.wait()
                self._is_asked.clear()
                self.reload()
        finally:
            deafen()

    def reload(self) -> None:
        """A mistake changes nothing. What needs a restart is named each time, until there was one."""
        try:
            config = self._read()
        except UsageError as error:
            logger.bind(reason=str(error)).error("reload_failed")
            return
        changed = [key for key in known_keys() if _value(config, key) != _value(self._config, key)]
        unsafe = [key for key in changed if not is_safe(key)]
        self._apply(config)
        if unsafe:
            logger.bind(needs_restart=", ".join(unsafe)).warning("reload_incomplete")
        logger.info("reloaded")


def _value(config: Config, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value
