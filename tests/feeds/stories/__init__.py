"""The one list of stories: what every venue of the catalogue is asked to go through, see ``story``."""

from __future__ import annotations

from tests.feeds.stories.binance import Binance
from tests.feeds.stories.bybit import Bybit, BybitLinear
from tests.feeds.stories.coinbase import CoinbaseAdvanced, CoinbaseExchange
from tests.feeds.stories.deribit import CoinbaseDerivatives, Deribit
from tests.feeds.stories.kraken import Kraken
from tests.feeds.stories.okx import Okx
from tests.feeds.stories.story import Story

STORIES: dict[str, type[Story]] = {
    story.feed: story
    for story in (
        CoinbaseAdvanced,
        CoinbaseExchange,
        Kraken,
        Binance,
        Okx,
        Deribit,
        CoinbaseDerivatives,
        Bybit,
        BybitLinear,
    )
}
"""By the name of the feed that brings the books."""
