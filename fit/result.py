"""A fit as contract 2: JSON that holds all that its figures and its advice need."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from fit.approaches import Approach
from fit.aside import by_reason
from fit.backtest import Backtest
from fit.compare import Comparison, LawComparison, Ratio
from fit.errors import UserError
from fit.isoflop import Budget, IsoflopFit
from fit.losslaw import loss_law_to_dict
from fit.powerlaw import Estimate, PowerLaw, Prediction
from fit.references import LLAMA3
from fit.regression import line_to_dict
from fit.statistics import Interval
from fit.surface import SurfaceFit
from fit.valley import AXES, Valley

SCHEMA = 1
MOST_NAMES = 100
"""Runs set aside for one reason that are named; `set_aside_counts` counts them all."""


def fit_to_dict(fit: IsoflopFit) -> dict[str, Any]:
    """Contract 2; what is not known is null, never NaN."""
    tokens_law = fit.laws["tokens"]
    assert tokens_law is not None
    inside = tokens_law.exponent_ci95
    return _clean(
        {
            "schema": SCHEMA,
            "method": "parabola",
            "table": {"source": fit.table.source, "runs": len(fit.table), "notes": list(fit.table.notes)},
            "budgets": [_budget(fit, budget) for budget in fit.budgets],
            "laws": {axis: _law(fit.laws[axis]) for axis in AXES},
            "conventions": _conventions(fit),
            "predictions": [_prediction(prediction) for prediction in fit.predictions],
            "reference": {
                "name": LLAMA3.name,
                "exponent": LLAMA3.tokens_exponent,
                "coefficient": LLAMA3.tokens_coefficient,
                "exponent_inside_ci95": inside[0] <= LLAMA3.tokens_exponent <= inside[1] if inside else None,
            },
            "surface": None if fit.surface is None else _surface(fit.surface),
            "loss_law": loss_law_to_dict(fit.loss_law),
            "approaches": [_approach(approach) for approach in fit.approaches],
            "parabola": {
                "window": fit.options.window,
                "weights": fit.options.weights,
                "robust": fit.options.robust,
            },
            "backtest": _backtest(fit.backtests[0]) if fit.backtests else None,
            "backtests": [_backtest(backtest) for backtest in fit.backtests],
            "run_noise": None
            if fit.run_noise is None
            else {"sd": fit.run_noise.sd, "degrees_of_freedom": fit.run_noise.degrees_of_freedom},
            "seed_noise": None
            if fit.seed_noise is None
            else {"sd": fit.seed_noise.sd, "degrees_of_freedom": fit.seed_noise.degrees_of_freedom},
            "resamples": fit.resamples,
            "set_aside": [
                {"run_id": item.run_id, "reason": item.reason}
                for items in by_reason(fit.set_aside).values()
                for item in items[:MOST_NAMES]
            ],
            "set_aside_counts": {reason: len(items) for reason, items in by_reason(fit.set_aside).items()},
            "warnings": [{"code": w.code, "text": w.text, "budget": w.budget} for w in fit.warnings],
        }
    )


def write_fit(fit: IsoflopFit, path: Path) -> None:
    """Write contract 2 to a temporary name and rename."""
    _write_json(fit_to_dict(fit), path)


def comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    """Two fits side by side; what is not known is null."""
    return _clean(
        {
            "schema": SCHEMA,
            "first": {"source": comparison.first.table.source, "runs": len(comparison.first.table)},
            "second": {"source": comparison.second.table.source, "runs": len(comparison.second.table)},
            "laws": {
                axis: None if law is None else _law_comparison(law) for axis, law in comparison.laws.items()
            },
            "cautions": list(comparison.cautions),
        }
    )


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write `comparison_to_dict` to a temporary name and rename."""
    _write_json(comparison_to_dict(comparison), path)


def _write_json(content: dict[str, Any], path: Path) -> None:
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name and rename; UserError, and nothing left behind, where that can't be done.

    A link is followed, so that it stays one. A device, a pipe, and the file that is printed to are written into as
    they are: put in their place, a file of the same name would reach no reader.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if (stream := _stream_of(path)) is not None:
            stream.flush()
            with open(stream.fileno(), "wb", closefd=False) as file:
                file.write(content)
        elif path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            temporary.write_bytes(content)
            temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(f"'{path}' can't be written: {error.strerror}; choose another place") from None


