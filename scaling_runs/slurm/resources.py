"""What a job asks for, by what the plan says of its cells. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scaling_runs.memory import checkpoint_bytes, host_memory
from scaling_runs.numbers import number
from scaling_runs.slurm.options import SlurmOptions
from scaling_runs.spec import CellSpec
from scaling_runs.stopping import MEET_EVERY_S
from scaling_runs.sweep_record import PlannedCell

START_S = 120.0
"""Imports, and the corpus on a cold file system."""
SLACK = 2.0
"""Times the estimate: nodes differ, and a job that runs out of time costs a requeue."""
WARN_S = 60
"""Seconds before its end that a job is told of it at least, or half of a shorter job's."""
LATE_S = 30
"""By so much Slurm may be late to tell."""
SAVED_BYTES_PER_S = 2e8
"""By one process to a shared file system: assumed."""
MIN_MEMORY_GB = 2


@dataclass(frozen=True)
class Resources:
    """Of one job."""

    nodes: int
    gpus: int
    """Of each node. A rank each, where the job has more than one."""
    memory_gb: int | None
    """Of each node; None for what the cluster gives."""
    minutes: int
    warn_s: int = WARN_S
    """Before its end that it is told of it, and saves."""

    @property
    def ranks(self) -> int:
        return self.nodes * max(1, self.gpus)

    def __str__(self) -> str:
        parts = [f"up to {number(self.minutes, 'minute')}"]
        if self.nodes > 1:
            parts.append(f"{self.nodes} nodes of {number(self.gpus, 'GPU')}")
        elif self.gpus:
            parts.append(number(self.gpus, "GPU"))
        if self.memory_gb is not None:
            parts.append(f"{self.memory_gb} GB of memory" + " a node" * (self.nodes > 1))
        return ", ".join(parts)


def resources_of(cells: Sequence[PlannedCell], specs: Sequence[CellSpec], options: SlurmOptions) -> Resources:
    """Of a job that trains these cells one after another: the most that one of them takes, and the time of all."""
    planned = max(cell.gpus for cell in cells)
    nodes, gpus = spread(planned if options.gpus is None else options.gpus, options.gpus_a_node)
    ranks = nodes * max(1, gpus)
    seconds = [cell.seconds * (cell.gpus or ranks) / ranks for cell in cells]
    memory_gb = options.memory_gb
    if memory_gb is None:
        memory_gb = _memory_gb(max(host_memory(spec, gpus) for spec in specs))
    step_s = max(total_s / spec.steps for total_s, spec in zip(seconds, specs, strict=True))
    warn_s = warning_s(max(map(checkpoint_bytes, specs)), step_s)
    minutes = minutes_for(seconds, warn_s, options.max_minutes)
    return Resources(nodes, gpus, memory_gb or None, minutes, min(warn_s, 30 * minutes))


def spread(gpus: int, gpus_a_node: int) -> tuple[int, int]:
    """(nodes, GPUs of each): the fewest nodes that have as many GPUs each."""
    if gpus == 0:
        return 1, 0
    nodes = next(n for n in range(-(-gpus // gpus_a_node), gpus + 1) if gpus % n == 0)
    return nodes, gpus // nodes


def minutes_for(seconds: Sequence[float], warn_s: int, max_minutes: int) -> int:
    """Of a job that trains cells of so many estimated seconds one after another, each in a process of its own.

    A power of two, or the most that is allowed: jobs of about the same time ask for the same, and are one array.
    """
    needed_s = sum(START_S + SLACK * one for one in seconds) + warn_s
    return min(2 ** math.ceil(math.log2(needed_s / 60)), max_minutes)


def warning_s(saved_bytes: float, step_s: float) -> int:
    """Before its end that a job is told of it, which then saves so much: minutes, a power of two of them.

    step_s: of one step, two of which may pass before the ranks meet.
    """
    needed_s = LATE_S + MEET_EVERY_S + 2 * SLACK * step_s + saved_bytes / SAVED_BYTES_PER_S
    return max(WARN_S, 60 * 2 ** math.ceil(math.log2(needed_s / 60)))


def _memory_gb(needed_bytes: float) -> int:
    """A power of two, as the minutes."""
    return max(MIN_MEMORY_GB, 2 ** math.ceil(math.log2(needed_bytes / 1e9)))
