"""What `hydra.launcher.…` says where it is Slurm's, and what of it becomes a line of a batch script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fit.errors import UserError

START_S = 120.0
"""Imports, and the corpus on a cold file system."""
SLACK = 2.0
"""Times the estimate: nodes differ, and a job that runs out of time costs a requeue."""
WARN_S = 60
"""Seconds before its end that a job is told of it, or half of a shorter one's; Slurm may be half a minute late."""


@dataclass(frozen=True)
class SlurmOptions:
    partition: str | None
    account: str | None
    qos: str | None
    gpus: int
    """Of a cell. With more than one its ranks are started by torchrun."""
    memory_gb: int | None
    at_once: int | None
    """Jobs that run at the same time; None for as many as the cluster lets."""
    max_minutes: int
    """No job asks for more; a cell that takes longer goes on in another."""
    flags: tuple[str, ...]
    """Further flags of sbatch, such as --constraint=a100."""
    setup: tuple[str, ...]
    """Lines of shell before a cell's own, such as `module load cuda`."""

    def __post_init__(self) -> None:
        if self.gpus < 0:
            raise UserError(f"hydra.launcher.gpus is {self.gpus}; it must be a number of GPUs from 0 up")
        if self.at_once is not None and self.at_once < 1:
            raise UserError(
                f"hydra.launcher.at_once is {self.at_once}; it must be at least 1, or null for no limit"
            )
        if self.memory_gb is not None and self.memory_gb < 1:
            raise UserError(f"hydra.launcher.memory_gb is {self.memory_gb}; it must be at least 1")
        if self.max_minutes < 1:
            raise UserError(f"hydra.launcher.max_minutes is {self.max_minutes}; it must be at least 1")
        for flag in self.flags:
            if not flag.startswith("-"):
                raise UserError(
                    f"hydra.launcher.flags holds '{flag}'; a flag of sbatch begins with a dash, as in --constraint=a100"
                )


def minutes_for(seconds: Sequence[float], options: SlurmOptions) -> int:
    """Of a job that trains cells of so many estimated seconds one after another, each in a process of its own."""
    needed = sum(START_S + SLACK * one for one in seconds) + WARN_S
    return min(math.ceil(needed / 60), options.max_minutes)


def header(name: str, log: str, jobs: int, minutes: int, threads: int, options: SlurmOptions) -> list[str]:
    """The #SBATCH lines of an array of `jobs` jobs that ask for the same."""
    limit = f"%{options.at_once}" if options.at_once is not None else ""
    values: Mapping[str, object] = {
        "job-name": name,
        "output": log,
        "open-mode": "append",
        "array": f"0-{jobs - 1}{limit}",
        "time": minutes,
        "ntasks": 1,
        "cpus-per-task": threads * max(1, options.gpus),
        "gpus-per-node": options.gpus or None,
        "mem": f"{options.memory_gb}G" if options.memory_gb is not None else None,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "signal": f"B:USR2@{min(WARN_S, 30 * minutes)}",
    }
    lines = [f"#SBATCH --{key}={value}" for key, value in values.items() if value is not None]
    return [*lines, "#SBATCH --requeue", *(f"#SBATCH {flag}" for flag in options.flags)]
