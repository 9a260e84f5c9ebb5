"""What each command is called and takes, known without importing what it runs: for ``--help`` and completion.

``declared.json`` beside this file says it. It is made of the commands themselves, and a test holds it against them::

    python -m tests.sentinel.command.declare        # makes it anew
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import click

from sentinel.command.groups import CommandGroup, Context, LazyGroup

FILE = Path(__file__).with_name("declared.json")
HELP = frozenset({"-h", "--help"})

Load = Callable[[], click.Command]
Described = dict[str, Any]


class Command(click.Command):
    """A command that is imported by ``load`` once it is to do anything but show its help or complete a word."""

    def __init__(self, *args: Any, load: Load, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load = load

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if extra.get("resilient_parsing"):
            return super().make_context(info_name, args, parent, **extra)
        if HELP.intersection(args):
            super().make_context(info_name, list(args), parent, **extra)  # ends here, unless it was an option's value
        return self._load().make_context(info_name, args, parent, **extra)


class Option(click.Option):
    """An option whose help is as it was written down."""

    def __init__(self, *args: Any, record: tuple[str, str] | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._record = record

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        return self._record


def known(name: str, load: Load) -> click.Command | None:
    """The command of this name, if it was written down, to be imported by ``load``."""
    described = _all().get(name)
    return None if described is None else command(name, described, load)


@cache
def _all() -> dict[str, Described]:
    return cast("dict[str, Described]", json.loads(FILE.read_text(encoding="utf-8")))


def command(name: str, described: Described, load: Load) -> click.Command:
    """One that shows the help that was written down, and is ``load()`` when it is run."""
    common: dict[str, Any] = {
        "help": described["help"],
        "short_help": described["short_help"],
        "params": [_parameter(**one) for one in described["parameters"]],
        "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True},  # names that no help shows
    }
    if "commands" not in described:
        return Command(name, load=load, **common)

    def of_group(child: str) -> Load:
        return lambda: _child(load(), child)

    children = {child: command(child, more, of_group(child)) for child, more in described["commands"].items()}
    return CommandGroup(name, commands=children, **common | {"context_settings": {}})


def _child(group: click.Command, name: str) -> click.Command:
    assert isinstance(group, click.Group)
    found = group.get_command(Context(group), name)
    assert found is not None
    return found


def _parameter(
    *, choices: list[str] | None = None, is_path: bool = False, record: list[str] | None = None, **given: Any
) -> click.Parameter:
    kind = click.Choice(choices) if choices else click.Path() if is_path else None
    names = given.pop("names")
    if "metavar" in given:
        return click.Argument(names, type=kind, required=False, **given)
    return Option(names, type=kind, record=cast("tuple[str, str] | None", record and tuple(record)), **given)


def describe(real: click.Command, context: click.Context) -> Described:
    """What ``command`` needs to know of a command."""
    described: Described = {
        "help": real.help,
        "short_help": real.short_help,
        "parameters": [_described(one, context) for one in real.params],
    }
    if isinstance(real, click.Group):
        found = ((name, real.get_command(context, name)) for name in real.list_commands(context))
        described["commands"] = {
            name: describe(child, Context(child, info_name=name, parent=context)) for name, child in found if child
        }
    return described


def _described(parameter: click.Parameter, context: click.Context) -> Described:
    kind = parameter.type
    described: Described = {
        "choices": list(kind.choices) if isinstance(kind, click.Choice) else None,
        "is_path": isinstance(kind, click.Path),
    }
    if isinstance(parameter, click.Argument):
        described |= {"names": [parameter.name], "nargs": parameter.nargs, "metavar": parameter.make_metavar(context)}
    elif isinstance(parameter, click.Option):
        opposites = parameter.secondary_opts
        described |= {
            "names": ["/".join([name, *opposites]) for name in parameter.opts],
            "is_flag": parameter.is_flag,
            "multiple": parameter.multiple,
            "hidden": parameter.hidden,
            "record": parameter.get_help_record(context),
        }
    return {name: value for name, value in described.items() if value}


def all_described(cli: LazyGroup) -> Mapping[str, Described]:
    """Every command that is not imported with the command line itself."""
    top = Context(cli, info_name="sentinel-ws")
    return {
        name: describe(real, Context(real, info_name=name, parent=top))
        for name in sorted(cli.elsewhere)
        if (real := cli.load(name))
    }
