"""Who has a cell, or a trunk: a file lock in a folder, a lease at a URL.

A file lock goes with its process. An object store has none, so there a lease is an object that only one can create
(fsspec's exclusive mode; on S3 a conditional write), which its holder renews and which lapses where it no longer does.
Each lease has a number, and a lapsed one is taken over by creating the next: of two that try, one fails. A holder that
comes too late to renew its own ends, for another may have the cell by then.

Both hold the name of their holder, for whoever is refused.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from scaling_runs.errors import StoreLost
from scaling_runs.outages import impatient, riding_out
from scaling_runs.places import is_local

LEASE_S = 120.0
"""A lease that was not renewed for so long has lapsed."""
HELD_SHARE = 0.875
"""Of that time: a holder that could not renew its lease for so long ends; hosts' clocks may differ by the rest."""
RENEW_EVERY_S = 20.0
LOOK_S = 0.005
"""Whoever asks whether a file lock is held has it for a moment, and gives another who asks so much time to let go."""
PEEK_S = 0.2
"""What is still held after so long is held by no one who asks."""


@dataclass(frozen=True)
class Holder:
    """A process that has a lock."""

    host: str
    pid: int
    since: float
    """Seconds since 1970, by its own clock."""

    @classmethod
    def this(cls) -> Holder:
        return cls(socket.gethostname(), os.getpid(), time.time())

    @classmethod
    def of(cls, text: str) -> Holder | None:
        """The holder that a lock's content names; None where it names none."""
        try:
            content = json.loads(text)
            return cls(str(content["host"]), int(content["pid"]), float(content["since"]))
        except (ValueError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, since {since}"


class Held(Exception):
    """Another has it; `holder` says who, where that is known."""

    def __init__(self, path: Path, holder: Holder | None = None) -> None:
        super().__init__(str(path))
        self.holder = holder


@contextmanager
def holding(path: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Hold the lock named `path` while the body runs. Held where another has it, for all of `patience_s` if a file."""
    if not is_local(path):
        with _lease(path):
            yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience_s, poll_interval=0.01)
    except Timeout:
        raise Held(path, _named_in(path)) from None
    try:
        _sign(path)
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process has the lock at this moment. Its name in there stays."""
    if not is_local(path):
        return not all(_lapsed(lease) for lease in _leases(path).values())
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOOK_S, poll_interval=LOOK_S / 5)
    except Timeout:
        return True
    lock.release()
    return False


def _sign(path: Path) -> None:
    """Name this process in its lock, whose file stays the same.

    What else is written there is left: on a file system without locks filelock puts a mark of its own into the file.
    """
    text = path.read_text(errors="replace")
    if not text or Holder.of(text):
        path.write_text(json.dumps(asdict(Holder.this())))


def _named_in(path: Path) -> Holder | None:
    try:
        return Holder.of(path.read_text(errors="replace"))
    except OSError:  # it is only for a message
        return None


def _mark_in(lease: Path) -> str | None:
    """What its holder has marked it by; None where it is gone, or has no mark."""
    try:
        return str(json.loads(lease.read_text())["mark"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


@contextmanager
def _lease(path: Path) -> Iterator[None]:
    mine, content, renewed_at = _create(path)
    ended, lost = threading.Event(), threading.Event()

    def late(now: float) -> bool:
        return now - renewed_at > HELD_SHARE * LEASE_S

    def renew() -> None:
        nonlocal renewed_at
        while not ended.wait(RENEW_EVERY_S) and not lost.is_set():
            asked_at = time.time()
            if late(asked_at):
                return  # another's may be there by now
            with suppress(Exception), impatient():  # a store that is away for a moment is asked again
                mine.write_text(_dated(content))
                renewed_at = asked_at

    def watch() -> None:
        """Beside `renew`, whose question may hang for longer than the lease lasts."""
        while not ended.wait(RENEW_EVERY_S / 20):
            if late(time.time()):  # this process slept, or the store was away
                lost.set()
                _interrupt_main_thread()
                return

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except StoreLost:
        lost.set()  # it can't be given back, and lapses
        raise
    except KeyboardInterrupt:
        if not lost.is_set():
            raise
        raise StoreLost(
            f"lease {mine} could not be renewed for {HELD_SHARE * LEASE_S:g} s, and another process may take it over; "
            f"run the same command again to go on from the last checkpoints"
        ) from None
    finally:
        ended.set()
        if not lost.is_set():
            renewing.join()
        # else it may be another's by now, also by the same name
        if not (lost.is_set() or late(time.time())) and _mark_in(mine) == content["mark"]:
            mine.unlink(missing_ok=True)


def _interrupt_main_thread() -> None:
    """As Ctrl-C does, in the midst of a system call too; nothing where the process has shut its ears to that."""
    ident = threading.main_thread().ident
    if callable(signal.getsignal(signal.SIGINT)) and ident is not None:
        signal.pthread_kill(ident, signal.SIGINT)


def _create(path: Path) -> tuple[Path, dict[str, Any], float]:
    """The lease's own object, what is in it, and from when on it runs.

    Held where there is one that has not lapsed, or another was quicker.

    What was listed may be another's by the time that the own one is there, so it is looked at once more: of two that
    hold a lease for a moment, the later sees the earlier, and gives its own back.
    """
    before = _leases(path)
    _require_lapsed(path, before.values())
    mine = path.with_name(f"{path.name}.{max(before, default=0) + 1}")
    content = asdict(Holder.this()) | {"mark": uuid.uuid4().hex}
    began_at = 0.0

    def write() -> None:
        nonlocal began_at
        began_at = time.time()
        _write_first(mine, content)

    try:
        riding_out(mine, write)
    except FileExistsError:  # it may be our own, whose creation was not answered for
        if _mark_in(mine) != content["mark"]:
            raise Held(path, _named_in(mine)) from None
    others = [lease for lease in _leases(path).values() if lease.name != mine.name]
    try:
        _require_lapsed(path, others)
    except Held:
        mine.unlink(missing_ok=True)
        raise
    for lease in others:
        lease.unlink(missing_ok=True)
    return mine, content, began_at


def _write_first(mine: Path, content: dict[str, Any]) -> None:
    """Create the object. FileExistsError where there is one."""
    with mine.open("xb") as file:
        file.write(_dated(content).encode())


def _leases(path: Path) -> dict[int, Path]:
    """Those that there are, by number."""
    return {int(one.name.rpartition(".")[2]): one for one in path.parent.glob(f"{path.name}.*")}


def _require_lapsed(path: Path, leases: Iterable[Path]) -> None:
    for lease in leases:
        if not _lapsed(lease):
            raise Held(path, _named_in(lease))


def _lapsed(lease: Path) -> bool:
    try:
        return float(json.loads(lease.read_text())["until"]) < time.time()
    except ValueError:  # created and not yet written, or cut off in between
        with suppress(FileNotFoundError):
            return time.time() - lease.stat().st_mtime > LEASE_S
    except FileNotFoundError:
        pass
    return True  # given back since it was listed


def _dated(content: dict[str, Any]) -> str:
    """What is in a lease that is renewed now."""
    return json.dumps(content | {"until": time.time() + LEASE_S})
