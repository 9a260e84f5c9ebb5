"""The dialect of Kraken spot: WebSocket version 2 and REST."""
