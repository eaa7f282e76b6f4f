"""Where Hydra looks for sweepers; the work is in `scaling_runs/sweeper.py`.

Each start of Hydra executes this before the module has a name in `sys.modules`: no torch, and no deferred annotations,
which dataclasses would look up there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class IsoflopSweeper(Sweeper):
    """Plans the grid, trains what is not done through the configured launcher, fits and reports."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from scaling_runs.config import typed
        from scaling_runs.launchers import require_detaching, require_gpus, side_by_side

        self.config = config
        self.settings = typed(config)  # before the launcher, which loads torch: what is wrong is told at once
        require_gpus(self.settings, config.hydra.launcher)
        self.side_by_side = side_by_side(config.hydra.launcher)
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        require_detaching(self.settings, self.launcher)

    def sweep(self, arguments: list[str]) -> None:
        from scaling_runs.usage import refuse_lists

        refuse_lists(arguments)
        from scaling_runs.launching import job_of
        from scaling_runs.sweeper import run_sweep

        def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
            """Train each cell; what went wrong with it, in the order of `cell_ids`."""
            jobs = [job_of(arguments, cell_id) for cell_id in cell_ids]
            returns = self.launcher.launch(jobs, initial_job_idx=0)
            return [
                job._return_value if isinstance(job._return_value, BaseException) else None for job in returns
            ]

        run_sweep(self.settings, launch, self.side_by_side)


@dataclass
class IsoflopSweeperConfig:
    _target_: str = "hydra_plugins.isoflop.sweeper.IsoflopSweeper"


ConfigStore.instance().store(
    group="hydra/sweeper", name="isoflop", node=IsoflopSweeperConfig, provider="isoflop"
)
