"""Bybit's linear contracts: the same words at another address."""
