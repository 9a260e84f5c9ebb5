"""Coinbase Exchange: the feed whose trades are numbered one by one, and whose books are not numbered at all."""
