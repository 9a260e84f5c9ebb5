"""``python -m sentinel.simulator`` is ``sentinel-ws simulate``."""

import sys

from sentinel.cli import main

sys.argv.insert(1, "simulate")
main()
