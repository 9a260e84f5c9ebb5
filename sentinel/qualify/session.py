"""One session of ``sentinel-ws qualify``: what it begins or goes on with, what people see of it, and its outcome."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from book.native import FLAVOUR
from feeds.catalogue import VENUES
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.disk.data_dir import JOURNAL
from sentinel.errors import UsageError
from sentinel.gap_report.words import duration as spelled
from sentinel.monitor import logs
from sentinel.monitor.terminal import as_line
from sentinel.qualify import state as states
from sentinel.qualify.evidence import Environment, Qualification, VenueAddress
from sentinel.qualify.page import by_outcome, headline
from sentinel.qualify.running import DOCUMENT, LOG, PAGE, Run
from sentinel.qualify.state import Known
from sentinel.run.stopping import stopping
from sentinel.timing.instants import NS_PER_S
from sentinel.version import software

DATA = "data"
DEFAULT_S = 72 * 3600.0
REFRESH_S = 1.0
TELL_EVERY_S = 60.0


class Asked(NamedTuple):
    """What the command line says. ``data_dir`` is None for the one in ``output``, or that of the session before."""

    products: tuple[str, ...]
    duration_s: float | None
    output: Path
    data_dir: Path | None
    config_file: Path | None
    http: str | None
    is_resumed: bool
    with_replay: bool


def run(asked: Asked) -> Qualification:
    """Collects, and gives what was found; it is on disk, and was told.

    Raises:
        UsageError: if there is something where it should begin, or nothing where it should go on, or nothing was
            collected.
    """
    known = begin(asked)
    output, data_dir = asked.output, Path(known.data_dir)
    with suppress(FileExistsError):
        output.mkdir(parents=True)
    arguments = [*known.products, "--data-dir", str(data_dir), "--record", "--processes", "1", "--is-observed"]
    for option, value in (("--http", asked.http), ("--config", asked.config_file)):
        if value is not None:
            arguments += [option, str(value)]
    with logs.opened(sys.stderr, "WARNING") as console:
        found = asyncio.run(_run(known, output, data_dir, arguments, console, with_replay=asked.with_replay))
    tell(found, output)
    if not any(feed.frames for feed in found.feeds):
        raise UsageError(f"nothing came from a venue; what the collector said is in {output / LOG}")
    return found


async def _run(
    known: Known, output: Path, data_dir: Path, arguments: Sequence[str], console: Console, *, with_replay: bool
) -> Qualification:
    def say(words: str) -> None:
        console.print(f"qualify: {words}", soft_wrap=True, highlight=False, markup=False)

    run = Run(known, output, data_dir, arguments, dict(os.environ), say)
    if known.sessions:
        await asyncio.to_thread(run.catch_up)
    left_s = max(0.0, known.asked_s - known.collected_s)
    began_s = time.monotonic()
    say(f"collecting {', '.join(known.products)} for {spelled(round(left_s * NS_PER_S))}; results in {output / PAGE}")

    async with stopping(left_s) as stop:
        showing = asyncio.create_task(_show(run, left_s, began_s, console, say))
        try:
            return await run.run(stop, left_s, with_replay=with_replay)
        finally:
            showing.cancel()


async def _show(run: Run, left_s: float, began_s: float, console: Console, say: Any) -> None:
    """How far it is, in words: on one line of a terminal, or a line a minute."""

    def line() -> Text:
        passed = f"{spelled(round((time.monotonic() - began_s) * NS_PER_S))} of {spelled(round(left_s * NS_PER_S))} · "
        text = Text(passed, no_wrap=True)
        return text.append_text(as_line(run.last.figures) if run.last else Text("waiting for the first frames"))

    if not console.is_terminal:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            say(line().plain)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(line(), refresh=True)
            await asyncio.sleep(REFRESH_S)


def begin(asked: Asked) -> Known:
    """What there is to begin with, or to go on with.

    Raises:
        UsageError: if there is something where it should begin, or nothing where it should go on.
    """
    products, output = list(asked.products), asked.output
    if asked.is_resumed:
        known = states.read(output)
        if products and products != known.products:
            raise UsageError(f"{output} is of {', '.join(known.products)}; for others begin anew in another folder")
        known.asked_s = asked.duration_s or known.asked_s
        known.data_dir = known.data_dir if asked.data_dir is None else str(asked.data_dir)
        if known.collected_s >= known.asked_s:
            raise UsageError(
                f"{output} is complete: {spelled(round(known.collected_s * NS_PER_S))} were collected; "
                "--duration may ask for more"
            )
        _note_changes(known, _config(tuple(known.products), Path(known.data_dir), asked.config_file))
        return known
    data_dir = asked.data_dir or output / DATA
    if (output / states.STATE).exists():
        raise UsageError(
            f"there is a qualification in {output}; --resume goes on with it, --output names another folder"
        )
    if (data_dir / JOURNAL).exists():
        raise UsageError(f"{data_dir} has data already; a qualification begins with an empty folder")
    config = _config(asked.products, data_dir, asked.config_file)
    return Known(
        products=products or list(config.products),
        asked_s=asked.duration_s or DEFAULT_S,
        environment=environment(config),
        settings=settings(config),
        cadence_ns=config.book.cadence_ms * 1_000_000,
        data_dir=str(data_dir),
    )


def _note_changes(known: Known, config: Config) -> None:
    """A session that runs with something else than the first one is not passed over."""
    now = environment(config)
    if now != known.environment:
        known.notes.append(f"A later session ran {now.software}, commit {now.commit}, {now.flavour}, on {now.python}.")
        if now.venues != known.environment.venues:
            known.notes.append("A later session asked the venues at other addresses.")
    if settings(config) != known.settings:
        known.notes.append("A later session had other settings than those shown.")


def _config(products: tuple[str, ...], data_dir: Path, config_file: Path | None) -> Config:
    flags: dict[str, Any] = {"data_dir": data_dir}
    if products:
        flags["products"] = products
    config = load(flags, config_file)
    if not config.products:
        raise click.UsageError("no product to collect: name one, such as BTC-USD")
    if config.cluster.servers:
        raise UsageError("a qualification is of one collector: leave the setting cluster.servers out")
    return config


def environment(config: Config) -> Environment:
    """What it runs on, without a name or a path of the machine."""
    return Environment(
        software=software(),
        commit=commit_of(Path(__file__)),
        flavour=FLAVOUR,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        venues=[VenueAddress(exchange, _is_own(config, exchange)) for exchange in config.exchanges],
    )


def _is_own(config: Config, exchange: str) -> bool:
    """Whether all its addresses are those of its documentation."""
    given, kind = config.venues[exchange], VENUES[exchange].settings
    return all(
        getattr(given, name) == field.default for name, field in kind.model_fields.items() if name.endswith("url")
    )


def settings(config: Config) -> dict[str, Any]:
    """Those that the data depend on. Addresses, names, keys and paths are not among them."""
    chosen: Mapping[str, Any] = {
        exchange: {
            "book": VENUES[exchange].book(config.venues[exchange]),
            "trades": sorted(VENUES[exchange].trades(config.venues[exchange])),
        }
        for exchange in config.exchanges
    }
    return {
        "products": list(config.products),
        "archive": config.archive.is_enabled,
        "feeds": config.feeds.model_dump(mode="json"),
        "book": config.book.model_dump(mode="json"),
        "venues": chosen,
    }


def commit_of(file: Path) -> str | None:
    """Of the checkout that a file is part of. One that is merely below somebody's repository, as what is installed into
    an environment there, is of none."""
    if _git(file, "ls-files", "--error-unmatch", "--", file.name) is None:
        return None
    return _git(file, "describe", "--always", "--dirty", "--exclude=*")


def _git(file: Path, *arguments: str) -> str | None:
    """What it says beside a file, None if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(file.parent), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def tell(found: Qualification, output: Path) -> None:
    """The outcome, for people."""
    console = Console()
    console.print(f"{found.state}: {headline(found)}", style="bold", highlight=False, soft_wrap=True)
    for claim in found.claims:
        style = {"holds": "green", "broken": "red"}.get(claim.verdict, "")
        console.print(Text.assemble((f"{claim.verdict:>10}  ", style), f"{claim.says}: {claim.found}"), soft_wrap=True)
    console.print(f"of what is believed of the wire: {by_outcome(found.wire)}", highlight=False, soft_wrap=True)
    for fact in found.wire:
        if fact.found == "contradicted":
            console.print(Text(f"  contradicted: {fact.exchange}: {fact.says}", "yellow"), soft_wrap=True)
    console.print(f"{output / PAGE}\n{output / DOCUMENT}\nsha256 {found.sha256}", soft_wrap=True, highlight=False)
