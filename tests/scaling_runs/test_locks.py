"""A lock in a folder, as whoever asks for it sees it; a lease at a URL is `test_places.py`'s."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from scaling_runs import locks
from scaling_runs.locks import holding, is_held


def test_whether_a_lock_is_held_is_seen_without_taking_it(tmp_path: Path) -> None:
    """Truth: the lock before there is one, in another's hands, and given back; the name in it stays."""
    path = tmp_path / ".lock"
    assert not is_held(path)
    with holding(path):
        assert is_held(path)
        name = path.read_text()
    assert not is_held(path)
    assert path.read_text() == name


def test_two_that_ask_at_one_moment_do_not_take_each_other_for_a_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: a lock that another has for a moment, as whoever asks has it; here patience is longer, and so is that."""
    monkeypatch.setattr(locks, "LOOK_S", 5.0)
    path = tmp_path / ".lock"
    asking = FileLock(path, thread_local=False)
    asking.acquire()
    threading.Timer(0.1, asking.release).start()
    assert not is_held(path)
