"""Which version of this software is running, for what must be understood years later: tapes, manifests."""

from __future__ import annotations

from importlib import metadata


def software() -> str:
    """``sentinel-ws 0.1.0``; without a number when it runs from a folder that is not installed."""
    try:
        return f"sentinel-ws {metadata.version('sentinel-ws')}"
    except metadata.PackageNotFoundError:
        return "sentinel-ws"
