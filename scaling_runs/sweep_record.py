"""`plan.json` in a sweep's folder: its cells and what each will cost, for whoever has not planned it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from scaling_runs.cell import Cell
from scaling_runs.files import read_json, write_json

PLAN = "plan.json"


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


def write_plan(folder: Path, cells: Iterable[Cell], cell_s: Mapping[str, float]) -> None:
    """In the order of `cells`; cell_s: seconds by cell id."""
    planned = [
        PlannedCell(
            cell.cell_id,
            cell.budget,
            cell.spec.shape.name,
            cell.spec.seed,
            cell.trained_flops,
            cell.spec.flops,
            cell_s[cell.cell_id],
        )
        for cell in cells
    ]
    write_json(folder / PLAN, [asdict(one) for one in planned])


def read_plan(folder: Path) -> list[PlannedCell]:
    """FileNotFoundError where no sweep has been planned there."""
    return [PlannedCell(**one) for one in read_json(folder / PLAN)]


def seconds_of(folder: Path) -> dict[str, float]:
    """By cell id."""
    return {one.cell_id: one.seconds for one in read_plan(folder)}
