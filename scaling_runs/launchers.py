"""What Hydra's launchers are told."""

from __future__ import annotations

import os

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from fit.errors import UserError
from scaling_runs.config import Config


def require_detaching(config: Config, launcher: Launcher) -> None:
    """UserError where a sweep is to be left to a launcher that trains in processes of its own."""
    if config.detach and not getattr(launcher, "detaches", False):
        raise UserError(
            "detach=true leaves the cells to a cluster's queue, which this launcher has none of; add "
            "hydra/launcher=slurm, or leave it out"
        )


def cells_at_once(launcher: DictConfig) -> int:
    """Cells that a launcher of this config starts at once: its n_jobs as joblib counts them, 1 where it has none.

    UserError where n_jobs is no such number.
    """
    jobs = launcher.get("n_jobs")
    if jobs is None:
        return 1
    if jobs == 0:
        raise UserError(
            "hydra.launcher.n_jobs is 0; it must be a number of cells at once from 1 up, or -1 for one a core"
        )
    return int(jobs) if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + int(jobs))
