"""``sentinel-ws`` with Tidepool in it: its lines in the two lists of venues, and nothing else."""

from __future__ import annotations

from feeds import catalogue
from sentinel.cli import main
from sentinel.simulator.catalogue import VENUES
from tests.throwaway.feeds.tidepool.venue import Tidepool
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

catalogue.add(Tidepool())
VENUES["tidepool"] = TIDEPOOL
main()
