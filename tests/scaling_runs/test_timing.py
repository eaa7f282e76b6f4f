"""How one training step is timed."""

from __future__ import annotations

import time

from scaling_runs.timing import steady


def test_time_that_another_process_takes_is_not_counted() -> None:
    """Truth: an act that sleeps: the clock on the wall goes on, this thread does no work."""
    assert steady(lambda: time.sleep(0.05), "cpu", at_least=3, for_s=0).seconds < 0.01


def test_now_and_then_a_slow_step_does_not_count() -> None:
    """Truth: one call in three works ten times as long as the others."""
    calls = iter(range(1000))

    def act() -> None:
        until = time.thread_time() + (0.02 if next(calls) % 3 == 0 else 0.002)
        while time.thread_time() < until:
            pass

    assert 0.002 <= steady(act, "cpu", at_least=9, for_s=0).seconds < 0.004


def test_how_often_it_was_done_is_told_with_what_warmed_up() -> None:
    """Truth: a count of the calls."""
    calls: list[int] = []
    done = steady(lambda: calls.append(1), "cpu", at_least=7, for_s=0)
    assert done.times == len(calls) == 8
