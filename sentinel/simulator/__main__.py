"""``python -m sentinel.simulator`` is ``sentinel-ws simulate``."""

import runpy
import sys

sys.argv.insert(1, "simulate")
runpy.run_module("sentinel", run_name="__main__")
