"""Who has a cell, or a trunk: a file lock in a folder, which goes with its process, or a lease at a URL (`leases.py`).

Both hold the name of their holder, for whoever is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from scaling_runs.holder import Held, Holder, named_in
from scaling_runs.leases import is_leased, is_renewed, lease_holder, leasing
from scaling_runs.places import is_local

LOOK_S = 0.005
"""Whoever asks whether a file lock is held has it for a moment, and gives another who asks so much time to let go."""
PEEK_S = 0.2
"""What is still held after so long is held by no one who asks."""


@contextmanager
def holding(path: Path, *, patiently: bool = False) -> Iterator[None]:
    """Hold the lock named `path` while the body runs. Held where another has it.

    With `patiently`, who only looks at a file lock is waited for, and a lease that nobody renews, until it lapses.
    """
    if not is_local(path):
        with leasing(path, patiently=patiently):
            yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PEEK_S if patiently else 0.0, poll_interval=0.01)
    except Timeout:
        raise Held(path, named_in(path)) from None
    try:
        _sign(path)
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process has the lock at this moment. Its name in there stays."""
    if not is_local(path):
        return is_leased(path)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOOK_S, poll_interval=LOOK_S / 5)
    except Timeout:
        return True
    lock.release()
    return False


def holder_of(path: Path) -> Holder | None:
    """Whoever has the lock, or had it last; None where that is not known."""
    return named_in(path) if is_local(path) else lease_holder(path)


def is_kept(path: Path) -> bool:
    """Whether a living process has the lock, for which a lease may have to be watched for as long as one lasts."""
    return is_held(path) if is_local(path) else is_renewed(path)


def _sign(path: Path) -> None:
    """Name this process in its lock, whose file stays the same.

    What else is written there is left: on a file system without locks filelock puts a mark of its own into the file.
    """
    text = path.read_text(errors="replace")
    if not text or Holder.of(text):
        path.write_text(json.dumps(asdict(Holder.this())))
