"""Where Hydra looks for `hydra/launcher=slurm`; the work is in `scaling_runs/slurm/`.

As in `sweeper.py`: no torch is loaded here, and annotations are not deferred.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SlurmLauncher(Launcher):
    """Trains cells as jobs of Slurm."""

    detaches = True
    """`detach=true` leaves the jobs to Slurm."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from scaling_runs.config import typed
        from scaling_runs.slurm.cells import SlurmCells
        from scaling_runs.slurm.options import SlurmOptions

        options = self.options | {name: tuple(self.options[name]) for name in ("flags", "setup")}
        self.cells = SlurmCells(SlurmOptions(**options), typed(config))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.cells.train(job_overrides)


@dataclass
class SlurmLauncherConfig:
    _target_: str = "hydra_plugins.isoflop.slurm.SlurmLauncher"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gpus: int | None = None
    gpus_a_node: int = 8
    gpu_type: str | None = None
    memory_gb: int | None = None
    at_once: int | None = None
    max_minutes: int = 1440
    flags: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)


ConfigStore.instance().store(
    group="hydra/launcher", name="slurm", node=SlurmLauncherConfig, provider="isoflop"
)
