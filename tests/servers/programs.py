"""Programs of other people that a test needs."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """Where it is. In CI a missing program is a failure, elsewhere a skip that says what to install."""
    found = shutil.which(name)
    if found is None:
        words = f"no {name} (apt-get install {package})"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return found
