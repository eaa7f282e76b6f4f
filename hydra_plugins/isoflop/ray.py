"""Where Hydra looks for `hydra/launcher=ray`; the work is in `scaling_runs/ray_cells.py`.

As in `sweeper.py`: neither torch nor Ray is loaded here, and annotations are not deferred.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import II, DictConfig


class RayLauncher(Launcher):
    """Trains each cell as a Ray task."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from scaling_runs.ray_cells import RayCells, RayOptions

        self.cells = RayCells(RayOptions(**self.options), hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.cells.train(job_overrides)


@dataclass
class RayLauncherConfig:
    _target_: str = "hydra_plugins.isoflop.ray.RayLauncher"
    address: str = "local"
    n_jobs: int = II("workers:")
    num_gpus: float | None = None


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConfig, provider="isoflop")
