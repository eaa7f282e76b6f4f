"""Which cells an audit trains again, and how each is changed. Pure: nothing is read, trained or written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fit.errors import UserError
from fit.valley import MIN_SIZES
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.plan import CorpusSize, Plan, plan_cell

MAX_SHARE = 0.5
"""Of the sweep's FLOPs: an audit that cost more had better be a larger sweep."""
FAR_APART = 4.0
"""Between the two budgets. An error of a minimum, in logarithm, enters the exponent over ln of their ratio."""
REACH = 2.5
"""From the expected optimum to either size, in params. Closer sizes drown the tilt in noise; at the ends of a grid of
4x to 6x a change of recipe bends in ways that two sizes do not show."""


@dataclass(frozen=True)
class Perturbation:
    """A recipe that is off by a factor."""

    name: str
    lr: float = 1.0
    """Of every learning rate: AdamW's and Muon's."""
    batch: float = 1.0
    """Of the batch; the tokens of a cell stay, to whole steps."""


PERTURBATIONS = (
    Perturbation("lr x2", lr=2.0),
    Perturbation("lr /2", lr=0.5),
    Perturbation("batch x2", batch=2.0),
    Perturbation("batch /2", batch=0.5),
)


@dataclass(frozen=True)
class AuditCell:
    """A cell to train, and the sweep's own that it differs from by one perturbation."""

    cell: Cell
    of: Cell
    perturbation: Perturbation


@dataclass(frozen=True)
class Audit:
    """All that an audit trains: two sizes at each of two budgets, under each perturbation."""

    cells: tuple[AuditCell, ...]
    share: float
    """FLOPs, as a part of the sweep's."""
    left_out: tuple[str, ...]
    """Perturbations that can't be tried, and why: a sentence each."""

    @property
    def budgets(self) -> tuple[float, float]:
        low, high = sorted({one.cell.budget for one in self.cells})
        return low, high

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        tried = {one.perturbation for one in self.cells}
        return tuple(one for one in PERTURBATIONS if one in tried)

    def sizes(self, budget: float) -> tuple[int, int]:
        """Params of the two models at `budget`."""
        small, large = sorted({one.cell.params for one in self.cells if one.cell.budget == budget})
        return small, large

    def plan(self, name: str) -> Plan:
        """The cells as a plan, for whatever times, trains and tabulates one."""
        return Plan(name, tuple(one.cell for one in self.cells), ())


def choose_audit(
    config: Config, plan: Plan, corpus: CorpusSize, optimum: Callable[[float], float] | None = None
) -> Audit:
    """The audit of a sweep's plan: every seed of the chosen sizes, under each perturbation.

    optimum: params of a budget's, where more is known than the sweep expects. UserError where the plan has no two
    budgets of three sizes.
    """
    assert config.sweep is not None
    optimum = optimum or config.sweep.expected_optimum
    chosen = {budget: _two_sizes(plan, budget, optimum(budget)) for budget in plan.budgets}
    whole = [budget for budget, cells in chosen.items() if cells]
    if len(whole) < 2:
        raise UserError(
            f"audit=true needs two budgets of {MIN_SIZES} sizes, and sweep={plan.name} plans {len(whole)}; name more "
            f"in sweep.budgets, raise sweep.sizes, or leave audit out"
        )

    def flops(budget: float) -> float:
        return len(PERTURBATIONS) * float(sum(cell.spec.flops for cell in chosen[budget]))

    rule_cells = [cell for budget in choose_budgets(whole, flops, plan.flops) for cell in chosen[budget]]
    left_out = {p: text for p in PERTURBATIONS if (text := _why_not(p, rule_cells)) is not None}
    cells = tuple(
        AuditCell(perturbed(config, corpus, cell, perturbation), cell, perturbation)
        for perturbation in PERTURBATIONS
        if perturbation not in left_out
        for cell in rule_cells
    )
    share = sum(one.cell.spec.flops for one in cells) / plan.flops
    return Audit(cells, share, tuple(left_out.values()))


def choose_budgets(
    budgets: Sequence[float], flops: Callable[[float], float], sweep_flops: float
) -> tuple[float, float]:
    """The lowest of two or more ascending budgets, and the highest whose audit is cheap enough beside it.

    flops: what the audit of a budget costs. Where none that is FAR_APART from the lowest is within MAX_SHARE of
    `sweep_flops`, the nearest that is so far; where none is so far, the highest.
    """
    low, *rest = budgets
    far = [budget for budget in rest if budget >= FAR_APART * low]
    cheap = [budget for budget in far if flops(low) + flops(budget) <= MAX_SHARE * sweep_flops]
    return low, (cheap or far[:1] or rest)[-1]


def perturbed(config: Config, corpus: CorpusSize, cell: Cell, perturbation: Perturbation) -> Cell:
    """`cell` as the sweep would have planned it under another recipe; its own hash, the same budget, shape and seed."""
    spec = cell.spec
    recipe = replace(
        config.recipe,
        lr=config.recipe.lr * perturbation.lr,
        muon_lr=config.recipe.muon_lr * perturbation.lr,
        batch_tokens=spec.batch_tokens * perturbation.batch,
        batch_exponent=0.0,  # that many tokens, whatever the budget
        max_batch_tokens=math.inf,
    )
    changed = replace(config, recipe=recipe)
    return plan_cell(changed, spec.shape, cell.budget, spec.seed, corpus, spec.precision)


def _two_sizes(plan: Plan, budget: float, expected_optimum: float) -> list[Cell]:
    """Every seed of the sizes nearest to REACH below and above the optimum; none where the grid makes no parabola."""
    cells = [cell for cell in plan.cells if cell.budget == budget]
    sizes = sorted({cell.params for cell in cells})
    if len(sizes) < MIN_SIZES:
        return []
    small = min(sizes[:-1], key=lambda size: abs(math.log(size * REACH / expected_optimum)))
    larger = [size for size in sizes if size > small]
    large = min(larger, key=lambda size: abs(math.log(size / REACH / expected_optimum)))
    return sorted((cell for cell in cells if cell.params in (small, large)), key=lambda cell: cell.params)


def _why_not(perturbation: Perturbation, cells: Sequence[Cell]) -> str | None:
    """Where a batch is no whole number of sequences; None where all are."""
    for cell in cells:
        batch = cell.spec.recipe.batch_size
        if batch * perturbation.batch % 1:
            return (
                f"{perturbation.name} is not tried: at {cell.budget:.3g} FLOPs a batch of {batch} "
                f"sequence{'s' * (batch != 1)} has no half"
            )
    return None
