"""Bybit's dialect for linear contracts."""
