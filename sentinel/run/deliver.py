"""``sentinel-ws deliver``: what the collectors of a cluster publish, taken to the stores."""

from __future__ import annotations

import click

from sentinel.run.command_line import LazyGroup

COMMANDS = {
    "archive": "sentinel.run.deliver_archive:archive",
}


@click.group(cls=LazyGroup, elsewhere=COMMANDS)
def deliver() -> None:
    """Take what the collectors of a cluster publish to a store; any number of workers may share the work."""
