"""Who has a cell, or a trunk, at a URL: a lease.

An object store has no locks, so there a lease is an object that only one can create (fsspec's exclusive mode; on S3 a
conditional write), which its holder renews and which lapses where it no longer does. Each lease has a number, and a
lapsed one is taken over by creating the next: of two that try, one fails. A holder that comes too late to renew its own
ends, for another may have the cell by then.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scaling_runs.errors import StoreLost
from scaling_runs.holder import Held, Holder, named_in
from scaling_runs.outages import impatient, riding_out

LEASE_S = 120.0
"""A lease that was not renewed for so long has lapsed."""
HELD_SHARE = 0.875
"""Of that time: a holder that could not renew its lease for so long ends; hosts' clocks may differ by the rest."""
RENEW_EVERY_S = 20.0


@contextmanager
def leasing(path: Path, *, patiently: bool) -> Iterator[None]:
    """Have the lease named `path` while the body runs. Held where another has it.

    With `patiently`, one that is not renewed is waited for until it lapses, for its holder may have died.
    """
    while True:
        try:
            mine, content, began_at = _create(path)
            break
        except Held:
            if not patiently or is_renewed(path):
                raise
    with _kept(mine, content, began_at):
        yield


def is_leased(path: Path) -> bool:
    """Whether there is a lease that has not lapsed."""
    return bool(_living(path))


def lease_holder(path: Path) -> Holder | None:
    """Whom the newest lease names."""
    leases = _leases(path)
    return named_in(leases[max(leases)]) if leases else None


def is_renewed(path: Path) -> bool:
    """Whether a living process has the lease: it is watched until it is renewed, or has lapsed."""
    seen: dict[str, float] = {}
    began, told = time.monotonic(), False
    while living := _living(path):
        if any(seen.get(name, until) != until for name, until in living.items()):
            return True
        seen |= living
        if not told and time.monotonic() - began > 1.5 * RENEW_EVERY_S:
            left_s = max(living.values()) - time.time()
            told = True
            print(
                f"nobody renews {path}; it is waited for to lapse, in {left_s:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(RENEW_EVERY_S / 20)
    return False


@contextmanager
def _kept(mine: Path, content: dict[str, Any], renewed_at: float) -> Iterator[None]:
    """The lease is renewed while the body runs, and given back after it."""
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
            raise Held(path, named_in(mine)) from None
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
            raise Held(path, named_in(lease))


def _lapsed(lease: Path) -> bool:
    return _until(lease) < time.time()


def _until(lease: Path) -> float:
    """When it lapses, in seconds since 1970; 0 where it was given back since it was listed."""
    try:
        return float(json.loads(lease.read_text())["until"])
    except ValueError:  # created and not yet written, or cut off in between
        with suppress(FileNotFoundError):
            return lease.stat().st_mtime + LEASE_S
    except FileNotFoundError:
        pass
    return 0.0


def _dated(content: dict[str, Any]) -> str:
    """What is in a lease that is renewed now."""
    return json.dumps(content | {"until": time.time() + LEASE_S})


def _living(path: Path) -> dict[str, float]:
    """Until when each lease that has not lapsed runs, by its name."""
    ends = {lease.name: _until(lease) for lease in _leases(path).values()}
    return {name: until for name, until in ends.items() if until > time.time()}


def _mark_in(lease: Path) -> str | None:
    """What its holder has marked it by; None where it is gone, or has no mark."""
    try:
        return str(json.loads(lease.read_text())["mark"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
