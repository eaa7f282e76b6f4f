"""keep_models: which cells' final models stay. Each cell decides at its end, and the sweep once more at its own.

With `best`, the model of a budget that stays is that of the cell with the lowest loss, seeds being cells like others.
A cell's weights are written only where no finished cell of its budget is better, and those that it beats go then: so
there is about one model a budget on the disk at any time, wherever cells are trained, for all is read off the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from fit.errors import UserError
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.data import as_asked, load_corpus
from scaling_runs.model_folder import ModelFolder
from scaling_runs.numbers import number
from scaling_runs.plan import Plan
from scaling_runs.ranks import SAVING_TIMEOUT, from_rank_0, wait_for_ranks
from scaling_runs.report import say
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import CellFolder, Store
from scaling_runs.sweep_record import budget_mates

NAMED = 3
"""Cells that a sentence names."""


def keep_weights(
    model: torch.nn.Module, loss: float, spec: CellSpec, config: Config, runtime: Runtime
) -> None:
    """At a cell's end, before its result: write its weights where they may be wanted. Every rank calls this."""
    if config.keep_models == "none":
        return
    store = Store.at(config.store)
    wanted = from_rank_0(
        runtime.is_main
        and not (
            config.keep_models == "best" and any(x < loss for x in _losses(_rivals(config, spec), store))
        )
    )
    if wanted and (runtime.is_main or runtime.sharded):
        folder = ModelFolder.of(store.cell(spec.cell_id))
        folder.write_weights(model, tied=spec.shape.tied, write=runtime.is_main)
    wait_for_ranks(SAVING_TIMEOUT)


def drop_beaten(spec: CellSpec, config: Config) -> None:
    """Once a cell's result is written: remove weights of its budget that are not the best's."""
    if config.keep_models == "best":
        store = Store.at(config.store)
        ids = [spec.cell_id, *_rivals(config, spec)]
        best = _best(ids, store)
        _drop((cell_id for cell_id in ids if cell_id != best and store.cell(cell_id).finished()), store)


def finish_models(config: Config, plan: Plan, store: Store) -> None:
    """At a sweep's end: complete the folders of the models that stay; say where they are, and what is lacking.

    Cells that are left to a cluster's queue (detach) are for the command that concludes them.
    """
    if config.keep_models == "none" or config.detach:
        return
    finished = [cell for cell in plan.cells if store.cell(cell.cell_id).finished()]
    chosen = finished
    if config.keep_models == "best":
        of_budgets = [[c.cell_id for c in finished if c.budget == budget] for budget in plan.budgets]
        best = {_best(ids, store) for ids in of_budgets if ids}
        chosen = [cell for cell in finished if cell.cell_id in best]
        _drop((cell.cell_id for cell in finished if cell.cell_id not in best), store)
    for cell in chosen:
        _complete(store.cell(cell.cell_id), config)
    models = {cell.cell_id: ModelFolder.of(store.cell(cell.cell_id)) for cell in chosen}
    kept = [model for model in models.values() if model.is_whole()]
    lacking = [cell_id for cell_id, model in models.items() if not model.has_weights()]
    if kept:
        say(
            f"\nmodels: {number(len(kept), 'folder')} kept (keep_models={config.keep_models}): "
            + _listed([str(model.path) for model in kept])
        )
    if lacking:
        say(
            f"no model of {number(len(lacking), 'cell')} ({_listed(lacking)}), finished before when it was not asked "
            f"for: the weights are gone; remove a cell's folder to train it again"
        )


def whole_models(plan: Plan, store: Store) -> dict[str, Path]:
    """Folders of the plan's models that are kept, by cell."""
    models = {cell.cell_id: ModelFolder.of(store.cell(cell.cell_id)) for cell in plan.cells}
    return {cell_id: model.path for cell_id, model in models.items() if model.is_whole()}


def finish_model(folder: CellFolder, config: Config) -> None:
    """As `finish_models`, of a cell that is trained by itself."""
    if config.keep_models == "none":
        return
    _complete(folder, config)
    model = ModelFolder.of(folder)
    if model.is_whole():
        say(f"model: {model.path}")
    elif not model.has_weights():
        say(
            "no model: the cell was finished before when it was not asked for, and its weights are gone; remove its "
            "folder to train it again"
        )


def drop_unfinished(cells: Iterable[Cell], store: Store) -> None:
    """Remove the weights of cells that are no part of a plan, such as an audit's."""
    _drop((cell.cell_id for cell in cells), store)


def _complete(folder: CellFolder, config: Config) -> None:
    """Make a model of a finished cell's weights, where it has them; a line says why where that can't be done."""
    model = ModelFolder.of(folder)
    if model.is_whole() or not model.has_weights():
        return
    spec, row = folder.spec(), folder.result()
    assert row is not None
    try:
        corpus = as_asked(load_corpus(spec.corpus, config.data.cache_dir), config.data)
        model.complete(spec, row, corpus, config.data.tokenizer)
    except UserError as error:
        say(f"{model.path} has the weights alone: {error}")


def _rivals(config: Config, spec: CellSpec) -> Sequence[str]:
    """Other cells of its budget, as its sweep's plan has them; none of a cell that is trained by itself."""
    if config.sweep is None:
        return []
    return budget_mates(Store.at(config.store).sweep_folder(config.sweep.name), spec.cell_id)[1]


def _losses(cell_ids: Iterable[str], store: Store) -> list[float]:
    """Of those that are finished."""
    return [float(row["loss"]) for row in map(_result_of(store), cell_ids) if row is not None]


def _best(cell_ids: Sequence[str], store: Store) -> str | None:
    """The finished cell of the lowest loss; the first by id of several."""
    rows = [row for row in map(_result_of(store), cell_ids) if row is not None]
    return min(((float(row["loss"]), str(row["run_id"])) for row in rows), default=(0.0, None))[1]


def _result_of(store: Store) -> Any:
    return lambda cell_id: store.cell(cell_id).result()


def _drop(cell_ids: Iterable[str], store: Store) -> None:
    for cell_id in cell_ids:
        ModelFolder.of(store.cell(cell_id)).drop()


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
