"""Cells side by side keep to cores of their own, so that none is moved on to another's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scaling_runs.holder import Held
from scaling_runs.locks import holding


@contextmanager
def own_cores(count: int) -> Iterator[set[int]]:
    """While the body runs, this process keeps to `count` cores that no other cell on this machine has; which these are.

    Where fewer are free, or the system knows no such thing, it is left where it was, and the set is empty. A process
    that dies lets go of its cores.
    """
    with ExitStack() as held:
        cores = _claim(count, held)
        if cores:
            before = os.sched_getaffinity(0)
            held.callback(_keep_to, before)
            _keep_to(cores)
        yield cores


def _claim(count: int, held: ExitStack) -> set[int]:
    if not hasattr(os, "sched_setaffinity"):
        return set()
    allowed = sorted(os.sched_getaffinity(0))
    if count >= len(allowed):
        return set()  # all there are: nothing to keep to
    folder = machine_folder("cores")
    claimed: set[int] = set()
    with ExitStack() as tried:
        for core in allowed:
            try:
                tried.enter_context(holding(folder / f"{core}.lock"))
            except (Held, OSError):  # a full or closed disk is no reason not to train
                continue
            claimed.add(core)
            if len(claimed) == count:
                held.enter_context(tried.pop_all())
                return claimed
    return set()


def machine_folder(kind: str) -> Path:
    """Where processes of this machine agree on who has which of its cores, or GPUs, whatever store they work for."""
    return Path(tempfile.gettempdir()) / f"isoflop-{kind}-{os.getuid()}"


def _keep_to(cores: Collection[int]) -> None:
    """All threads of this process: those of a pool keep what they were born with."""
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:
            continue  # it has ended meanwhile
