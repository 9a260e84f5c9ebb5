"""Peers on the same frames in the same process: each through its own message handler.

``python -m bench.peers --json``. Peers are optional: ``pip install -r bench/requirements.txt``; what is not installed
is null. Correctness of each peer's final book stands beside its speed.
"""
