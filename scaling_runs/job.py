"""What a launcher's worker does: one cell, from its spec to its result on disk."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from fit.errors import UserError
from models.flops import FLOP_CONVENTIONS, params, train_flops_per_token
from scaling_runs.checkpoint import DamagedCheckpoint
from scaling_runs.config import Config
from scaling_runs.cores import machine_folder, own_cores
from scaling_runs.data import Corpus, as_asked, load_corpus
from scaling_runs.errors import RankFailed, RankLost, StoreLost, no_room
from scaling_runs.keeping import drop_beaten, finish_model, keep_weights
from scaling_runs.meter import CellFailed
from scaling_runs.placement import placed
from scaling_runs.planning import make_plan
from scaling_runs.ranks import (
    SAVING_TIMEOUT,
    by_rank_0,
    joined_ranks,
    losing_a_rank,
    rank,
    wait_for_ranks,
    world_size,
)
from scaling_runs.report import print_plan, print_problems, say
from scaling_runs.runtime import Runtime, start_runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import CellFolder, Store
from scaling_runs.sweep_record import budget_mates
from scaling_runs.tracking import track_cell
from scaling_runs.train import Result, train_cell
from scaling_runs.trunk import Trunk


def run_job(config: Config) -> None:
    """Train the cell that a sweep names, or plan the one that budget= and model.width= describe and train it."""
    try:
        with joined_ranks():
            _run_job(config)
    finally:
        if IS_WORKER and os.getppid() != PARENT:
            os._exit(1)  # its sweep was killed, and joblib's worker would wait for work from it


PARENT = os.getppid()
IS_WORKER = multiprocessing.current_process().name.startswith("LokyProcess")


def _run_job(config: Config) -> None:
    store = Store.at(config.store)
    if config.cell is not None:
        run_cell(store.cell(config.cell), config)
        return
    if config.sweep is not None:
        raise UserError(
            f"sweep={config.sweep.name} would run as one cell; its file needs 'override /hydra/sweeper: isoflop' "
            f"and 'hydra.mode: MULTIRUN', as configs/sweep/isoflop_tiny.yaml has them"
        )
    plan = make_plan(config)
    if config.dry_run:
        print_plan(plan, config)
        return
    if plan.plan.problems:
        print_problems(plan)
    cell = plan.plan.cells[0]
    by_rank_0(partial(store.add_all, [cell.spec]))
    folder = store.cell(cell.cell_id)
    row = run_cell(folder, config)
    say(
        f"{cell.spec.shape.name} with {row['params']:,} parameters on {row['tokens']:,} tokens "
        f"({row['flops']:.3g} FLOPs): loss {row['loss']:.4f} nats/token, {row['bits_per_byte']:.4f} bits/byte\n"
        f"files: {folder.path}"
    )
    by_rank_0(partial(finish_model, folder, config), SAVING_TIMEOUT)


def run_cell(folder: CellFolder, config: Config) -> dict[str, Any]:
    """Train the cell of `folder` unless it is finished; its row of the run table.

    What goes wrong is written into the folder, for the sweep to report and the next run to try again, and raised.
    CellBusy where another process trains the cell; nothing is written then, for the folder is that process's.
    """
    with ExitStack() as held:
        with _failing_together(folder, (UserError,), write=False):
            spec = by_rank_0(partial(_spec_in, folder, config))
            runtime = placed(
                start_runtime(spec, config.threads, machine_folder("gpus")), spec, config.sharding
            )
            done = by_rank_0(partial(_take, folder, held))
        if done is not None:
            return done
        with _failing_together(folder, (CellFailed, DamagedCheckpoint), write=True):
            if runtime.is_main:
                folder.begin_attempt()
            if runtime.device == "cpu":
                held.enter_context(own_cores(config.threads))
            corpus = as_asked(load_corpus(spec.corpus, config.data.cache_dir), config.data)
            trunk = Store.at(config.store).trunk(spec)
            keep = partial(keep_weights, spec=spec, config=config, runtime=runtime)
            with track_cell(config, spec, runtime) as tracked:
                train = partial(train_cell, spec, corpus, folder, trunk, runtime, tracked.observe, keep)
                result = _without_damaged(trunk, spec, runtime, train)
                row = result_row(spec, corpus, result, runtime)
                tracked.summarise({"budget": _budget(spec, config)} | row)
            if runtime.is_main:
                folder.write_result(row)
                drop_beaten(spec, config)
    return row


@contextmanager
def _failing_together(
    folder: CellFolder, met_by_all: tuple[type[Exception], ...], *, write: bool
) -> Iterator[None]:
    """What one rank alone raises in the body ends all, for the others would wait for it in vain.

    met_by_all: what every rank finds at the same time, for all look at the same numbers and the same file. With
    `write` the failure is put into the folder, where the disk lets it.
    """
    try:
        with losing_a_rank():
            yield
    except (RankLost, StoreLost):
        raise  # which is no failure of the cell
    except Exception as error:
        if (full := no_room(error, folder.path)) is not None:
            raise full from error
        alone = world_size() > 1 and not isinstance(error, met_by_all)
        written = False
        if write and (rank() == 0 or alone):
            with suppress(OSError):  # of a disk that failed, of which `error` tells
                folder.write_failure(str(error) or type(error).__name__, traceback.format_exc())
                written = True
        if alone:
            raise RankFailed(rank(), folder.path.name, error, written=written) from error
        raise


def _spec_in(folder: CellFolder, config: Config) -> CellSpec:
    try:
        return folder.spec()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"cell '{folder.path.name}' is not in the store '{config.store}'; start its sweep"
        ) from None


def _take(folder: CellFolder, held: ExitStack) -> dict[str, Any] | None:
    """Lock the cell until `held` closes; its result, where it is finished."""
    held.enter_context(folder.lock())
    return folder.result()


def _budget(spec: CellSpec, config: Config) -> float | None:
    """Nominal FLOPs, as its plan has them."""
    if config.sweep is None:
        return config.budget
    return budget_mates(Store.at(config.store).sweep_folder(config.sweep.name), spec.cell_id)[0]


def _without_damaged(trunk: Trunk, spec: CellSpec, runtime: Runtime, train: Callable[[], Result]) -> Result:
    """What `train` comes to without the states of its trunk that are damaged: a trunk only saves work."""
    while True:
        try:
            return train()
        except DamagedCheckpoint as damaged:
            if damaged.path.parent != trunk.path:
                raise
            if runtime.is_main:
                kept = trunk.set_aside(damaged.path)
                say(
                    f"{damaged.path} is damaged, and is now {kept.name}; cell {spec.cell_id} goes on without it"
                )
            wait_for_ranks()


def result_row(spec: CellSpec, corpus: Corpus, result: Result, runtime: Runtime) -> dict[str, Any]:
    """The cell's row of the run table (contract 1), less its budget, which is the plan's to say."""
    flops = {
        f"flops_{name}": spec.tokens * train_flops_per_token(spec.shape, spec.seq_len, name)  # type: ignore[arg-type]
        for name in FLOP_CONVENTIONS
    }
    counts = {
        f"params_{name}": params(spec.shape, spec.seq_len, name) for name in ("all", "no_embedding", "body")
    }
    flops_per_token = train_flops_per_token(spec.shape, spec.seq_len, "exact")
    tokens_per_s = result.trained_tokens / result.wall_s
    return {
        "run_id": spec.cell_id,
        "flops": spec.flops,
        "params": spec.params,
        "tokens": spec.tokens,
        "loss": result.loss,
        "seed": spec.seed,
        **dataclasses.asdict(spec.shape),
        "seq_len": spec.seq_len,
        **counts,
        **flops,
        "unique_tokens": corpus.unique_tokens(spec.tokens),
        "bits_per_byte": bits_per_byte(result.loss, corpus.bytes_per_token),
        "loss_se": result.loss_se,
        **{f"loss_{name}": loss for name, loss in result.loss_of_parts.items()},
        "optimizer": spec.recipe.optimizer,
        "lr": spec.recipe.lr,
        "batch_tokens": spec.batch_tokens,
        "steps": spec.steps,
        "precision": spec.precision,
        "corpus": spec.corpus[:16],
        "wall_s": round(result.wall_s, 3),
        "tokens_per_s": round(tokens_per_s, 1),
        "mfu": round(tokens_per_s * flops_per_token / runtime.peak_flops_per_s, 5),
        "ranks": runtime.world_size,
        "status": "finished",
    }


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """So that tokenisers compare: nats a token -> bits a byte of text."""
    return nats_per_token / bytes_per_token / 0.6931471805599453
