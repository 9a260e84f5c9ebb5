"""``sentinel-ws`` as it is, but for one thing: it looks at the venues' lists all the time."""

from __future__ import annotations

from sentinel import cli
from sentinel.exchange import listing

if __name__ == "__main__":
    listing.LOOK_EVERY_S = 0.1
    cli.main()
