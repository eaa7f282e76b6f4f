"""W&B, a view of what the cells' own files record: its failing never fails a cell."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from scaling_runs.config import Config, TrackingConfig
from scaling_runs.places import is_local, names_in, place
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import Record
from scaling_runs.tracking_charts import charts

SWEEP_FILES = ("fit.json", "isoflop.png", "summary.txt", "report.html")
"""Of a sweep's folder, beside its run table, as far as they are there."""
NO_MODELS: Mapping[str, Path] = MappingProxyType({})
LOSSES = ("train_loss", "val_loss_probe", "val_loss")
OF_THE_ROW = ("lr", "mfu", "tokens", "tokens_per_s", "wall_s")
"""Names of a record that are the run table's too: as summary metrics they are the row's, not the last record's."""


def group_of(config: Config) -> str:
    """The sweep that a cell is trained for."""
    return config.sweep.name if config.sweep else "single"


def wandb_folder(config: Config) -> Path:
    """W&B writes into a folder: that of the store, or beside the prepared data where the store is a URL."""
    root = place(config.store)
    return (root if is_local(root) else Path(config.data.cache_dir)) / group_of(config) / "wandb"


@dataclasses.dataclass(frozen=True)
class Tracked:
    """What a cell tells W&B."""

    observe: Callable[[Record], None]
    """Mirror a record of its curve."""
    summarise: Callable[[Mapping[str, Any]], None]
    """Its row of the run table, at its end: summary metrics of those names, by which the run is read back."""


@contextmanager
def track_cell(config: Config, spec: CellSpec, runtime: Runtime) -> Iterator[Tracked]:
    """One run a cell, named by its id, from rank 0.

    A cell that goes on from a checkpoint is to mirror the records that it has first, so that its run is whole. Losses
    are drawn against FLOPs; each record holds step, tokens and FLOPs, any of which W&B takes as the axis.
    """
    if config.tracking.mode == "off" or not runtime.is_main:
        yield Tracked(lambda record: None, lambda row: None)
        return
    sizes = {"flops": spec.flops, "tokens": spec.tokens, "params": spec.params}  # as in the run table
    run = _Run(
        config,
        id=spec.cell_id,
        name=f"{spec.shape.name}-{spec.flops:.2g}-s{spec.seed}",
        job_type="cell",
        tags=[spec.recipe.optimizer, spec.precision, f"corpus-{spec.corpus[:16]}"],
        settings=dataclasses.asdict(spec) | sizes,
    )
    run.draw_against("flops", LOSSES)
    try:
        yield Tracked(run.log, run.summarise)
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


def track_sweep(
    config: Config,
    folder: Path,
    cells: Sequence[str],
    summary: Mapping[str, Any],
    models: Mapping[str, Path] = NO_MODELS,
) -> None:
    """One run a plan, whatever is tried again: the run table, the fit, pictures, charts to look into.

    folder: that of the sweep, or the local one that stands for it. cells: ids of the plan's. The table and the fit are
    artifacts under names of their own, of which W&B makes a new version where they have changed. summary: of the fit,
    empty where there is none. models: folders to upload too, by cell.
    """
    if config.tracking.mode == "off":
        return
    group = group_of(config)
    of_plan = hashlib.sha256("".join(sorted(cells)).encode()).hexdigest()[:8]
    run = _Run(
        config, id=f"{group}-{of_plan}", name=f"{group} (sweep)", job_type="sweep", tags=[], settings={}
    )
    run.attach(group, folder, summary)
    run.attach_models(group, models)
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

    def __init__(
        self,
        config: Config,
        *,
        id: str,
        name: str,
        job_type: str,
        tags: Sequence[str],
        settings: dict[str, Any],
    ) -> None:
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
                job_type=job_type,
                tags=list(tags),
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
                self.run.define_metric(axis, hidden=True, summary="none")
                for name in OF_THE_ROW:
                    self.run.define_metric(name, summary="none")
                for metric in metrics:
                    self.run.define_metric(metric, step_metric=axis)

    def log(self, record: Record) -> None:
        if self.run is not None:
            with self._guard("log"):
                self.run.log(record, step=int(record["step"]))

    def summarise(self, row: Mapping[str, Any]) -> None:
        if self.run is not None:
            with self._guard("summarise"):
                self.run.summary.update(dict(row))

    def attach(self, group: str, folder: Path, summary: Mapping[str, Any]) -> None:
        if self.run is None:
            return
        with self._guard("attach the results"):
            import pandas as pd
            import wandb

            frame = pd.read_csv(folder / "runs.csv")
            files = [path for path in (folder / name for name in SWEEP_FILES) if path.exists()]
            self.run.log({"runs": wandb.Table(dataframe=frame)})
            self.run.log({path.stem: wandb.Image(str(path)) for path in files if path.suffix == ".png"})
            self.run.log(
                {path.stem: wandb.Html(str(path), inject=False) for path in files if path.suffix == ".html"}
            )
            self.run.summary.update(dict(summary))
            artifacts = {"runs": ("dataset", [folder / "runs.csv"])}
            if summary:
                self.run.log(charts(frame, json.loads((folder / "fit.json").read_text())))
                artifacts["fit"] = ("fit", files)
            for name, (kind, of_it) in artifacts.items():
                artifact = wandb.Artifact(f"{group}-{name}", type=kind, metadata=dict(summary))
                for path in of_it:
                    artifact.add_file(str(path))
                self.run.log_artifact(artifact)

    def attach_models(self, group: str, models: Mapping[str, Path]) -> None:
        if self.run is None:
            return
        with self._guard("attach the models"):
            import wandb

            for cell_id, folder in models.items():
                artifact = wandb.Artifact(f"{group}-{cell_id}", type="model", metadata={"cell": cell_id})
                for name in sorted(names_in(folder)):
                    with artifact.new_file(name, mode="wb") as copy, (folder / name).open("rb") as source:
                        shutil.copyfileobj(source, copy)
                self.run.log_artifact(artifact)

    def finish(self, exit_code: int = 0) -> None:
        if self.run is not None:
            with self._guard("finish"):
                self.run.finish(exit_code=exit_code)
