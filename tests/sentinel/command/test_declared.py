"""Help and completion: the same as of the commands themselves, and without importing what they run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

import click
import pytest
from click.testing import CliRunner

from sentinel.cli import COMMANDS, cli
from sentinel.command import declared
from sentinel.command.groups import Context, LazyGroup
from tests import ROOT
from tests.sentinel.command.declare import text
from tests.servers.collector import unset_environment

HEAVY = ("aiohttp", "fastapi", "influxdb_client", "matplotlib", "nats", "numpy", "pandas", "pyarrow", "pydantic")
"""Each takes longer to import than the help to be read from its file."""


with_click_of_today = pytest.mark.skipif(
    tuple(map(int, metadata.version("click").split(".")[:2])) < (8, 4),
    reason="the file is made with click 8.4 or later",
)


def leaves(group: click.Group = cli, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that is no group, from the top."""
    context = Context(group)
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        if isinstance(child, click.Group):
            yield from leaves(child, (*before, name))
        else:
            yield (*before, name)


@with_click_of_today
def test_the_file_says_what_the_commands_say() -> None:
    assert declared.FILE.read_text(encoding="utf-8") == text(), "python -m tests.sentinel.command.declare makes it anew"


def help_of(group: click.Group, path: tuple[str, ...]) -> str:
    context: click.Context = Context(group, info_name="sentinel-ws", **cli.context_settings)
    for name in path:
        assert isinstance(context.command, click.Group)
        command = context.command.get_command(context, name)
        assert command is not None
        command._help_option = None  # click keeps what another test, which knew no -h, asked it for
        context = Context(command, info_name=name, parent=context)
    return context.get_help()


@with_click_of_today
@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_help_is_the_same_as_of_the_command_itself(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    loaded = LazyGroup("sentinel-ws", commands=dict(cli.commands), elsewhere=COMMANDS)  # without what was written down
    for name in COMMANDS:
        loaded.commands.pop(name, None)
    found = list(leaves())
    assert len(found) > 20
    for path in found:
        assert help_of(cli, path) == help_of(loaded, path), path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process that says at its end which modules it has."""
    script = (
        f"import atexit, sys; names = {HEAVY!r}\n"
        "atexit.register(lambda: print('loaded', *(set(names) & set(sys.modules)), file=sys.stderr))\n"
        "from sentinel.cli import main; sys.argv[0] = 'sentinel-ws'; main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=unset_environment() | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("ask", [["--help"], ["gap-report", "-h"], ["cluster", "status", "--help"], ["plot", "--help"]])
def test_help_imports_nothing_that_takes_long(ask: list[str]) -> None:
    """The tour of 0.1 §2: 0.9 s and 134 MB for help."""
    done = run(*ask)
    assert done.returncode == 0
    assert "Usage: sentinel-ws" in done.stdout
    assert done.stderr.splitlines()[-1] == "loaded"


@pytest.mark.parametrize(
    ("words", "at", "found"),
    [
        ("sentinel-ws gap", 1, "gap-report"),
        ("sentinel-ws cluster st", 2, "status"),
        ("sentinel-ws gap-report --fail", 2, "--fail-under"),
        ("sentinel-ws export --measurement tr", 3, "trades"),
    ],
)
def test_completion_imports_nothing_that_takes_long(words: str, at: int, found: str) -> None:
    done = run(_SENTINEL_WS_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(at))
    assert f"plain,{found}" in done.stdout.splitlines()
    assert done.stderr.splitlines()[-1] == "loaded"


def test_the_value_of_an_option_is_no_question_for_help(tmp_path: os.PathLike[str]) -> None:
    done = run("gap-report", "--data-dir", "--help", "--since", "1h")
    assert done.returncode == 2
    assert "Usage" not in done.stdout


def test_names_that_no_help_shows_do_not_keep_it_from_being_shown() -> None:
    assert "Usage" in run("replay", "--from", "1h", "--help").stdout


def test_a_command_that_was_not_written_down_is_there_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "_all", dict)
    group = LazyGroup("x", elsewhere={"top": COMMANDS["top"]}, declared=declared.known)
    assert "Usage: x top" in CliRunner().invoke(group, ["top", "--help"], prog_name="x").output


def test_the_shells_of_the_document_are_served() -> None:
    """docs/shell.md; bash judges what bash is to read."""
    asked = re.findall(r"_SENTINEL_WS_COMPLETE=(\w+)_source sentinel-ws", (ROOT / "docs/shell.md").read_text())
    assert asked == ["bash", "zsh", "fish"]
    for shell in asked:
        script = run(_SENTINEL_WS_COMPLETE=f"{shell}_source").stdout
        assert "_SENTINEL_WS_COMPLETE" in script
        if shell == "bash":
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)
