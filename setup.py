"""Only what ``pyproject.toml`` cannot say: the C extension is optional, and one build of it serves every later Python.

``SENTINEL_PURE=1`` builds without it.
"""

import os

from setuptools import Extension, setup

if os.environ.get("SENTINEL_PURE", "") in ("", "0"):
    setup(
        ext_modules=[Extension("book.speedups", ["book/speedups.c"], optional=True, py_limited_api=True)],
        options={"bdist_wheel": {"py_limited_api": "cp311"}},
    )
else:
    setup()
