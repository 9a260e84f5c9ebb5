"""``python -m sentinel`` is ``sentinel-ws``."""

from sentinel.cli import main

main()
