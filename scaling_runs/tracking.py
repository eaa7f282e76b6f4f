"""W&B, a view of what the cells' own files record: its failing never fails a cell."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from scaling_runs.config import Config, TrackingConfig
from scaling_runs.places import is_local, place
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import Record

Observe = Callable[[Record], None]
LOSSES = ("train_loss", "val_loss_probe", "val_loss")


def group_of(config: Config) -> str:
    """The sweep that a cell is trained for."""
    return config.sweep.name if config.sweep else "single"


def wandb_folder(config: Config) -> Path:
    """W&B writes into a folder: that of the store, or beside the prepared data where the store is a URL."""
    root = place(config.store)
    return (root if is_local(root) else Path(config.data.cache_dir)) / group_of(config) / "wandb"


@contextmanager
def track_cell(config: Config, spec: CellSpec, runtime: Runtime) -> Iterator[Observe]:
    """A function that mirrors a record to W&B: one run a cell, named by its id, from rank 0.

    A cell that goes on from a checkpoint is to mirror the records that it has first, so that its run is whole. Losses
    are drawn against FLOPs; each record holds step, tokens and FLOPs, any of which W&B takes as the axis.
    """
    if config.tracking.mode == "off" or not runtime.is_main:
        yield lambda record: None
        return
    sizes = {"flops": spec.flops, "tokens": spec.tokens, "params": spec.params}  # as in the run table
    run = _Run(
        config,
        id=spec.cell_id,
        name=f"{spec.shape.name}-{spec.flops:.2g}-s{spec.seed}",
        settings=dataclasses.asdict(spec) | sizes,
    )
    run.draw_against("flops", LOSSES)
    try:
        yield run.log
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


def track_sweep(config: Config, table: Path, fit_json: Path, figure: Path, summary: dict[str, Any]) -> None:
    """A run that holds the run table, the fit and the figures."""
    if config.tracking.mode == "off":
        return
    run = _Run(
        config,
        id=f"{group_of(config)}-{os.urandom(4).hex()}",
        name=f"{group_of(config)} (sweep)",
        settings={},
    )
    run.attach(table, [path for path in (fit_json, figure) if path.exists()], summary)
    run.finish()


def sync_command(config: Config) -> str | None:
    """What uploads the offline logs; None where there are none."""
    folder = wandb_folder(config) / "wandb"
    if config.tracking.mode != "offline" or not any(folder.glob("offline-run-*")):
        return None
    return f"wandb sync {shlex.quote(str(folder))}/offline-run-*"


class _Run:
    """A W&B run. Where W&B fails the run ends, and this process warns once, however many runs follow."""

    warned: ClassVar[bool] = False
    cannot_start: ClassVar[bool] = False
    """It failed to start in this process: to try again would cost every cell another time-out."""

    def __init__(self, config: Config, *, id: str, name: str, settings: dict[str, Any]) -> None:
        self.run: Any = None
        tracking: TrackingConfig = config.tracking
        folder = wandb_folder(config)
        if _Run.cannot_start:
            return
        _Run.cannot_start = True  # until it has
        with self._guard("start"):
            import wandb

            folder.mkdir(parents=True, exist_ok=True)
            if tracking.mode == "offline":
                for stale in (folder / "wandb").glob(f"offline-run-*-{id}"):
                    shutil.rmtree(stale)  # of an attempt that was cut short: this one holds all of it
            self.run = wandb.init(
                project=tracking.project,
                entity=tracking.entity,
                group=group_of(config),
                id=id,
                name=name,
                mode=tracking.mode,  # type: ignore[arg-type]  # checked in TrackingConfig
                resume="allow" if tracking.mode == "online" else None,
                dir=str(folder),
                config=settings,
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    x_disable_stats=True,
                    x_disable_meta=True,
                    x_save_requirements=False,  # half a second a run, and the lock has them
                ),
            )
            _Run.cannot_start = False

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # W&B's own errors are many, and none of them is worth a cell
            self.run = None
            if not _Run.warned:
                print(
                    f"warning: W&B failed to {what} ({error}); training goes on, and its own files are whole",
                    file=sys.stderr,
                )
            _Run.warned = True

    def draw_against(self, axis: str, metrics: Sequence[str]) -> None:
        """The axis that W&B's charts of `metrics` begin with."""
        if self.run is not None:
            with self._guard("define its charts"):
                self.run.define_metric(axis, hidden=True)
                for metric in metrics:
                    self.run.define_metric(metric, step_metric=axis)

    def log(self, record: Record) -> None:
        if self.run is not None:
            with self._guard("log"):
                self.run.log(record, step=int(record["step"]))

    def attach(self, table: Path, files: list[Path], summary: dict[str, Any]) -> None:
        if self.run is None:
            return
        with self._guard("attach the results"):
            import pandas as pd
            import wandb

            self.run.log({"runs": wandb.Table(dataframe=pd.read_csv(table))})
            self.run.log({path.stem: wandb.Image(str(path)) for path in files if path.suffix == ".png"})
            self.run.summary.update(summary)
            artifact = wandb.Artifact(f"{table.parent.name}-results", type="isoflop")
            for path in (table, *files):
                artifact.add_file(str(path))
            self.run.log_artifact(artifact)

    def finish(self, exit_code: int = 0) -> None:
        if self.run is not None:
            with self._guard("finish"):
                self.run.finish(exit_code=exit_code)
