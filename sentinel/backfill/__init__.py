"""Trades of before the collector: fetched by REST into journal and archive, marked, and accounted for by the minute."""
