"""Trunks: what cells of one model that differ in their end alone have in common, trained once.

With a constant rate until the cooldown, a cell of D tokens begins exactly as one of more tokens does. So whoever trains
a trunk leaves its state at each step where a cell's cooldown is to begin, and a cell goes on from the state that is
nearest to its own cooldown, or from nothing. Its result is the same, bit for bit; a trunk only saves work.

trunks/<trunk_id>/
    forks.json       steps at which cooldowns begin
    began.json       the step that its last holder went on from
    <step>.pt        the state after so many steps, and the curve up to there
    .lock            held by the process that trains the trunk
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_runs.files import read_json, remove_abandoned, write_json
from scaling_runs.holder import Held
from scaling_runs.locks import holding
from scaling_runs.spec import CellSpec

if TYPE_CHECKING:
    from scaling_runs.runtime import Runtime

LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class Trunk:
    """The files of one trunk."""

    path: Path

    def state(self, step: int) -> Path:
        return self.path / f"{step}.pt"

    def states(self) -> list[int]:
        """Steps whose state is there, in order."""
        return sorted(int(path.stem) for path in self.path.glob("*.pt"))

    def nearest(self, step: int) -> int:
        """The last step up to `step` whose state is there; 0 where there is none."""
        return max((there for there in self.states() if there <= step), default=0)

    def set_aside(self, state: Path) -> Path:
        """Take a state that can't be read out of use, unless another process has; where it is kept."""
        kept = state.with_name(f"{state.name}.damaged")
        with suppress(FileNotFoundError):
            state.rename(kept)
        return kept

    def forks(self) -> set[int]:
        """Steps at which cooldowns begin."""
        try:
            return set(read_json(self.path / "forks.json"))
        except FileNotFoundError:
            return set()

    def add_forks(self, steps: Collection[int]) -> None:
        """Ask for the states after so many steps of whoever trains the trunk."""
        forks = self.forks()
        if not forks >= set(steps):
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.path / "forks.json", sorted(forks.union(steps)))

    def began_at(self) -> int:
        """The step that whoever holds the trunk, or held it last, went on from."""
        try:
            return int(read_json(self.path / "began.json"))
        except FileNotFoundError:
            return 0

    def begin_at(self, step: int) -> None:
        """Tell those that wait where its holder goes on from."""
        write_json(self.path / "began.json", step)

    def keep_last(self) -> None:
        """Drop every state but the last, from which a larger budget may go on; nothing while another run trains it."""
        if not self.path.exists():
            return
        try:
            with holding(self.path / ".lock"):
                remove_abandoned(self.path)
                for step in self.states()[:-1]:
                    self.state(step).unlink(missing_ok=True)
        except Held:
            return

    @contextmanager
    def claimed(self, up_to: int, wait: bool) -> Iterator[bool]:
        """Whether the body is to train this trunk on behalf of others too; what it holds, it holds to its end.

        Where another process trains it, waits until that one has passed `up_to` or has ended; with `wait` false, or
        where that one went on from beyond `up_to`, leaves it be. The one that is waited for never waits, so no two
        wait for each other.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            mine = False
            while not self.state(up_to).exists():
                try:
                    held.enter_context(holding(self.path / ".lock"))
                    mine = True
                    break
                except Held:
                    if not wait or self.began_at() >= up_to:
                        break
                    time.sleep(LOOK_EVERY_S)
            yield mine


class Branch:
    """A cell on its trunk: where it begins, and which states it leaves for others on its way."""

    def __init__(self, trunk: Trunk, spec: CellSpec, runtime: Runtime) -> None:
        self.trunk, self.spec, self.runtime = trunk, spec, runtime
        self._held = ExitStack()
        self._asked: set[int] = set()

    @contextmanager
    def climb(self, done: int) -> Iterator[int]:
        """The step of the state to go on from, where that is past the `done` steps of the cell's own; else 0.

        Rank 0 alone holds the trunk and leaves states. Beside other ranks it waits for nobody, for they would lose
        their patience.
        """
        end, found = self.spec.trunk_steps, 0
        with self._held:
            if self.runtime.is_main and done < end:
                alone = self.runtime.world_size == 1
                mine = self._held.enter_context(self.trunk.claimed(end, wait=alone))
                found = self.trunk.nearest(end)
                there = self.trunk.states()
                if mine:
                    self.trunk.begin_at(max(found, done))
                    self._asked = {step for step in self.trunk.forks() if step <= end and step not in there}
            found, self._asked = self.runtime.agree((found, self._asked))
            yield found if found > done else 0

    def asks_for(self, step: int) -> bool:
        """Whether the state after `step` steps is to be left; every rank has the same answer."""
        return step in self._asked

    def passed(self, step: int) -> None:
        """The trunk is free for others once its part of this cell is done."""
        if step >= self.spec.trunk_steps:
            self._held.close()
