"""The command line. Each command is imported when it is used, so that ``--help`` is fast."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click

from book.native import FLAVOUR
from feeds.rest import ProductKind
from sentinel.command.declared import known
from sentinel.command.encoding import make_printable
from sentinel.command.groups import LazyGroup
from sentinel.command.options import Duration, config_option, words_of
from sentinel.run import ending

KINDS = get_args(ProductKind)
COMMANDS = {
    "simulate": "sentinel.simulator.command:simulate",
    "archive": "sentinel.run.archive:archive",
    "backfill": "sentinel.backfill.command:backfill",
    "certify": "sentinel.certificates.command:certify",
    "verify": "sentinel.certificates.command:verify_command",
    "export": "sentinel.archive.export:export",
    "dataset": "sentinel.run.dataset:dataset",
    "sql": "sentinel.sql.command:sql",
    "products": "sentinel.run.products:products",
    "plot": "sentinel.plots.command:plot",
    "replay": "sentinel.replay.play:replay",
    "tape-from": "sentinel.replay.capture:command",
    "gap-report": "sentinel.gap_report.command:gap_report",
    "buckets": "sentinel.influx.command:buckets",
    "audit": "sentinel.influx.command:audit",
    "deliver": "sentinel.run.deliver:deliver",
    "status": "sentinel.monitor.command:status",
    "top": "sentinel.monitor.command:top",
    "alerts": "sentinel.monitor.command:alerts",
    "capabilities": "sentinel.exchange.capabilities:command",
    "cluster": "sentinel.monitor.cluster:cluster",
    "qualify": "sentinel.qualify.command:qualify",
}


@click.group(
    cls=LazyGroup,
    elsewhere=COMMANDS,
    declared=known,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="sentinel-ws", message=f"%(prog)s, version %(version)s ({FLAVOUR})")
def cli() -> None:
    """Collect market data from exchanges, and prove what is complete."""


@cli.command()
@click.argument("products", nargs=-1, metavar="[[EXCHANGE:]PRODUCT]...")
@click.option("--quote", "quotes", multiple=True, help="Of what a pattern matches, only this quote currency.")
@click.option(
    "--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Of what a pattern matches, only this kind."
)
@click.option("--status", type=click.Choice(["listed", "trading"]), help="trading leaves out halted products.")
@click.option("--dry-run", is_flag=True, help="For 30 s, write lines to stdout and store nothing.")
@click.option("--live", is_flag=True, help="Show a table of all products.")
@click.option("--duration", type=Duration(), help="Stop after this long, such as 30s or 48h.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where journal and tapes are kept.  [default: data]")
@click.option("--influx-url", help="Also write to this InfluxDB.")
@click.option(
    "--record/--no-record",
    default=None,
    help="Keep every frame on a tape, for replay and for the archive of every change.  [default: record]",
)
@click.option("--http", metavar="HOST:PORT", help="Serve the live page, status and metrics here.")
@click.option("--connections", type=click.Choice(["1", "2"]), help="2 opens every connection twice.  [default: 1]")
@click.option("--processes", type=click.IntRange(1, 64), help="How many processes share the products.  [default: 1]")
@click.option("--cluster", "cluster", metavar="URLS", help="Share the products with the members on these NATS servers.")
@click.option("--replicas", type=click.IntRange(1, 5), help="How many members collect each product.  [default: 1]")
@click.option("--is-shard", is_flag=True, hidden=True, help="One of --processes.")
@click.option("--is-observed", is_flag=True, hidden=True, help="The collector of qualify.")
@config_option
def collect(
    products: tuple[str, ...],
    dry_run: bool,
    live: bool,
    is_shard: bool,
    is_observed: bool,
    duration: float | None,
    **given: Any,
) -> None:
    """Collect trades and the book of each PRODUCT until stopped.

    A PRODUCT is one such as BTC-USD or EXCHANGE:SYMBOL, or a pattern in quotes for what the venue lists: '*-USD',
    'EXCHANGE:*', all, EXCHANGE:all. What is listed later and matches is added.
    """
    from sentinel.run.collect import collect as run

    config = _load(products, **given, is_quiet=is_shard)
    if not config.products:
        raise click.UsageError("no product to collect: name one, such as BTC-USD")
    if not is_shard and not dry_run and (config.processes > 1 or _has_shards(config.data_dir)):
        _supervise(config, is_live=live, duration_s=duration, given=given)
        return
    reread = partial(_load, products, **given, is_quiet=True)  # what there is to say was said at the start
    run(
        config,
        reread,
        is_dry_run=dry_run,
        is_live=live,
        is_shard=is_shard,
        duration_s=duration,
        is_observed=is_observed,
    )


def _has_shards(data_dir: Path) -> bool:
    """The state of products that were collected by several processes must not be passed over."""
    from sentinel.disk.shards import shard_folders

    return bool(shard_folders(data_dir))


def _supervise(config: Any, *, is_live: bool, duration_s: float | None, given: dict[str, Any]) -> None:
    from sentinel.run.supervisor import supervise

    if is_live:
        raise click.UsageError("--live shows one process; for several there is a status line, or --http")
    arguments = [] if given["record"] is None else ["--record" if given["record"] else "--no-record"]
    for name in ("influx_url", "connections", "config_file"):
        if given[name] is not None:
            arguments += [f"--{name.removesuffix('_file').replace('_', '-')}", str(given[name])]
    supervise(config, arguments, duration_s=duration_s)


@cli.command("check-config")
@click.option("--online", is_flag=True, help="Also try the disk, the venues and InfluxDB.")
@config_option
def check_config(config_file: Path | None, online: bool) -> None:
    """Read the whole configuration and say all that is wrong with it, without using it.

    Exits with 1 if something does not work online.
    """
    from sentinel.command.tables import show
    from sentinel.config.loading import WrongSettings

    try:
        config = _load((), config_file=config_file)
    except WrongSettings as error:
        for mistake in error.mistakes:
            click.echo(f"sentinel-ws: {mistake}", err=True)
        sys.exit(error.exit_code)
    patterns = f" and {len(config.patterns)} patterns" if config.patterns else ""
    show(f"good: {len(config.markets)} products{patterns}, data in {config.data_dir}")
    if not config.patterns:  # what those stand for only the venue can say
        from sentinel.collector.selecting import dealt

        for line in dealt(config):
            show(f"dealt: {line}")
    if online:
        from sentinel.run.preflight import try_out

        if not try_out(config, lambda found: show(str(found))):
            sys.exit(1)


def _load(products: tuple[str, ...], *, config_file: Path | None, is_quiet: bool = False, **given: Any) -> Any:
    """The configuration, with flags on top. ``is_quiet`` leaves out the warnings."""
    from sentinel.config.loading import load

    flags: dict[str, Any] = {
        name: given[name] for name in ("data_dir", "record", "http", "processes") if given.get(name) is not None
    }
    if products:
        flags["products"] = words_of(products)
    if given.get("influx_url") is not None:
        flags["influx"] = {"url": given["influx_url"]}
    select = {name: given[name] for name in ("quotes", "kinds", "status") if given.get(name)}
    if select:
        flags["select"] = select
    cluster = {"servers": given.get("cluster"), "replicas": given.get("replicas")}
    if any(value is not None for value in cluster.values()):
        flags["cluster"] = {name: value for name, value in cluster.items() if value is not None}
    if given.get("connections") is not None:
        flags["feeds"] = {"connections": int(given["connections"])}
    return load(flags, config_file, warn=lambda text: None) if is_quiet else load(flags, config_file)


def main() -> None:
    """Runs a command, and ends the process with its status."""
    make_printable()
    sys.exit(ending.run(partial(cli, prog_name="sentinel-ws", standalone_mode=False)))
