"""Deribit's dialect as Coinbase's gateway speaks it."""
