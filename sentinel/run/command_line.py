"""What commands have in common: groups whose commands are imported when they are used, and options of more than one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sentinel.errors import UsageError
from sentinel.timing.instants import parse_duration_s


class LazyGroup(click.Group):
    """A group with further commands in modules of their own, each spelled ``module:name``."""

    def __init__(self, *args: Any, elsewhere: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._elsewhere = elsewhere

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self._elsewhere])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._elsewhere:
            return super().get_command(ctx, cmd_name)
        module, name = self._elsewhere[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


class Duration(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 knows no ParamType[…]
    """``30s``, ``5m``, ``48h``, ``2d``, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration_s(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Instead of ./sentinel.toml."
)
