"""What is wrong with a plan, found before anything is spent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fit.diagnostics.codes import Explanation
from fit.errors import UserError
from fit.valley import MIN_SIZES
from scaling_runs.cell import Cell
from scaling_runs.grid import SweepConfig
from scaling_runs.layout import Layout
from scaling_runs.memory import RESERVED

MIN_STEPS = 100
"""Fewer steps than this leave warm-up and decay no room, and the loss high for a reason that is not the size."""
MAX_EPOCHS = 4.0
"""Repeats up to here are nearly as good as new data (Muennighoff et al., arXiv 2305.16264)."""
MIN_REACH = 2.0
"""A grid that ends within 2x of the expected optimum, in params, will often have its minimum at the edge."""
MAX_ROUNDING = 0.02
DOES_NOT_FIT = "memory"
"""The code of a cell that no part of the cluster can hold: a run is refused for it."""

CODES: Mapping[str, Explanation] = {
    "few-rungs": Explanation(
        "The budget gets fewer sizes than were asked for.",
        "The model ladder has fewer rungs than `sweep.sizes` within `sweep.span` of the expected optimum, from "
        "`sweep.min_params` to `sweep.max_params`.",
        "Widen these, or give the ladder finer rungs (`model.width_step`).",
    ),
    "too-few-sizes": Explanation(
        "No parabola can be fitted to this budget. A sweep of which fewer than two budgets are left is refused.",
        f"It gets fewer than {MIN_SIZES} sizes.",
        "Raise `sweep.sizes`.",
    ),
    "off-centre": Explanation(
        "The budget's minimum may come to lie at an edge of its grid.",
        f"The grid ends within {MIN_REACH:g}x of the expected optimum, in params, on one side.",
        "Widen `sweep.span`, or give the ladder finer rungs.",
    ),
    "few-steps": Explanation(
        "A cell has no room for warm-up and decay, so its loss is high for a reason that is not its size.",
        f"It takes fewer than {MIN_STEPS} steps.",
        "Lower `recipe.batch_tokens`, or leave the cell out (a smaller `sweep.span`).",
    ),
    "repeated-data": Explanation(
        "A cell sees its text too often for repeats to be as good as new text.",
        f"It passes over the corpus more than {MAX_EPOCHS:g} times (Muennighoff et al., arXiv 2305.16264).",
        "Get more text, or leave the cell out.",
    ),
    "rounding": Explanation(
        "Whole steps move a cell off its budget.",
        f"What it spends in whole steps is more than {MAX_ROUNDING:.0%} off.",
        "Lower `recipe.batch_tokens`.",
    ),
    DOES_NOT_FIT: Explanation(
        "A cell fits on no part of the cluster that `hardware=` and `gpus=` name. A run is refused for it.",
        "Weights, gradients, moments and activations by formula (`scaling_runs/memory.py`), sharded over all GPUs and "
        f"with activation checkpointing, against {1 - RESERVED:.0%} of a GPU's memory.",
        "Give more `gpus`, a GPU with more memory, or a smaller `sweep.max_params`.",
    ),
}
"""Every code that a plan's problems can have; `docs/warnings.md` is made of this too."""


@dataclass(frozen=True)
class Problem:
    """Something that will make the answer worse, found before anything is spent."""

    code: str
    text: str
    budget: float


def grid_problems(cells: list[Cell], sweep: SweepConfig, budget: float) -> list[Problem]:
    """A budget whose grid is off-centre, smaller than was asked for, or too small to fit a parabola to."""
    expected_optimum = sweep.expected_optimum(budget)
    sizes = sorted({cell.params for cell in cells})
    problems = []
    if len(sizes) < sweep.sizes:
        text = (
            f"{len(sizes)} sizes where sweep.sizes={sweep.sizes}: the model ladder has no more from sweep.min_params="
            f"{sweep.min_params:.3g} to sweep.max_params={sweep.max_params:.3g}; widen them, or give it finer rungs"
        )
        problems.append(Problem("few-rungs", text, budget))
    if len(sizes) < MIN_SIZES:
        text = f"{len(sizes)} sizes; a parabola needs {MIN_SIZES}: raise sweep.sizes"
        problems.append(Problem("too-few-sizes", text, budget))
    below, above = expected_optimum / sizes[0], sizes[-1] / expected_optimum
    if min(below, above) < MIN_REACH:
        problems.append(
            Problem(
                "off-centre",
                f"the grid reaches {below:.2g}x below and {above:.2g}x above the expected optimum of "
                f"{expected_optimum:.3g} params: its minimum may lie at an edge; widen sweep.span, or give the model "
                f"ladder finer rungs",
                budget,
            )
        )
    return problems


def cell_problems(cell: Cell) -> list[Problem]:
    """A cell with too few steps, that repeats its data too often, or that rounding moves off its budget."""
    name, spec = cell.spec.shape.name, cell.spec
    problems = []
    if spec.steps < MIN_STEPS:
        problems.append(
            Problem(
                "few-steps",
                f"{name} takes {spec.steps} steps, fewer than {MIN_STEPS}: lower recipe.batch_tokens or leave it out",
                cell.budget,
            )
        )
    if cell.epochs > MAX_EPOCHS:
        problems.append(
            Problem(
                "repeated-data",
                f"{name} passes {cell.epochs:.1f} times over {cell.repeated}, more than {MAX_EPOCHS:g}: get more data "
                f"or leave it out",
                cell.budget,
            )
        )
    if abs(spec.flops / cell.budget - 1) > MAX_ROUNDING:
        problems.append(
            Problem(
                "rounding",
                f"{name} spends {spec.flops:.3g} FLOPs in whole steps, {spec.flops / cell.budget - 1:+.1%} off its "
                f"budget",
                cell.budget,
            )
        )
    return problems


def gpu_problems(cells: Iterable[Cell], layouts: Mapping[str, Layout]) -> list[Problem]:
    """Cells that no part of the cluster can hold; `layouts` by cell id."""
    return [
        Problem(DOES_NOT_FIT, layouts[cell.cell_id].lacks, cell.budget)
        for cell in cells
        if layouts[cell.cell_id].lacks
    ]


def require_room(problems: Iterable[Problem]) -> None:
    """UserError where a cell fits on no part of its cluster."""
    for problem in problems:
        if problem.code == DOES_NOT_FIT:
            raise UserError(f"at {problem.budget:.3g} FLOPs {problem.text}")
