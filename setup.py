"""Only what ``pyproject.toml`` cannot say.

The C extension is optional, and one build of it serves every later Python. ``SENTINEL_PURE=1`` builds without it.

A wheel installs one package, ``sentinel``: a ``book.py`` or ``feeds.py`` of a user's own, beside the script that
imports us, must not take the place of ours. So what stands beside ``sentinel/`` here is put into it when a wheel is
built, and the imports are written anew in place. Line numbers stay as they are, and so does an editable install.
"""

import ast
import os
import re
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.egg_info import egg_info

HOME = "sentinel"
MOVED = ("book", "feeds")


def rehomed(source: str) -> str:
    """``source`` with ``from book.x import`` as ``from sentinel.book.x import``; nothing else changes.

    Raises:
        ValueError: if it has ``import book.x``, which binds the name ``book``: that cannot be written anew in place.
    """
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(name.name.partition(".")[0] in MOVED for name in node.names):
            raise ValueError(f"say 'from … import …' instead of: {lines[node.lineno - 1].strip()}")
        if isinstance(node, ast.ImportFrom) and node.level == 0 and str(node.module).partition(".")[0] in MOVED:
            before = rf"\bfrom(\s+){node.module}\b"
            after = rf"from\g<1>{HOME}.{node.module}"
            lines[node.lineno - 1] = re.sub(before, after, lines[node.lineno - 1], count=1)
    return "\n".join(lines)


class Build(build):
    """Runs for wheels only: an editable install runs the parts of it one by one."""

    def run(self) -> None:
        lib = Path(self.build_lib)
        for name in (HOME, *MOVED):  # what an earlier build left, and the tree has no more, is not ours to ship
            shutil.rmtree(lib / name, ignore_errors=True)
        super().run()
        for name in MOVED:
            (lib / name).rename(lib / HOME / name)
        for path in (lib / HOME).rglob("*.py"):
            path.write_bytes(rehomed(path.read_bytes().decode()).encode())


class EggInfo(egg_info):
    """Says that ``sentinel`` is all that is imported: tools ask for whose package a name is."""

    def run(self) -> None:
        super().run()
        Path(self.egg_info, "top_level.txt").write_text(f"{HOME}\n")


if __name__ == "__main__":
    is_pure = os.environ.get("SENTINEL_PURE", "") not in ("", "0")
    speedups = Extension("book.speedups", ["book/speedups.c"], optional=True, py_limited_api=True)
    setup(
        cmdclass={"build": Build, "egg_info": EggInfo},
        ext_modules=[] if is_pure else [speedups],
        options={} if is_pure else {"bdist_wheel": {"py_limited_api": "cp311"}},
    )
