"""Under torchrun: which cells are trained apart, each by one rank alone and side by side, and which by all together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.launching import Launch
from scaling_runs.packing import ends_s
from scaling_runs.placement import fits_alone, least_memory_bytes
from scaling_runs.plan import launch_order
from scaling_runs.planning import TimedPlan
from scaling_runs.ranks import (
    PREPARING_TIMEOUT,
    by_rank_0,
    ranks_apart,
    wait_for_ranks,
    world_size,
)
from scaling_runs.store import CellFolder, Store

Record = Callable[[CellFolder, BaseException | None], None]

TOGETHER = 0.7
"""Share of their number by which ranks speed a small cell up together, assumed: gradients are exchanged each step."""
CANDIDATES = 8
"""Times the number of ranks: so many of the longest cells are tried together."""


@dataclass(frozen=True)
class Split:
    """A plan's cells by who trains them, in the order in which they are begun."""

    apart: list[Cell]
    together: list[Cell]
    reason: str


def split_cells(
    cells: Sequence[Cell], cell_s: Mapping[str, float], ranks: int, wish: str, memory_bytes: float | None
) -> Split:
    """The cells, in their order, so that the last ends soonest: first those apart, then those together.

    `cell_s`: seconds of each on one device; `wish`: auto, together, or apart, which a cell that fits no device alone
    does not heed. A cell whose batch the ranks can't share evenly is apart wherever it may be.
    """
    alone = [cell for cell in cells if fits_alone(cell.spec, memory_bytes)]
    if ranks == 1 or wish == "together" or not alone:
        return Split([], list(cells), f"each cell on all {ranks} ranks")
    uneven = {cell.cell_id for cell in alone if cell.spec.recipe.batch_size % ranks}
    longest = sorted(alone, key=lambda cell: (cell.cell_id in uneven, -cell_s[cell.cell_id]))
    all_s = sum(cell_s[cell.cell_id] for cell in cells) / (ranks * TOGETHER)
    tried = range(1 if wish == "apart" else min(len(longest) - len(uneven), CANDIDATES * ranks) + 1)
    spent = {k: ends_s([cell_s[cell.cell_id] for cell in longest[k:]], ranks) for k in tried}
    for k in spent:
        chosen = {cell.cell_id for cell in longest[k:]}
        spent[k] += sum(cell_s[cell.cell_id] for cell in cells if cell.cell_id not in chosen) / (
            ranks * TOGETHER
        )
    best = min(spent, key=lambda k: (spent[k], k))
    if wish == "auto" and not uneven and spent[best] >= all_s:
        return Split([], list(cells), f"each cell on all {ranks} ranks, which is as quick as side by side")
    chosen = {cell.cell_id for cell in longest[best:]}
    reason = (
        f"{len(chosen)} cells side by side, one a rank, then {len(cells) - len(chosen)} on all {ranks} ranks: "
        f"{spent[best] / all_s:.0%} of the time of each cell on all, where ranks together are assumed to be "
        f"{TOGETHER:.0%} as quick as side by side (ranks={wish})"
    )
    return Split(
        [cell for cell in cells if cell.cell_id in chosen],
        [cell for cell in cells if cell.cell_id not in chosen],
        reason,
    )


def split_of(timed: TimedPlan, config: Config) -> Split:
    """Which cells the ranks train apart, as rank 0 has it."""
    cells = launch_order(timed.plan, timed.estimate.cell_s)
    memory_bytes = least_memory_bytes("cuda" if torch.cuda.is_available() else "cpu")
    # a rank alone has nobody to share a model out to
    wish = "together" if (config.sharding, config.ranks) == ("always", "auto") else config.ranks
    return by_rank_0(
        lambda: split_cells(cells, timed.estimate.one_device_s, world_size(), wish, memory_bytes)
    )


def train_apart(store: Store, cells: Sequence[str], launch: Launch, record: Record) -> None:
    """Each rank takes the next cell that no other has; all go on once the last is done."""
    # what fails from here on has failed in this run
    failed_before = by_rank_0(lambda: store.of_each(cells, CellFolder.failed_at))

    def ended(cell_id: str) -> bool:
        folder = store.cell(cell_id)
        return folder.result() is not None or folder.failed_at() not in (None, failed_before[cell_id])

    with ranks_apart():
        take_in_turn(cells, launch, ended, lambda cell_id, error: record(store.cell(cell_id), error))
    wait_for_ranks(PREPARING_TIMEOUT)


def take_in_turn(
    cells: Sequence[str],
    launch: Launch,
    ended: Callable[[str], bool],
    record: Callable[[str, BaseException | None], None],
) -> None:
    """Train, on this rank alone, each cell that nobody has `ended`; one that another rank holds is that one's."""
    for cell_id in cells:
        if not ended(cell_id):
            (error,) = launch([cell_id])
            record(cell_id, error)
