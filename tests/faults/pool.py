"""Runs of a campaign, each in a process of its own: whoever judges one must not hold up another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

G = TypeVar("G")
R = TypeVar("R")


def play_each(play: Callable[[G], R], given: Iterable[G], at_once: int) -> Iterator[tuple[G, R | BaseException]]:
    """Gives what came of each as soon as it is known, or why it could not be judged: that is wrong, too, and no reason
    to end the others. ``play`` must be one that can be pickled."""
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(play, each): each for each in given}
        for done in as_completed(running):
            yield running[done], done.exception() or done.result()


def problems_of(came: list[str] | BaseException) -> list[str]:
    """What is wrong with a run that gives just that."""
    return [f"not judged: {came!r}"] if isinstance(came, BaseException) else came
