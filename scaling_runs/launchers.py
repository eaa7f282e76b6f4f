"""What Hydra's launchers are told."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from fit.errors import UserError
from scaling_runs.bench.profile import CPU, named_profile
from scaling_runs.config import Config

TRAIN_HERE = ("BasicLauncher", "JoblibLauncher")


@dataclass(frozen=True)
class SideBySide:
    """How many cells a launcher has in training at the same time."""

    cells: int | None
    """None for as many as there are."""
    here: bool = True
    """On this machine, of whose cores or GPUs no more can be. Elsewhere a trunk's cells are one job of a queue."""


ONE_BY_ONE = SideBySide(1)


def require_detaching(config: Config, launcher: Launcher) -> None:
    """UserError where a sweep is to be left to a launcher that trains in processes of its own."""
    if config.detach and not getattr(launcher, "detaches", False):
        raise UserError(
            "detach=true leaves the cells to a cluster's queue, which this launcher has none of; add "
            "hydra/launcher=slurm, or leave it out"
        )


def side_by_side(launcher: DictConfig) -> SideBySide:
    """Of a launcher of this config. UserError where its number is none."""
    if "at_once" in launcher:
        return SideBySide(launcher.at_once, here=False)
    return SideBySide(cells_at_once(launcher))


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


def require_gpus(config: Config, launcher: DictConfig) -> None:
    """UserError where a sweep that is planned for GPUs, by name or by a profile, would train here, where there is none.

    A cluster's own launcher looks for them itself, and a dry run needs none.
    """
    sweep = config.sweep
    here = str(launcher.get("_target_", "")).endswith(TRAIN_HERE) or launcher.get("address") == "local"
    if sweep is None or config.hardware is None or config.dry_run or not here:
        return
    profile = named_profile(config.hardware)
    if profile is not None and profile.device == CPU:
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"sweep={sweep.name} is planned for {config.gpus} x {config.hardware}, and torch {torch.__version__} finds "
            f"no GPU on this machine; start it where they are, look at it with dry_run=true, or train it on this CPU "
            f"with hardware=null gpus=1"
        )
