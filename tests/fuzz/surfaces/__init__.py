"""Every surface that takes what others wrote, a module each: the sentence on top of it is what must never be untrue.

A module has ``opened``: given an empty folder, it readies the surface, and gives a function that tries one case by a
source of randomness. It returns what the case was counted as, and raises what was found.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

Case = Callable[[random.Random], str]
Open = Callable[[Path], AbstractContextManager[Case]]

SURFACES: list[str] = sorted(module.name for module in pkgutil.iter_modules(__path__))


def hold_line(error: Exception, *words: str) -> None:
    """That an error is one line, with these words in it."""
    text = str(error)
    assert text.strip()
    assert "\n" not in text, text
    assert all(word in text for word in words), text


def load(name: str) -> tuple[str, Open]:
    """The invariant of a surface, and what opens it."""
    module = importlib.import_module(f"{__name__}.{name}")
    return (module.__doc__ or "").partition("\n")[0], module.opened
