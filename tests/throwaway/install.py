"""Tidepool's lines in the two lists of venues: with them it can be collected and simulated like any other."""

from __future__ import annotations

from feeds import catalogue
from sentinel.simulator.catalogue import VENUES
from tests.throwaway.feeds.tidepool.venue import Tidepool
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL


def install() -> None:
    """In this process, from here on."""
    catalogue.add(Tidepool())
    VENUES["tidepool"] = TIDEPOOL
