"""What `hydra.launcher.…` says where it is Slurm's."""

from __future__ import annotations

from dataclasses import dataclass

from fit.errors import UserError

OURS = (
    *("array", "dependency", "error", "job-name", "no-requeue", "open-mode", "output", "parsable", "requeue"),
    *("signal", "test-only", "wait", "wrap"),
)
"""Flags by which jobs are counted, found again, told and put back."""
OURS_IN_SHORT = ("-a", "-d", "-e", "-J", "-o", "-W")


@dataclass(frozen=True)
class SlurmOptions:
    partition: str | None
    """As sbatch has it; None for the cluster's own."""
    account: str | None
    """Likewise."""
    qos: str | None
    """Likewise."""
    gpus: int | None
    """Of a cell; None for those of the plan's layout, where hardware= is named, and for none elsewhere."""
    gpus_a_node: int
    """That a node has: more of a cell are on several."""
    gpu_type: str | None
    """Slurm's own name of the GPU, where the cluster has several."""
    memory_gb: int | None
    """Of a job on each node; None for what a cell takes by formula, 0 to leave it to the cluster."""
    at_once: int | None
    """Jobs of the sweep that run at the same time; None for as many as the cluster lets."""
    max_minutes: int
    """No job asks for more; a cell that takes longer goes on in another."""
    flags: tuple[str, ...]
    """Further flags of sbatch, such as --constraint=a100."""
    setup: tuple[str, ...]
    """Lines of shell before a cell's own, such as `module load cuda`."""

    def __post_init__(self) -> None:
        if self.gpus is not None and self.gpus < 0:
            raise UserError(
                f"hydra.launcher.gpus is {self.gpus}; it must be a number of GPUs from 0 up, or null for the plan's"
            )
        if self.gpus_a_node < 1:
            raise UserError(f"hydra.launcher.gpus_a_node is {self.gpus_a_node}; it must be at least 1")
        if self.at_once is not None and self.at_once < 1:
            raise UserError(
                f"hydra.launcher.at_once is {self.at_once}; it must be at least 1, or null for no limit"
            )
        if self.memory_gb is not None and self.memory_gb < 0:
            raise UserError(
                f"hydra.launcher.memory_gb is {self.memory_gb}; it must be at least 1, 0 to leave it to the cluster, "
                f"or null for what the cells take"
            )
        if self.max_minutes < 1:
            raise UserError(f"hydra.launcher.max_minutes is {self.max_minutes}; it must be at least 1")
        for flag in self.flags:
            if not flag.startswith("-"):
                raise UserError(
                    f"hydra.launcher.flags holds '{flag}'; a flag of sbatch begins with a dash, as in --constraint=a100"
                )
            if _is_ours(flag):
                raise UserError(
                    f"hydra.launcher.flags holds '{flag}', which the launcher itself needs to set; leave it out"
                )


def _is_ours(flag: str) -> bool:
    """Also where it is cut short, as sbatch takes it."""
    name = flag.replace("=", " ").split()[0]
    if not name.startswith("--"):
        return name.startswith(OURS_IN_SHORT)
    return any(one.startswith(name.removeprefix("--")) for one in OURS)
