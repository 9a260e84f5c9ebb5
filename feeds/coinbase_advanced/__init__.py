"""Coinbase Advanced Trade: the one keyless Coinbase feed whose frames are numbered."""
