"""Deribit's dialect of the local exchange."""
