"""A store at a URL that is away for a while: it is asked again with growing waits, and given up in the end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from fit.errors import reason_of
from scaling_runs.errors import StoreLost

PATIENCE_S = 90.0
"""Less than a lease lasts (`leases.LEASE_S`): once it has lapsed another may have the cell."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, ValueError)
"""What a store says that is there."""
T = TypeVar("T")
_patient: ContextVar[bool] = ContextVar("patient", default=True)


class _Outage:
    """What the threads of this process know of an outage."""

    def __init__(self) -> None:
        self.lost: str | None = None
        """Why the store was given up: whatever is asked of it after that fails at once, for the process is to end."""
        self._told_at: float | None = None
        self._lock = threading.Lock()

    def tell(self, place: object, error: Exception) -> None:
        """Say it once."""
        with self._lock:
            if self._told_at is None:
                self._told_at = time.monotonic()
                _say(
                    f"warning: {place} can't be read or written ({reason_of(error)}); trying again for up to "
                    f"{PATIENCE_S:g} s"
                )

    def over(self) -> None:
        with self._lock:
            if self._told_at is not None:
                _say(f"the store answers again, after {time.monotonic() - self._told_at:.0f} s")
                self._told_at = None


_outage = _Outage()


def riding_out(place: object, do: Callable[[], T]) -> T:
    """What `do` comes to at `place`, tried again while the store is away. StoreLost where that is for too long."""
    wait_s, since = FIRST_WAIT_S, None
    while True:
        if _outage.lost is not None:
            raise StoreLost(_outage.lost)
        began = time.monotonic()
        try:
            found = do()
        except Exception as error:
            if not _is_outage(error):
                if since is not None:
                    _outage.over()
                raise
            now = time.monotonic()
            # a long upload that fails at its end has not failed all the while
            since = since or max(began, now - PATIENCE_S / 2)
            if not _patient.get() or now - since > PATIENCE_S:
                raise _given_up(place, error, now - since) from error
            _outage.tell(place, error)
        else:
            if since is not None:
                _outage.over()
            return found
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


@contextmanager
def impatient() -> Iterator[None]:
    """In the body, of this thread, StoreLost is raised at the first failure, and nothing follows from it."""
    before = _patient.set(False)
    try:
        yield
    finally:
        _patient.reset(before)


def _is_outage(error: Exception) -> bool:
    """Clients of object stores have errors of their own; Python's, but for the system's, are bugs."""
    if isinstance(error, ANSWERS):
        return False
    return isinstance(error, OSError) or type(error).__module__ != "builtins"


def _given_up(place: object, error: Exception, seconds: float) -> StoreLost:
    lost = (
        f"{place} could not be read or written for {seconds:.0f} s ({reason_of(error)}); run the same command again "
        f"once the store answers, to go on from the last checkpoints"
    )
    if _patient.get():
        _outage.lost = lost
    return StoreLost(lost)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
