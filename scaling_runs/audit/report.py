"""An audit in words, and as JSON. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from fit.statistics import student
from fit.valley import AXES, Axis
from scaling_runs.audit.effect import MAX_MOVE, AuditedBudget, Effect, Move, Verdict
from scaling_runs.audit.study import Study
from scaling_runs.numbers import count

SCHEMA = 1
BEST = "best tried"
RULE = "rule"
MANY_SEEDS = 16
"""Times as many as the sweep has; a sweep of such a price is another sweep."""


def render_audit(study: Study) -> str:
    """What was tried, a table of what it changed, and what is robust and what is not."""
    audit = study.audit
    tried = ", ".join(one.name for one in audit.perturbations)
    lines = [
        "The audit: how far α would move, had the rule for learning rates or batch been off",
        f"  tried: {tried}, each at two sizes of two budgets, {audit.share:.0%} of the sweep's FLOPs",
        f"  noise of one run: {_noise(study)}",
        "",
        *_table(study),
        "",
    ]
    said = [*_verdicts(study), *_best(study), *study.lacking]
    return "\n".join([*lines, *(f"  {line}" for line in said)])


def audit_to_dict(study: Study) -> dict[str, Any]:
    """All of it; what is not known is null. Pairs are by budget, lower first, and by size, smaller first."""
    noise = study.noise
    return {
        "schema": SCHEMA,
        "threshold": MAX_MOVE,
        "cells": len(study.audit.cells),
        "share_of_flops": study.audit.share,
        "run_noise": None
        if noise is None
        else {"sd": noise.sd, "degrees_of_freedom": noise.degrees_of_freedom, "source": noise.source},
        "budgets": [_budget(budget) for budget in study.budgets],
        "perturbations": [{"name": name, **_effect(effect)} for name, effect in study.effects.items()],
        "best_tried": None
        if study.best is None
        else {"settings": [_best_names(study, i) for i in (0, 1)], **_effect(study.best)},
        "lacking": list(study.lacking),
    }


def _noise(study: Study) -> str:
    if study.noise is None:
        return "not known, for parabolas of three runs leave nothing"
    source = {"seeds": "by the sweep's seeds", "residuals": "by what the parabolas leave"}[study.noise.source]
    return f"{study.noise.sd:.4f} nats, {source}"


def _table(study: Study) -> list[str]:
    """A row a perturbation, and one for the best of all."""
    at = [f"{budget.flops:.3g}" for budget in study.budgets]
    sizes = [count(size) for budget in study.budgets for size in budget.sizes["params"]]
    over = f"{'change of loss, nats, at':>42} {'optimal params times':>21} {'α of tokens':>16} {'α of params':>16}"
    flops = f"{'FLOPs':>10} {at[0]:>15} {at[1]:>15} {at[0]:>12} {at[1]:>8} {'by, 95%':>16} {'by, 95%':>16}"
    params = f"{'params':>10} " + " ".join(f"{size:>7}" for size in sizes)
    return [over, flops, params, *(_row(name, effect) for name, effect in _named(study))]


def _named(study: Study) -> list[tuple[str, Effect]]:
    """Every row of the table."""
    return [*study.effects.items(), *([(BEST, study.best)] if study.best is not None else [])]


def _row(name: str, effect: Effect) -> str:
    changes = " ".join(f"{nats:>+7.4f}" for nats in effect.changes.ravel())
    shifts = effect.shifts.get("params")
    factors = ["-", "-"] if shifts is None else [f"{np.exp(shift):.2f}" for shift in shifts]
    moves = " ".join(f"{_move_text(effect.moves.get(axis)):>16}" for axis in AXES)
    return f"{name:>10} {changes} {factors[0]:>12} {factors[1]:>8} {moves}"


def _move_text(move: Move | None) -> str:
    if move is None:
        return "-"
    return f"{move.value:+.3f}" + (f" ±{move.half_width:.3f}" if move.half_width is not None else "")


def _verdicts(study: Study) -> list[str]:
    """A sentence for what is robust, one for what is not, and one for what the noise hides."""
    names: dict[Verdict, list[str]] = {"robust": [], "moves": [], "open": []}
    for name, effect in _named(study):
        for verdict, listed in names.items():
            axes = [axis for axis, move in effect.moves.items() if move.verdict == verdict]
            listed += [name] if len(axes) == len(AXES) else [f"{name} (α of {axis})" for axis in axes]
    lines = {
        "robust": f"α moves by {MAX_MOVE} at most, noise and all",
        "moves": f"α moves by more than {MAX_MOVE}, noise and all: the rule has to be right to better than 2x there",
        "open": _why_open(study),
    }
    heads = {"robust": "robust", "moves": "NOT robust", "open": "not told"}
    return [f"{heads[v]}: {', '.join(listed)}: {lines[v]}" for v, listed in names.items() if listed]


def _why_open(study: Study) -> str:
    """And what would tell: seeds, as long as few enough would do."""
    halves = [
        move.half_width
        for _, effect in _named(study)
        for move in effect.moves.values()
        if move.verdict == "open" and move.half_width is not None
    ]
    if not halves:
        return "the noise of a run is not known; give sweep.seeds=[2] or more sizes"
    seeds = int(np.ceil((max(halves) / MAX_MOVE) ** 2))
    remedy = f"{seeds}x the seeds would leave ±{MAX_MOVE}"
    if seeds > MANY_SEEDS:
        remedy = "no number of seeds is a remedy, but budgets that lie further apart and a wider grid are"
    leave = f"±{min(halves):.3f}" + (f" to ±{max(halves):.3f}" if len(halves) > 1 else "")
    return (
        f"the noise of the runs leaves {leave}, too much to see or to rule out a move of {MAX_MOVE}; {remedy}"
    )


def _best(study: Study) -> list[str]:
    """Which setting is the best where: a recipe that is right at one end only bends the valley."""
    if study.best is None:
        return []
    lines = []
    for i, budget in enumerate(study.budgets):
        places = [
            f"{_gain(study, i, j, name)} at {count(budget.sizes['params'][j])} params"
            for j, name in enumerate(_best_names(study, i))
        ]
        lines.append(f"best tried at {budget.flops:.3g} FLOPs: {', '.join(places)}")
    return lines


def _best_names(study: Study, budget: int) -> list[str]:
    """Of each size the perturbation of the lowest loss, or RULE."""
    changes = {name: effect.changes[budget] for name, effect in study.effects.items()} | {RULE: np.zeros(2)}
    return [min(changes, key=lambda name: changes[name][size]) for size in (0, 1)]


def _gain(study: Study, budget: int, size: int, name: str) -> str:
    """The name of a setting and by how much it beats the rule."""
    if name == RULE:
        return "the rule"
    audited, noise = study.budgets[budget], study.noise
    gain = -float(study.effects[name].changes[budget, size])
    within = ""
    if noise is not None:
        runs = 1 / np.count_nonzero(audited.rule[size]) + 1 / audited.runs[name][size]
        if gain < student(noise.degrees_of_freedom) * noise.sd * np.sqrt(runs):
            within = ", within the noise"
    return f"{name} ({gain:.4f} below the rule{within})"


def _budget(budget: AuditedBudget) -> dict[str, Any]:
    losses = budget.valleys[AXES[0]].losses
    return {
        "flops": budget.flops,
        **{axis: [float(size) for size in budget.sizes[axis]] for axis in AXES},
        "loss": [float(loss) for loss in budget.rule @ losses],
        "curvature": {
            axis: budget.valleys[axis].coefficients[2] if axis in budget.usable else None for axis in AXES
        },
    }


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "loss_changes": effect.changes.tolist(),
        **{axis: _of_axis(effect, axis) for axis in AXES},
    }


def _of_axis(effect: Effect, axis: Axis) -> dict[str, Any] | None:
    move = effect.moves.get(axis)
    if move is None:
        return None
    return {
        "log_optimum_shifts": effect.shifts[axis].tolist(),
        "exponent_move": move.value,
        "se": move.se,
        "ci95": move.ci95,
        "verdict": move.verdict,
    }
