"""``sentinel-ws`` with Tidepool in it, and nothing else."""

from __future__ import annotations

from sentinel.cli import main
from tests.throwaway.install import install

install()
main()
