"""``sentinel-ws`` as it is, but for two things: it looks at the venues' lists all the time, and is patient."""

from __future__ import annotations

from sentinel import cli
from sentinel.exchange import listing
from tests.servers.patient import patience

if __name__ == "__main__":
    listing.LOOK_EVERY_S = 0.1
    with patience():
        cli.main()