def _stream_of(path: Path) -> TextIO | None:
    """Of standard output and error, the one that `path` leads to: /dev/stdout, or the file it is redirected to."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed
        with contextlib.suppress(OSError, ValueError):  # none at `path`, or a stream that is no file
            if os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                return stream
    return None


def _budget(fit: IsoflopFit, budget: Budget) -> dict[str, Any]:
    return {
        "flops": budget.flops,
        "runs": budget.runs,
        "used": int(budget.tokens.used.sum()) if budget.tokens.interior else 0,
        **{axis: _valley(budget.valley(axis), budget.optimum_ci95[axis]) for axis in AXES},
        "loss": budget.tokens.optimum_loss,
        "r2": budget.tokens.r2,
        "interior": budget.tokens.interior,
        "warnings": [warning.code for warning in fit.warnings if warning.budget == budget.flops],
    }


def _valley(valley: Valley, ci95: Interval | None) -> dict[str, Any]:
    return {
        "optimum": valley.optimum,
        "ci95": ci95,
        "status": valley.status,
        "r2": valley.r2,
        "depth": valley.depth,
        "parabola": {"centre": valley.centre, "coefficients": list(valley.coefficients)},
        "used": int(valley.used.sum()),
    }


def _law(law: PowerLaw | None) -> dict[str, Any] | None:
    if law is None:
        return None
    return {
        "coefficient": law.coefficient,
        "exponent": law.exponent,
        "exponent_ci95": law.exponent_ci95,
        "coefficient_ci95": law.coefficient_ci95,
        "corrected": {"coefficient": law.corrected_coefficient, "exponent": law.corrected_exponent},
        "line": line_to_dict(law.line),
        "intervals": dict(law.parts),
        "scatter": law.line.tau,
        "budgets": [
            {
                "flops": float(flops),
                "leverage": float(law.leverage[i]),
                "exponent_without": None if law.without is None else float(law.without[i]),
                "shift": None if law.shift is None else float(law.shift[i]),
            }
            for i, flops in enumerate(law.flops)
        ],
        "flops_range": [float(law.flops.min()), float(law.flops.max())],
    }


def _conventions(fit: IsoflopFit) -> dict[str, Any]:
    """`params_laws` holds those of the table that count FLOPs as its own column does."""
    own_flops = [row for row in fit.conventions if row.flops == fit.table.flops_convention]
    return {
        "flops": fit.table.flops_convention,
        "params": fit.table.params_convention,
        "params_laws": {row.params: _law(row.laws["params"]) for row in own_flops if row.params is not None},
        "table": [
            {
                "params": row.params,
                "flops": row.flops,
                "own": row.own,
                "laws": {axis: _law(row.laws[axis]) for axis in AXES},
                "predictions": [_prediction(prediction) for prediction in row.predictions],
            }
            for row in fit.conventions
        ],
    }


def _surface(found: SurfaceFit) -> dict[str, Any]:
    surface = found.surface
    return {
        "objective": found.objective,
        "reason": found.reason or None,
        "residual_sd": found.residual_sd,
        "converged": found.converged,
        "unknowns": None
        if surface is None
        else {
            "floor": surface.floor,
            "a": surface.a,
            "b": surface.b,
            "alpha": surface.alpha,
            "beta": surface.beta,
        },
        "exponents": None if surface is None else surface.exponents,
    }


def _approach(approach: Approach) -> dict[str, Any]:
    return {
        "name": approach.name,
        "interval": approach.interval,
        "notes": list(approach.notes),
        **{
            axis: {
                "coefficient": law.coefficient,
                "exponent": law.exponent,
                "exponent_ci95": law.exponent_ci95,
            }
            for axis, law in approach.laws.items()
        },
    }


def _backtest(backtest: Backtest) -> dict[str, Any]:
    params = backtest.ratios.get("params")
    return {
        "held_out": backtest.held_out,
        "held_out_flops": backtest.held_out_flops,
        "tokens_ratio": backtest.ratios["tokens"].value,
        "tokens_chance95": backtest.ratios["tokens"].ci95,
        "params_ratio": None if params is None else params.value,
        "params_chance95": None if params is None else params.ci95,
        "loss_error": backtest.loss_error,
    }


def _prediction(prediction: Prediction) -> dict[str, Any]:
    optima = {axis: _estimate(estimate) for axis, estimate in prediction.optima.items()}
    loss = None if prediction.loss is None else _estimate(prediction.loss)
    return {"flops": prediction.flops, "tokens": None, "params": None, **optima, "loss": loss}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "ci95": estimate.ci95, "corrected": estimate.corrected}


def _law_comparison(law: LawComparison) -> dict[str, Any]:
    exponent = law.exponent
    return {
        "told_apart": law.told_apart,
        "p_value": law.p_value,
        "exponent": {
            "first": exponent.first,
            "second": exponent.second,
            "difference": exponent.value,
            "ci95": exponent.ci95,
            "unseen": exponent.unseen,
            "degrees_of_freedom": exponent.degrees_of_freedom,
        },
        "middle": _ratio(law.middle),
        "optima": [_ratio(ratio) for ratio in law.ratios],
    }


def _ratio(ratio: Ratio) -> dict[str, Any]:
    return {
        "flops": ratio.flops,
        "first": ratio.first,
        "second": ratio.second,
        "ratio": ratio.value,
        "ci95": ratio.ci95,
        "unseen": ratio.unseen,
    }


def _clean(value: Any) -> Any:
    """NaN and infinities as null, tuples as lists."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
