"""What is wrong with a plan, found before anything is spent. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fit.valley import MIN_SIZES
from models.flops import params
from scaling_runs.cell import Cell
from scaling_runs.grid import SweepConfig
from scaling_runs.hardware import gpu
from scaling_runs.spec import CellSpec

MIN_STEPS = 100
"""Fewer steps than this leave warm-up and decay no room, and the loss high for a reason that is not the size."""
MAX_EPOCHS = 4.0
"""Repeats up to here are nearly as good as new data (Muennighoff et al., arXiv 2305.16264)."""
MIN_REACH = 2.0
"""A grid that ends within 2x of the expected optimum, in params, will often have its minimum at the edge."""
MAX_ROUNDING = 0.02
BYTES_A_PARAM = {"adamw": 16, "muon": 12}
"""Weight, gradient and moments in fp32, which each GPU holds in full: AdamW has two moments, Muon's matrices one."""


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
                f"{name} passes {cell.epochs:.1f} times over the corpus, more than {MAX_EPOCHS:g}: get more data or "
                f"leave it out",
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


def gpu_problems(cells: list[Cell], sweep: SweepConfig, budget: float) -> list[Problem]:
    """A budget whose batch the GPUs can't share, or whose largest model one of them can't hold.

    Nothing where the sweep names no hardware. UserError where it is unknown.
    """
    if sweep.hardware is None:
        return []
    problems = []
    batch = cells[0].spec.recipe.batch_size
    if batch % sweep.gpus:
        text = (
            f"batches of {batch} sequences do not divide over sweep.gpus={sweep.gpus}: train each cell on a number of "
            f"GPUs that divides {batch}, or raise recipe.batch_tokens"
        )
        problems.append(Problem("uneven-batch", text, budget))
    largest = max((cell.spec for cell in cells), key=_state_bytes)
    memory_bytes = gpu(sweep.hardware).memory_bytes
    if _state_bytes(largest) > memory_bytes:
        text = (
            f"{largest.shape.name} needs {_state_bytes(largest) / 1e9:.3g} GB for weights, gradients and moments, "
            f"which are not sharded, and one {sweep.hardware} has {memory_bytes / 1e9:.3g} GB: lower sweep.max_params "
            f"or name a larger sweep.hardware"
        )
        problems.append(Problem("memory", text, budget))
    return problems


def _state_bytes(spec: CellSpec) -> float:
    """At least what a GPU holds between steps; activations come on top."""
    return BYTES_A_PARAM[spec.recipe.optimizer] * params(spec.shape, spec.seq_len, "all")
