"""Who has a cell, or a trunk: a file lock in a folder, a lease at a URL.

A file lock goes with its process. An object store has none, so there a lease is an object that only one can create
(fsspec's exclusive mode; on S3 a conditional write), which its holder renews and which lapses where it no longer does.
Each lease has a number, and a lapsed one is taken over by creating the next: of two that try, one fails. A holder that
comes too late to renew its own ends as by Ctrl-C, for another may have the cell by then.
"""

from __future__ import annotations

import _thread
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from scaling_runs.places import is_local

LEASE_S = 120.0
"""A lease that was not renewed for so long has lapsed; clocks of hosts may differ by a fraction of it."""
RENEW_EVERY_S = 20.0


class Held(Exception):
    """Another has it."""


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold the lock named `path` while the body runs. Held where another has it."""
    if not is_local(path):
        with _lease(path):
            yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Held(str(path)) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _lease(path: Path) -> Iterator[None]:
    mine = _create(path)
    ended, lost = threading.Event(), threading.Event()

    def renew() -> None:
        renewed_at = time.time()
        while not ended.wait(RENEW_EVERY_S):
            if time.time() - renewed_at > LEASE_S:  # this process slept, or the store was away
                lost.set()
                _thread.interrupt_main()
                return
            with suppress(Exception):  # a store that is away for a moment is asked again
                mine.write_text(_content())
                renewed_at = time.time()

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        if not lost.is_set():
            mine.unlink(missing_ok=True)


def _create(path: Path) -> Path:
    """The lease's own object. Held where there is one that has not lapsed, or another was quicker.

    What was listed may be another's by the time that the own one is there, so it is looked at once more: of two that
    hold a lease for a moment, the later sees the earlier, and gives its own back.
    """
    before = _leases(path)
    if any(not _lapsed(lease) for lease in before.values()):
        raise Held(str(path))
    mine = path.with_name(f"{path.name}.{max(before, default=0) + 1}")
    try:
        with mine.open("xb") as file:
            file.write(_content().encode())
    except FileExistsError:
        raise Held(str(path)) from None
    others = [lease for lease in _leases(path).values() if lease.name != mine.name]
    if any(not _lapsed(lease) for lease in others):
        mine.unlink(missing_ok=True)
        raise Held(str(path))
    for lease in others:
        lease.unlink(missing_ok=True)
    return mine


def _leases(path: Path) -> dict[int, Path]:
    """Those that there are, by number."""
    return {int(one.name.rpartition(".")[2]): one for one in path.parent.glob(f"{path.name}.*")}


def _lapsed(lease: Path) -> bool:
    try:
        return float(json.loads(lease.read_text())["until"]) < time.time()
    except ValueError:  # created and not yet written, or cut off in between
        return time.time() - lease.stat().st_mtime > LEASE_S
    except FileNotFoundError:
        return True  # given back since it was listed


def _content() -> str:
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    return json.dumps({"owner": owner, "until": time.time() + LEASE_S})
