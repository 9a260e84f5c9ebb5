"""Unpacking a tarball on every Python of ours."""

from __future__ import annotations

import tarfile
from pathlib import Path


def extract(packed: tarfile.TarFile, folder: Path) -> None:
    """As ``extractall`` with ``filter="data"``, which Python has since 3.11.4; Debian 12 has 3.11.2."""
    packed.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
    packed.extractall(folder)
