"""Deribit's dialect: JSON-RPC 2.0, spoken by Deribit and by those whose gateway is Deribit's."""
