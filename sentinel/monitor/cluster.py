"""``sentinel-ws cluster status``, and how a cluster looks wherever it is shown."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from loguru import logger
from rich.console import Group, RenderableType
from rich.text import Text

from sentinel.archive.schedule import by_design_s
from sentinel.command.groups import CommandGroup
from sentinel.command.options import config_option, plain_format_option
from sentinel.command.tables import Sheet, show
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.errors import UsageError

if TYPE_CHECKING:
    from sentinel.cluster.overview import MemberView, Overview

WRONG = 3
"""The exit status when something is wrong."""

PATIENCE_S = 5.0
MOST_SHOWN = 20

cluster_option = click.option("--cluster", metavar="URLS", help="The NATS servers.  [default: from the configuration]")


@click.group(cls=CommandGroup)
def cluster() -> None:
    """Many collectors as one, on NATS JetStream."""


@cluster.command()
@cluster_option
@click.option("--replicas", type=click.IntRange(1, 5), help="If each product should have more than the members say.")
@plain_format_option
@config_option
def status(**given: object) -> None:
    """Show members with their leases, markets, the stream, its readers, and the servers.

    Exits with 3 if anything is wrong, such as a market for which no member has a proved book.
    """
    if tell(configured(given["cluster"], given["replicas"], given["config_file"]), given["form"]).problems:
        sys.exit(WRONG)


def tell(config: Config, form: object) -> Overview:
    """Writes how the cluster is now to stdout."""
    found = asyncio.run(look(config))
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        show(view(found))
    return found


def configured(servers: object, replicas: object = None, config_file: object = None) -> Config:
    """The configuration, with what was given on top.

    Raises:
        UsageError: if it names no servers.
    """
    given = {"servers": servers, "replicas": replicas}
    flags = {name: value for name, value in given.items() if value is not None}
    config = load({"cluster": flags} if flags else {}, config_file if isinstance(config_file, Path) else None)
    if not config.cluster.servers:
        raise UsageError("no NATS servers: give --cluster, or set cluster.servers")
    return config


async def look(config: Config) -> Overview:
    """The cluster as it is now.

    Raises:
        UsageError: if nats-py is not installed.
        ClusterError: if no server answers.
    """
    try:
        from sentinel.cluster.overview import overview  # nats-py is optional
    except ModuleNotFoundError as error:
        raise UsageError(f"a cluster needs {error.name}: pip install 'sentinel-ws[cluster]'") from None
    logger.remove()  # what it has to say of servers is in what it finds
    of_archive_s = by_design_s(config.archive.interval_s)
    return await overview(config.cluster, time.time_ns(), PATIENCE_S, config.alerts.sink_behind_s, of_archive_s)


def view(found: Overview) -> RenderableType:
    """Members, markets that lack a book, the stream and its readers, servers, and what is wrong."""
    parts: list[RenderableType] = [_members(found)]
    if found.lacking:
        parts += ["", _lacking(found)]
    parts += ["", _stream(found), ""]
    servers = Sheet("server", "reached", "trouble", words=("trouble",))
    for server in found.servers:
        servers.add_row(server.url, _yes(is_well=server.is_reached), Text(server.trouble))
    parts += [servers, ""]
    parts += [Text(problem, "red") for problem in found.problems]
    if not found.problems:
        parts.append(Text(f"all is well: {found.markets:,} markets", "green"))
    return Group(*parts)


def _members(found: Overview) -> Sheet:
    figures = ("markets", "proved", "wanted", "gaps", "behind")
    words = ("lease", "address")
    members = Sheet("member", *words, *figures, "version", title=found.cluster, numbers=figures, words=words)
    for member in found.members:
        behind_s = max((sink.get("behind_s", 0.0) for sink in member.status.get("sinks", {}).values()), default=0.0)
        members.add_row(
            member.collector,
            _lease(member),
            member.address,
            *(f"{count:,}" for count in (member.held, member.proved, member.wanted)),
            str(member.status.get("gaps", "")),
            f"{behind_s:,.0f} s",
            member.version,
        )
    return members


def _lease(member: MemberView) -> str:
    return f"{member.lease_age_s:.1f} s ago" + (", leaving" if member.is_leaving else "")


def _lacking(found: Overview) -> Sheet:
    words = ("held by", "proved at", "wanted of")
    lacking = Sheet("market", *words, words=words)
    for lack in found.lacking[:MOST_SHOWN]:
        lacking.add_row(lack.market, *(", ".join(names) or "-" for names in (lack.holders, lack.proved, lack.wanted)))
    if len(found.lacking) > MOST_SHOWN:
        lacking.add_row(f"and {len(found.lacking) - MOST_SHOWN} more", "", "", "")
    return lacking


def _stream(found: Overview) -> Sheet:
    columns = ("stream", "messages", "size", "copies", "leader", "behind")
    stream = Sheet(*columns, numbers=("size", "copies", "behind"), words=("messages",))
    if found.stream is not None:
        lines = found.stream
        copies = f"{lines.current} of {lines.replicas}"
        size = f"{lines.bytes / 1e6:,.1f} MB"
        stream.add_row("lines", f"{lines.messages:,}", size, copies, lines.leader or "-", "")
    for consumer in found.consumers:
        waiting = f"{consumer.waiting:,} waiting, {consumer.unacknowledged:,} under way"
        if consumer.workers is not None:
            waiting = f"{consumer.waiting:,} partitions waiting, {consumer.workers:,} workers"
        stream.add_row(consumer.name, waiting, "", "", "", f"{consumer.behind_s:,.0f} s")
    return stream


def _yes(*, is_well: bool) -> str:
    return "[green]yes[/]" if is_well else "[red]no[/]"
