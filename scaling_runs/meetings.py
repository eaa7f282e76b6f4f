"""When a cell looks up from its steps: whether a checkpoint is due, and whether it was told to save and end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from scaling_runs.ranks import of_all_ranks
from scaling_runs.runtime import Runtime
from scaling_runs.stopping import MEET_EVERY_S, asked

SAVE_EVERY_S = 20.0
MAX_SAVE_SHARE = 0.02
"""Of the time, past the first save: a large model, which takes long to save, is saved seldomer."""
MAX_BETWEEN_SAVES_S = 900.0
"""What a killed cell may lose, however long a save takes."""


@dataclass(frozen=True)
class Due:
    """What clocks and signals ask of the cell after a step; the same on every rank."""

    save: bool = False
    stop: bool = False


class SaveClock:
    """Says when the next checkpoint is due, by the time since the last one and what that one took."""

    def __init__(self) -> None:
        self.saved_at, self.save_s = time.monotonic(), 0.0

    def due(self) -> bool:
        wait_s = min(max(SAVE_EVERY_S, self.save_s / MAX_SAVE_SHARE), MAX_BETWEEN_SAVES_S)
        return time.monotonic() - self.saved_at > wait_s

    def saved(self, started_at: float) -> None:
        """A save that began at `started_at` (time.monotonic) is done."""
        self.saved_at = time.monotonic()
        self.save_s = self.saved_at - started_at


class Meetings:
    """The steps after which a cell looks up. One process does after each.

    Ranks have to agree, for which they wait for each other and for their GPUs: they do so about every `MEET_EVERY_S`,
    and at first more often, at steps that rank 0 sets at the meeting before; and where they wait for each other anyway,
    should steps take much longer than they did.
    """

    def __init__(self, runtime: Runtime, step: int) -> None:
        self.runtime, self.saves = runtime, SaveClock()
        self.met_step, self.met_at = step, time.monotonic()
        self.ahead, self.next_step = 1, step + 1

    def __call__(self, step: int, *, together: bool) -> Due:
        """What is due after `step` steps. together: whether the ranks wait for each other here; the same on all."""
        if self.runtime.world_size == 1:
            return Due(self.saves.due(), asked())
        if step < self.next_step and not together:
            return Due()
        told = any(of_all_ranks(asked()))  # whichever was; past this the steps are done on each GPU too
        a_second = (step - self.met_step) / (time.monotonic() - self.met_at)
        self.ahead = max(1, min(2 * self.ahead, int(MEET_EVERY_S * a_second)))
        due, self.next_step = self.runtime.agree((Due(self.saves.due(), told), step + self.ahead))
        self.met_step, self.met_at = step, time.monotonic()
        return due
