"""Binance's dialect of the local exchange: its spot streams and REST."""
