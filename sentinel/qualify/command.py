"""``sentinel-ws qualify``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from sentinel.command.options import Duration, config_option
from sentinel.errors import UsageError

OUTPUT = Path("qualification")
FALSE = 1
BROKEN = 3
"""The exit status when a claim did not hold, as of a report below ``--fail-under``."""


@click.command()
@click.argument("products", nargs=-1, metavar="[[EXCHANGE:]PRODUCT]...")
@click.option(
    "--duration", type=Duration(), help="How long to collect, over all sessions, such as 30m or 72h.  [default: 72h]"
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=OUTPUT,
    show_default=True,
    help="Folder of the results.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where to collect to.  [default: data in --output]")
@click.option("--resume", is_flag=True, help="Go on with the qualification in --output.")
@click.option("--no-replay", is_flag=True, help="At the end, do not derive the archive again from the tapes.")
@click.option("--http", metavar="HOST:PORT", help="Serve status, metrics and the live page of the collector here.")
@click.option(
    "--check", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Only check the digest of this JSON."
)
@config_option
def qualify(
    products: tuple[str, ...],
    duration: float | None,
    output: Path,
    data_dir: Path | None,
    resume: bool,
    no_replay: bool,
    http: str | None,
    check: Path | None,
    config_file: Path | None,
) -> None:
    """Collect from a venue and write down the evidence: what happened, what was lost, and what held.

    Writes qualification.html and qualification.json, each hour and at the end. Ctrl-C ends it early, and the results
    say so; --resume goes on, also after a crash. Exits with 3 if one of the claims did not hold.
    """
    if check is not None:
        sys.exit(0 if _is_unchanged(check) else FALSE)
    from sentinel.qualify.session import Asked, run

    found = run(Asked(products, duration, output, data_dir, config_file, http, resume, not no_replay))
    if found.verdict == "broken":
        sys.exit(BROKEN)


def _is_unchanged(path: Path) -> bool:
    """Whether a document is as it was written; it is told."""
    from sentinel.qualify.evidence import digest

    try:
        document = json.loads(path.read_bytes())
        told = document["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a qualification") from error
    actual = digest(document)
    click.echo(f"{path}: {'unchanged' if told == actual else 'CHANGED'}, sha256 {actual}")
    return bool(told == actual)
