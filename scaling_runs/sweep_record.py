"""`plan.json` in a sweep's folder: its cells and what each will cost, for whoever has not planned it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from scaling_runs.cell import Cell
from scaling_runs.files import read_json, write_json

PLAN = "plan.json"
NO_GPUS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class PlannedCell:
    cell_id: str
    budget: float
    """FLOPs."""
    shape: str
    seed: int
    flops: int
    """To spend: less than `spec_flops` where a trunk spares it."""
    spec_flops: int
    seconds: float
    """By the plan's estimate."""
    gpus: int = 0
    """On which it takes them; 0 where no hardware is named."""


def write_plan(
    folder: Path, cells: Iterable[Cell], cell_s: Mapping[str, float], gpus: Mapping[str, int] = NO_GPUS
) -> None:
    """In the order of `cells`; seconds and GPUs by cell id."""
    planned = [
        PlannedCell(
            cell.cell_id,
            cell.budget,
            cell.spec.shape.name,
            cell.spec.seed,
            cell.trained_flops,
            cell.spec.flops,
            cell_s[cell.cell_id],
            gpus.get(cell.cell_id, 0),
        )
        for cell in cells
    ]
    write_json(folder / PLAN, [asdict(one) for one in planned])


def budget_mates(folder: Path, cell_id: str) -> tuple[float | None, list[str]]:
    """The budget of a cell in FLOPs, and the other cells that have it; none where no plan there has the cell."""
    try:
        planned = read_plan(folder)
    except FileNotFoundError:
        return None, []
    budget = next((one.budget for one in planned if one.cell_id == cell_id), None)
    return budget, [one.cell_id for one in planned if one.budget == budget and one.cell_id != cell_id]


def read_plan(folder: Path) -> list[PlannedCell]:
    """FileNotFoundError where no sweep has been planned there."""
    return [PlannedCell(**one) for one in read_json(folder / PLAN)]
