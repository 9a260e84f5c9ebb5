"""The bounds of every number taken from a wire.

Both sides are bounded, because the lax mode of msgspec, which reads numbers from strings, would accept ``"nan"`` and
``"inf"`` otherwise.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

LARGEST = 1e15
"""Above any price or size in any currency, below where doubles stop telling integers apart."""

Price = Annotated[float, Meta(gt=0, le=LARGEST)]
Size = Annotated[float, Meta(ge=0, le=LARGEST)]
TradeSize = Annotated[float, Meta(gt=0, le=LARGEST)]
TradeId = Annotated[int, Meta(gt=0, lt=2**62)]
AnyTradeId = Annotated[int, Meta(ge=0, lt=2**62)]
FrameNumber = Annotated[int, Meta(ge=0, lt=2**62)]
