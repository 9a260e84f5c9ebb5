"""Coinbase's dialect: Advanced Trade and Exchange WebSockets, and Exchange's REST API."""
