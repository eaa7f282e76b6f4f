"""How a sweep stands, by its store and by Slurm, for whoever asks: no plan is made, no data opened, no torch loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fit.errors import UserError
from scaling_runs.numbers import duration
from scaling_runs.places import is_local, require_place
from scaling_runs.slurm.standing import slurm_lines
from scaling_runs.store import CellFolder, Status, Store
from scaling_runs.sweep_record import PlannedCell, read_plan

MOST_LINES = 20
"""Of cells that run, and of those that failed."""


@dataclass(frozen=True)
class Standing:
    """One cell, and how it stands."""

    cell: PlannedCell
    status: Status
    share: float
    """Of its FLOPs that are spent."""
    reason: str = ""
    """Why it failed."""
    again: str = ""
    """Of one that runs, where it went on from, if this is not its first attempt."""


def standings(
    store: Store, cells: Sequence[PlannedCell], busy: Callable[[CellFolder], bool] = CellFolder.busy
) -> list[Standing]:
    """Of each cell, by one look into its folder; `busy` says whether a process has a cell that was begun."""
    return [_standing(store.cell(cell.cell_id), cell, busy) for cell in cells]


def seconds_left(found: Sequence[Standing]) -> float:
    """By the plan's estimate, of cells that are not over, by as many at once as run."""
    left_s = sum((1 - one.share) * one.cell.seconds for one in found if one.status in ("running", "waiting"))
    return left_s / at_once(found)


def at_once(found: Sequence[Standing]) -> int:
    """Cells that run, or the one that would."""
    return max(1, sum(one.status == "running" for one in found))


def _standing(folder: CellFolder, cell: PlannedCell, busy: Callable[[CellFolder], bool]) -> Standing:
    status = folder.status()
    if status == "finished":
        return Standing(cell, status, 1.0)
    if status == "waiting":
        return Standing(cell, status, 0.0)
    share = folder.progress_flops(spared=cell.spec_flops - cell.flops) / cell.flops
    if status == "failed":
        return Standing(cell, status, share, (folder.failure() or "no reason is recorded").splitlines()[0])
    if not busy(folder):
        return Standing(cell, "waiting", share)
    return Standing(cell, "running", share, again=_again(folder.attempts()))


def _again(attempts: Sequence[dict[str, Any]]) -> str:
    return f", attempt {len(attempts)}, from step {attempts[-1]['step']:,}" if len(attempts) > 1 else ""


def render(name: str, found: Sequence[Standing], of_slurm: Sequence[str] = ()) -> str:
    """What `python -m scaling_runs status` prints; `of_slurm`: lines that say what Slurm holds."""
    counts = Counter(one.status for one in found)
    flops = sum(one.cell.flops for one in found)
    done = sum(one.share * one.cell.flops for one in found)
    first = (
        f"{name}: {len(found)} cells: {counts['finished']} finished, {counts['running']} running, "
        f"{counts['waiting']} waiting, {counts['failed']} failed; {done / flops:.0%} of {flops:.3g} FLOPs"
    )
    if left_s := seconds_left(found):
        first += f"; about {duration(left_s)} left, {at_once(found)} at once, by the plan's estimate"
    lines = [first, *of_slurm]
    for status in ("running", "failed"):
        of_status = [one for one in found if one.status == status]
        lines += [f"  {status}: {_line(one)}" for one in of_status[:MOST_LINES]]
        if len(of_status) > MOST_LINES:
            lines.append(f"  and {len(of_status) - MOST_LINES} more {status}")
    if counts["finished"] == len(found):
        lines.append("the same launch.py command fits and reports, if it has not")
    return "\n".join(lines)


def _line(one: Standing) -> str:
    what = cell_name(one.cell)
    return f"{what}: {one.reason}" if one.reason else f"{what}: {one.share:.0%}{one.again}"


def cell_name(cell: PlannedCell) -> str:
    """As status and the live page call it."""
    return f"{cell.budget:.3g} FLOPs, {cell.shape}, seed {cell.seed}, cell {cell.cell_id}"


def status_of(sweep: str, store: str) -> str:
    """UserError where the store has no such sweep, or does not answer."""
    root, cells = found_sweep(sweep, store)
    found = standings(root, cells)
    return render(sweep, found, slurm_lines(root.sweep_folder(sweep), open_cells(found)))


def open_cells(found: Sequence[Standing]) -> dict[str, str]:
    """What to call those that are neither finished nor failed, by id."""
    return {one.cell.cell_id: cell_name(one.cell) for one in found if one.status in ("running", "waiting")}


def found_sweep(sweep: str, store: str) -> tuple[Store, list[PlannedCell]]:
    """The store, and the sweep's cells. UserError where the store has no such sweep, or does not answer."""
    root = Store.at(store)
    if not is_local(root.root):
        require_place(store, writable=False)
    try:
        return root, read_plan(root.sweep_folder(sweep))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"sweep '{sweep}' is not in the store '{store}'{_there(root.root)}; start it with launch.py "
            f"sweep={sweep}, or name its store by store=FOLDER"
        ) from None


def _there(root: Path) -> str:
    try:
        names = sorted(path.parent.name for path in root.glob("*/plan.json"))
    except OSError:
        return ""
    return f", which has {', '.join(names)}" if names else ""
