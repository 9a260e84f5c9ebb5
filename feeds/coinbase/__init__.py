"""Coinbase, one exchange with two feeds in folders of their own: its facts, its REST and its aliases."""
