"""Coinbase's international derivatives: Deribit's dialect at Coinbase's addresses."""
