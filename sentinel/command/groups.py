"""The groups of the command line: their commands are imported when they are used, and their help fits any terminal."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import click

MOST_COLUMNS = 100
"""Lines of help that are longer are hard to read."""

LEAST_COLUMNS = 20
FIRST_COLUMN = 30


class Formatter(click.HelpFormatter):
    """Help that is no wider than the terminal, however narrow: click itself takes 50 columns at least."""

    def __init__(self, *_: Any, **__: Any) -> None:
        columns = shutil.get_terminal_size().columns or 80
        super().__init__(width=max(LEAST_COLUMNS, min(columns, MOST_COLUMNS) - 2))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = FIRST_COLUMN, col_spacing: int = 2) -> None:
        narrow = max(10, min(col_max, self.width // 3))
        room = self.width - self.current_indent
        super().write_dl([(_broken(first, room), second) for first, second in rows], narrow, col_spacing)


def _broken(names: str, room: int) -> str:
    """The names of an option on several lines, if they are too long for one."""
    lines = [""]
    for part in names.replace("|", "|\0").replace(" ", " \0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > room:
            lines.append("    ")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


class Context(click.Context):
    """That of every command."""

    formatter_class = Formatter


class CommandGroup(click.Group):
    """A group whose list says of each command the whole first sentence of its help."""

    context_class = Context

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.context_class = Context
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our stdout has left, as `| head` does; click would call it a failure
            raise click.exceptions.Exit(0) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        found = [(name, command) for name in names if (command := self.get_command(ctx, name)) and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=1000)) for name, command in found])


class LazyGroup(CommandGroup):
    """A group with further commands in modules of their own, each spelled ``module:name``, imported when they are used.

    ``declared`` may give a command, by its name and what loads it, that shows help without that; None if it knows none.
    """

    def __init__(
        self,
        *args: Any,
        elsewhere: Mapping[str, str],
        declared: Callable[[str, Callable[[], click.Command]], click.Command | None] = lambda name, load: None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.elsewhere = elsewhere
        self._declared = declared

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.elsewhere})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in self.elsewhere:
            load = partial(self.load, cmd_name)
            self.add_command(self._declared(cmd_name, load) or load(), cmd_name)
        return super().get_command(ctx, cmd_name)

    def load(self, name: str) -> click.Command:
        """The command itself, imported."""
        module, attribute = self.elsewhere[name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        command.context_class = Context
        return command
