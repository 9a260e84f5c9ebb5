"""A local exchange that speaks Coinbase: both WebSocket feeds and the REST API, with faults on request.

It shares no decoding or book code with the collector: it is the independent truth the collector is judged by.
"""
