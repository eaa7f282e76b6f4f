"""Cells handed to a launcher: what is not finished, in order, and again where a worker died."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from fit.errors import UserError
from scaling_runs.cell import Cell
from scaling_runs.errors import RankLost, StoreLost, WorkersDied
from scaling_runs.memory import checkpoint_bytes
from scaling_runs.places import require_room
from scaling_runs.ranks import by_rank_0, rank, world_size
from scaling_runs.report import say
from scaling_runs.store import CellBusy, CellFolder, Store

T = TypeVar("T")
Launch = Callable[[Sequence[str]], Sequence[BaseException | None]]
"""Trains the cells of these ids; what went wrong with each, or None."""
SUSPICIOUS_DEATHS = 2
"""A cell that was in the works this often when a worker died may have killed it."""
MAX_CANCELLED = 8
"""Where a cell's worker is ended from outside this often, and the cell does not come along, it is not tried again."""
LOOK_EVERY_S = 2.0
"""At cells that another process trains."""
MAX_IDLE_DEATHS = 2
"""Where workers die this often in a row, and no cell begins or ends, it is no cell's fault."""


def job_of(arguments: Sequence[str], cell_id: str) -> list[str]:
    """The options that train one cell. Its id is quoted: Hydra reads a bare 582416563e73 as a number."""
    return [*arguments, f"cell='{cell_id}'"]


def train_all(store: Store, cells: Sequence[Cell], launch: Launch) -> None:
    """Launch what is not finished, in this order; where a worker dies, launch what is left of it.

    A worker that dies takes its neighbours along, and none says whose fault it was: a cell that was in the works at
    `SUSPICIOUS_DEATHS` is launched alone, after the others, and has failed where its worker dies once more. Deaths
    are counted in a row, from the last new checkpoint on: a cell that comes along from one time limit to the next will
    end; nor does one count that somebody has cancelled. StoreLost, and no cell has died, where the store can't be
    written to or is full.
    """
    deaths: Counter[str] = Counter()
    cancelled: Counter[str] = Counter()
    failed_before = _of_each(store, [cell.cell_id for cell in cells], CellFolder.failed_at)
    specs = {cell.cell_id: cell.spec for cell in cells}
    ended: set[str] = set()
    idle_deaths = 0
    while todo := todo_of(store, cells, ended):
        batch = [cell_id for cell_id in todo if deaths[cell_id] < SUSPICIOUS_DEATHS] or todo[:1]
        attempts = _of_each(store, batch, CellFolder.attempt)
        saved = _of_each(store, batch, CellFolder.saved_at)
        try:
            # ranks that have lost one begin no other cell
            for cell_ids in [[cell_id] for cell_id in batch] if world_size() > 1 else [batch]:
                for cell_id, error in zip(cell_ids, launch(cell_ids), strict=True):
                    record(store.cell(cell_id), error)
            ended.update(batch)
        except UserError:
            raise  # no cell is to blame: the launcher can't do as it is told, or a rank or the store is lost
        except Exception as error:  # each launcher has its own way to say that a worker died
            in_the_works = [
                cell_id for cell_id in batch if _begun_since(store.cell(cell_id), attempts[cell_id])
            ]
            # whoever lost the store could not say so there
            saved_bytes = (checkpoint_bytes(specs[cell_id]) for cell_id in in_the_works)
            require_room(store.root, max(saved_bytes, default=0.0))
            finished = _of_each(store, batch, CellFolder.finished)
            idle_deaths = 0 if in_the_works or any(finished.values()) else idle_deaths + 1
            if idle_deaths >= MAX_IDLE_DEATHS:
                raise UserError(
                    f"workers end before they begin a cell, {idle_deaths} times in a row ({_first_line(error)}); mend "
                    f"the reason and run the same command again"
                ) from error
            for cell_id in in_the_works:
                came_along = store.cell(cell_id).saved_at() != saved[cell_id]
                told_to = isinstance(error, WorkersDied) and cell_id in error.told_to
                deaths[cell_id] = 0 if came_along else deaths[cell_id] + (not told_to)
                cancelled[cell_id] = 0 if came_along else cancelled[cell_id] + told_to
                if cancelled[cell_id] >= MAX_CANCELLED:
                    raise UserError(
                        f"cell {cell_id} was ended from outside {cancelled[cell_id]} times in a row before it had come "
                        f"along ({_first_line(error)}); see who or what does so, and run the same command again"
                    ) from error
            for cell_id in in_the_works:
                if deaths[cell_id] > SUSPICIOUS_DEATHS:
                    store.cell(cell_id).write_failure(
                        f"its worker process died {deaths[cell_id]} times, at last with no other beside it ({error})"
                    )
            failed_at = _of_each(store, batch, CellFolder.failed_at)
            ended |= {
                cell_id for cell_id in batch if failed_at[cell_id] not in (None, failed_before[cell_id])
            }
            say(f"warning: {_first_line(error)}; what is left is launched again")


def await_others(store: Store, cells: Sequence[Cell]) -> list[Cell]:
    """Once no other process trains any of `cells`: those that it has left, neither finished nor failed."""
    told: set[str] = set()
    while True:
        finished = store.of_each([cell.cell_id for cell in cells], CellFolder.finished)
        cells = [cell for cell in cells if not finished[cell.cell_id]]
        busy = store.of_each([cell.cell_id for cell in cells], CellFolder.busy)
        if not any(busy.values()):
            return [cell for cell in cells if store.cell(cell.cell_id).failure() is None]
        for cell_id in busy:
            if busy[cell_id] and cell_id not in told:
                say(f"waiting for cell {cell_id}, which is being trained by {store.cell(cell_id).holder()}")
                told.add(cell_id)
        time.sleep(LOOK_EVERY_S)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def _begun_since(cell: CellFolder, attempt: int | None) -> bool:
    """Whether a worker took up the cell since `attempt` and ended in the midst of it.

    Its lock does not tell, for it went with the worker; nor does its progress, which an earlier run may have left.
    """
    return cell.status() == "running" and cell.attempt() != attempt


def record(cell: CellFolder, error: BaseException | None) -> None:
    """Write what a launcher says went wrong, unless the cell's own process did, or the cell is another process's.

    Raises RankLost and StoreLost, with which no other cell can be trained.
    """
    if isinstance(error, (RankLost, StoreLost)):
        raise error
    if error is not None and not isinstance(error, CellBusy) and cell.failure() is None and rank() == 0:
        cell.write_failure(str(error) or type(error).__name__)


def todo_of(store: Store, cells: Sequence[Cell], ended: set[str]) -> list[str]:
    """What rank 0 finds neither finished nor ended in this run."""
    left = [cell.cell_id for cell in cells if cell.cell_id not in ended]
    finished = _of_each(store, left, CellFolder.finished)
    return [cell_id for cell_id in left if not finished[cell_id]]


def _of_each(store: Store, cell_ids: Sequence[str], ask: Callable[[CellFolder], T]) -> dict[str, T]:
    """As rank 0 finds it."""
    return by_rank_0(partial(store.of_each, cell_ids, ask))
