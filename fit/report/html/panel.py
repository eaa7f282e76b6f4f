"""What the decision panel computes with: laws and constants as plain values. Its formulas are in decide.js."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fit.advise import NEIGHBOURS, OFF_BUDGET, WASTING, WITHIN
from fit.constraints import BYTES_A_PARAM, EXCESS_WORTH, GRID, INFERENCE_FLOPS, REPEATS_WORTH, SMALLEST
from fit.laws import AxisLaw, PlannerLaw, load_law
from fit.references import LAWS
from fit.regression import LEAST_SHARE, Line
from fit.statistics import student
from fit.surface import Surface
from fit.text import short_name
from fit.tradeoff import BORROWED, FLOPS_PER_PARAM_TOKEN

CONSTANTS = {
    "flopsPerParamToken": FLOPS_PER_PARAM_TOKEN,
    "repeatsWorth": REPEATS_WORTH,
    "excessWorth": EXCESS_WORTH,
    "inferenceFlops": INFERENCE_FLOPS,
    "bytesAParam": BYTES_A_PARAM,
    "smallest": SMALLEST,
    "grid": GRID,
    "within": WITHIN,
    "wasting": WASTING,
    "neighbours": NEIGHBOURS,
    "offBudget": OFF_BUDGET,
}


def published_laws() -> list[tuple[str, PlannerLaw]]:
    """By the name that `--law` takes, those that say where an optimum lies."""
    return [(law.name, load_law(law.name)) for law in LAWS if law.tokens_coefficient is not None]


def panel_data(
    laws: Sequence[tuple[str, PlannerLaw]], flops: float, build: Sequence[str] = (), written: bool = True
) -> dict[str, Any]:
    """laws: by what `--law` takes; the first, this experiment's own, is chosen as the page opens, at `flops`.

    build: options of `advise` that name the experiment's ladder of shapes. written: whether the own law's file is.
    """
    assert BORROWED.surface is not None
    return {
        "constants": CONSTANTS,
        "borrowed": {"title": BORROWED.title, **_surface(BORROWED.surface)},
        "laws": [_law(name, law, own=i == 0) for i, (name, law) in enumerate(laws)],
        "flops": flops,
        "build": list(build),
        "written": written,
    }


def _law(name: str, law: PlannerLaw, *, own: bool) -> dict[str, Any]:
    loss = law.loss_law
    return {
        "option": name,
        "name": law.name,
        "source": short_name(law.source) if own else law.source,
        "tokens": _axis(law.tokens),
        "params": None if law.params is None else _axis(law.params),
        "flopsRange": law.flops_range,
        "flopsConvention": law.flops_convention,
        "surface": None if law.surface is None else _surface(law.surface),
        "lossLaw": None
        if loss is None
        else {"floor": loss.floor or 0.0, "coefficient": loss.coefficient, "exponent": loss.exponent},
    }


def _surface(surface: Surface) -> dict[str, float]:
    return {name: getattr(surface, name) for name in ("floor", "a", "b", "alpha", "beta")}


def _axis(law: AxisLaw) -> dict[str, Any]:
    return {
        "coefficient": law.coefficient,
        "exponent": law.exponent,
        "line": None if law.line is None else _line(law.line),
    }


def _line(line: Line) -> dict[str, Any]:
    """What `Line.value_ci95` follows from, Student's t looked up."""
    two = line.points == 2
    freedom = line.known_freedom if two else line.points - 2
    return {
        "x0": line.x0,
        "intercept": line.intercept,
        "slope": line.slope,
        "covariance": (line.known if two else line.covariance).tolist(),
        "known": line.known.tolist(),
        "least": 1.0 if two else (LEAST_SHARE * student(np.inf) / student(freedom)) ** 2,
        "t": student(freedom),
        "two": two,
    }
