"""When a cell looks up from its steps."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_runs import meetings
from scaling_runs.meetings import Meetings, SaveClock
from scaling_runs.runtime import Runtime
from scaling_runs.stopping import MEET_EVERY_S


def test_saving_takes_no_more_than_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: 20 s where a save is quick; 50 times the save's own time, so 2% of it, where a save takes 7 s."""
    now = 0.0
    monkeypatch.setattr(meetings, "time", SimpleNamespace(monotonic=lambda: now))
    clock = SaveClock()
    now = 20.0
    assert not clock.due()
    now = 20.1
    assert clock.due()
    clock.saved(started_at=20.0)
    now = 40.2
    assert clock.due()
    now = 47.0
    clock.saved(started_at=40.0)
    now = 47.0 + 349.0
    assert not clock.due()
    now = 47.0 + 351.0
    assert clock.due()
    now = 1000.0
    clock.saved(started_at=900.0)
    now = 1901.0
    assert clock.due(), "a quarter of an hour is all that may be lost"


@given(st.integers(1, 400), st.floats(1e-4, 60.0), st.floats(0.2, 5.0))
def test_ranks_meet_about_every_five_seconds_and_after_each_step_that_takes_longer(
    steps: int, step_s: float, drift: float
) -> None:
    """Truth: a clock that the steps move, which take `drift` times as long from the middle on.

    The first meetings lie closer, each twice as far from the next, until the steps' time is known.
    """
    now, met_at, waits = 0.0, 0.0, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meetings, "time", SimpleNamespace(monotonic=lambda: now))
        patch.setattr(meetings, "asked", lambda: bool(waits) or now > 0)
        look_up = Meetings(Runtime(world_size=2), step=7)
        for step in range(steps):
            now += step_s * (drift if step > steps / 2 else 1)
            if look_up(8 + step, together=False).stop:
                waits.append(now - met_at)
                met_at = now
    slowest = step_s * max(1, drift)
    assert max(waits, default=0) <= max(MEET_EVERY_S * max(1, drift), slowest) * 1.001
    if drift == 1:
        assert len(waits) <= math.log2(steps) + 2 + 2 * steps * step_s / MEET_EVERY_S


def test_one_process_looks_up_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: the step at which it is told."""
    told = iter([False, False, True])
    monkeypatch.setattr(meetings, "asked", lambda: next(told))
    look_up = Meetings(Runtime(), step=0)
    assert [look_up(step, together=False).stop for step in (1, 2, 3)] == [False, False, True]


def test_ranks_that_wait_for_each_other_anyway_look_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: steps of a millisecond, after which the next meeting is thousands away, and one of ten minutes."""
    now = 0.0
    monkeypatch.setattr(meetings, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(meetings, "asked", lambda: now > 100)
    look_up = Meetings(Runtime(world_size=2), step=0)
    for step in range(1, 5000):
        now += 1e-3
        assert not look_up(step, together=False).stop
    now += 600
    assert not look_up(5000, together=False).stop
    assert look_up(5001, together=True).stop
