"""A local exchange: WebSocket feeds and the REST API of a venue, with faults on request and the truth written down.

The market, its faults and its truth are nobody's; how a venue puts them is a dialect, in a folder of its own
(``coinbase/``) with a line in ``catalogue.py``. It shares no decoding or book code with the collector: it is the
independent truth the collector is judged by.
"""
