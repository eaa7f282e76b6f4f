"""What an audit's runs say, beside the sweep's own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fit.errors import UserError
from fit.isoflop import IsoflopFit
from fit.valley import AXES
from scaling_runs.audit.choice import Audit, AuditCell
from scaling_runs.audit.effect import AuditedBudget, Effect, Noise, effects

Rows = Sequence[Mapping[str, Any]]
"""Of a run table (contract 1)."""


@dataclass(frozen=True)
class Study:
    """An audit that was trained."""

    audit: Audit
    budgets: tuple[AuditedBudget, AuditedBudget]
    """Lower first."""
    noise: Noise | None
    effects: Mapping[str, Effect]
    """By perturbation; those that have a loss at both sizes of both budgets."""
    best: Effect | None
    """Of taking at each size the best of these and the rule; None where there are none."""
    lacking: tuple[str, ...]
    """What there is no answer for, and why: a sentence each."""


def study_audit(audit: Audit, fit: IsoflopFit, rows: Rows) -> Study:
    """The audit's `rows` beside the sweep's `fit`.

    UserError where the sweep lacks a run that the audit's are to be compared with.
    """
    low, high = (_audited(audit, budget, fit, rows) for budget in audit.budgets)
    noise = noise_of(fit)
    found, best = effects(low, high, noise)
    lacking = [*audit.left_out, *_failures(audit, rows), *_unusable(low), *_unusable(high)]
    return Study(audit, (low, high), noise, found, best, tuple(lacking))


def noise_of(fit: IsoflopFit) -> Noise | None:
    """Of a run: by seeds where the sweep has several, else by what the parabolas leave; None where that is nothing."""
    if fit.seed_noise is not None:
        return Noise(fit.seed_noise.sd, fit.seed_noise.degrees_of_freedom, "seeds")
    if fit.run_noise is not None:
        return Noise(fit.run_noise.sd, fit.run_noise.degrees_of_freedom, "residuals")
    return None


def _audited(audit: Audit, budget: float, fit: IsoflopFit, rows: Rows) -> AuditedBudget:
    of_fit = next((one for one in fit.budgets if one.flops == budget), None)
    run_ids = fit.table.run_id[fit.table.budget == budget]
    here = [one for one in audit.cells if one.cell.budget == budget]
    by_size = [[one for one in here if one.cell.params == size] for size in audit.sizes(budget)]
    member = np.array([np.isin(run_ids, [one.of.cell_id for one in cells]) for cells in by_size])
    for cells, runs in zip(by_size, member, strict=True):
        if of_fit is None or not runs.any():
            raise UserError(
                f"the sweep has no usable run of {cells[0].of.spec.shape.name} at {budget:.3g} FLOPs for the audit to "
                f"compare with; run the same command again to train it"
            )
    assert of_fit is not None
    losses = {str(row["run_id"]): float(row["loss"]) for row in rows if row["loss"] is not None}
    changed: dict[str, np.ndarray] = {}
    counts: dict[str, np.ndarray] = {}
    for perturbation in audit.perturbations:
        found = [_losses(cells, perturbation.name, losses) for cells in by_size]
        if all(found):
            changed[perturbation.name] = np.array([np.mean(of_size) for of_size in found])
            counts[perturbation.name] = np.array([len(of_size) for of_size in found])
    valleys = {axis: of_fit.valley(axis) for axis in AXES}
    rule = member / member.sum(axis=1, keepdims=True)
    return AuditedBudget(
        flops=budget,
        valleys=valleys,
        sizes={axis: rule @ valley.sizes for axis, valley in valleys.items()},
        rule=rule,
        changed=changed,
        runs=counts,
    )


def _losses(cells: Sequence[AuditCell], perturbation: str, losses: Mapping[str, float]) -> list[float]:
    of_perturbation = [one.cell.cell_id for one in cells if one.perturbation.name == perturbation]
    return [losses[cell_id] for cell_id in of_perturbation if cell_id in losses]


def _failures(audit: Audit, rows: Rows) -> list[str]:
    cells = {one.cell.cell_id: one for one in audit.cells}
    return [
        f"{(one := cells[str(row['run_id'])]).perturbation.name} at {one.cell.budget:.3g} FLOPs has no loss for "
        f"{one.cell.spec.shape.name}, seed {one.cell.spec.seed}: {row['status_reason']}"
        for row in rows
        if row["status"] != "finished"
    ]


def _unusable(budget: AuditedBudget) -> list[str]:
    return [
        f"no exponent of {axis} can be told to move: at {budget.flops:.3g} FLOPs the parabola has no minimum inside "
        f"its grid ({budget.valleys[axis].status})"
        for axis in AXES
        if axis not in budget.usable
    ]
