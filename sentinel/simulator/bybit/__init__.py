"""The dialect of Bybit."""
