"""Any arguments end a command with a documented status and, where it is not well, a line or two that say why."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

from sentinel.cli import cli
from sentinel.run import collect, supervisor
from tests.fuzz import commands
from tests.fuzz.golden import SINCE, UNTIL, unpacked
from tests.fuzz.mutation import odd_text
from tests.fuzz.surfaces import Case

TRIED = (
    "collect",
    "check-config",
    "gap-report",
    "export",
    "verify",
    "sql",
    "dataset",
    "replay",
    "plot",
    "capabilities",
    "archive",
    "certify",
    "tape-from",
)
"""Those that need nobody else. ``collect`` ends where it would begin."""

PARSED = (
    "simulate",
    "deliver",
    "backfill",
    "status",
    "top",
    "alerts",
    "buckets",
    "audit",
    "cluster",
    "qualify",
    "products",
)
"""Those that would wait for others: their arguments are taken, and no more."""

USUAL = [
    "data",
    SINCE,
    UNTIL,
    "24h",
    "now",
    "BTC-USD",
    "ETH-USD",
    "coinbase",
    "trades",
    "top",
    "json",
    "csv",
    "10",
    "0",
    "x.json",
    "127.0.0.1:0",
]


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    unpacked(folder)
    with chdir(folder), patch.object(collect, "collect", _nothing), patch.object(supervisor, "supervise", _nothing):
        yield partial(_case, folder)


def _nothing(*_: Any, **__: Any) -> None:
    """Where the work would begin."""


def _case(folder: Path, rng: random.Random) -> str:
    name = rng.choice([*TRIED, *PARSED])
    command, words = _command(rng, name)
    arguments = [*words, *_arguments(rng, command)]
    if name in PARSED:
        _parse(command, arguments[len(words) :])
        return name
    if not any(argument.startswith("--data-dir") for argument in arguments) and rng.random() < 0.7:
        arguments += ["--data-dir", "data"]
    status, told = commands.run(arguments)
    assert status != 1 or name in ("archive", "certify", "verify"), told
    commands.hold(status, told)
    return name


def _command(rng: random.Random, name: str) -> tuple[click.Command, list[str]]:
    context = click.Context(cli)
    command, words = cli.get_command(context, name), [name]
    assert command is not None
    while isinstance(command, click.Group):
        word = rng.choice(command.list_commands(context))
        words.append(word)
        command = command.get_command(context, word)
        assert command is not None
    return command, words


def _arguments(rng: random.Random, command: click.Command) -> list[str]:
    options = [each for each in command.params if isinstance(each, click.Option)]
    found: list[str] = []
    for option in rng.sample(options, min(len(options), rng.randrange(4))):
        flag = rng.choice([*option.opts, *option.secondary_opts])
        if option.is_flag:
            found.append(flag)
            continue
        choices = list(option.type.choices) if isinstance(option.type, click.Choice) else USUAL
        value = rng.choice(choices) if rng.random() < 0.4 else odd_text(rng, *USUAL)
        found += rng.choice([[flag, value], [f"{flag}={value}"]])
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        found.insert(rng.randrange(len(found) + 1), odd_text(rng, *USUAL))
    return [argument.replace("\0", "") for argument in found]  # no process can be given one


def _parse(command: click.Command, arguments: list[str]) -> None:
    try:
        with redirect_stdout(io.StringIO()):  # --help is one of them
            command.make_context(command.name, arguments)
    except (click.ClickException, click.exceptions.Exit):
        return
