"""A law and a budget -> what to train: the three steps of a planner."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.references import LAWS, PublishedLaw, published_law
from fit.regression import Line, line_from_dict
from fit.statistics import Interval, decades_beyond, exp_interval

FLOPS_PER_PARAM_TOKEN = 6
"""C = 6·N·D (Kaplan et al., arXiv 2001.08361, eq. 2.1)."""


@dataclass(frozen=True)
class AxisLaw:
    """optimum = coefficient·C^exponent along one axis, as well as it is known."""

    coefficient: float
    exponent: float
    exponent_ci95: Interval | None = None
    line: Line | None = None
    """Of one's own fit: what intervals of the optimum follow from."""
    plain: tuple[float, float] | None = None
    """(coefficient, exponent) by plain least squares, where the law is a corrected one."""

    def value(self, flops: float) -> float:
        """Infinite where it is too large to hold."""
        try:
            return math.exp(math.log(self.coefficient) + self.exponent * math.log(flops))
        except OverflowError:
            return math.inf

    def value_ci95(self, flops: float) -> Interval | None:
        return None if self.line is None else exp_interval(self.line.value_ci95(math.log(flops)))


@dataclass(frozen=True)
class PlannerLaw:
    """A law that advice can rest on, published or one's own."""

    name: str
    source: str
    tokens: AxisLaw
    params: AxisLaw | None
    """Where the law has its own; else C = 6·N·D gives them."""
    flops_range: tuple[float, float] | None
    flops_convention: str | None = None
    """How the law's C is counted, where that is known."""
    note: str = ""


@dataclass(frozen=True)
class Advice:
    """What the law says of a budget."""

    law: PlannerLaw
    flops: float
    tokens: float
    tokens_ci95: Interval | None
    params: float
    params_ci95: Interval | None
    params_from: str
    decades_beyond: float
    """log10 of how far the budget lies outside the law's data; 0 inside, NaN where that is not known."""


@dataclass(frozen=True)
class Check:
    """Where a combination of params and tokens stands against the optimum of its own cost."""

    params: float
    tokens: float
    advice: Advice

    @property
    def tokens_ratio(self) -> float:
        return self.tokens / self.advice.tokens

    @property
    def params_ratio(self) -> float:
        return self.params / self.advice.params


def budget_flops(gpus: float, tflops: float, hours: float) -> float:
    """FLOPs of `gpus` that reach `tflops` (1e12 FLOPs/s) each for `hours`. UserError where one is not positive."""
    for name, value in (("--gpus", gpus), ("--tflops", tflops), ("--days/--hours", hours)):
        _positive(name, value)
    flops = gpus * tflops * 1e12 * hours * 3600
    return _positive("the budget", flops)


def load_law(name: str | Path) -> PlannerLaw:
    """A published law by name, or one's own from the JSON file of a fit. UserError where there is no such law."""
    if isinstance(name, Path) or name.endswith(".json") or Path(name).is_file():
        return _own_law(Path(name))
    return _planner_law(published_law(name))


def read_fit(path: Path) -> Any:
    """What the JSON file of a fit holds. UserError where it can't be read or is no JSON."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"law file '{path}' does not exist; write one with python -m fit isoflop RUNS --json {path}"
        ) from None
    except OSError as error:
        raise UserError(
            f"law file '{path}' can't be read: {error.strerror}; give a fit's JSON file"
        ) from None
    except (ValueError, RecursionError):  # bytes that are no text, text that is no JSON
        raise UserError(
            f"law file '{path}' is no JSON; write one with python -m fit isoflop RUNS --json FILE"
        ) from None


def advise(law: PlannerLaw, flops: float) -> Advice:
    """Optimal tokens and params at `flops`. UserError where that is no positive number."""
    _positive("--flops", flops)
    tokens, tokens_ci95 = _positive("optimal tokens", law.tokens.value(flops)), law.tokens.value_ci95(flops)
    if law.params is not None:
        params, params_ci95, source = (
            law.params.value(flops),
            law.params.value_ci95(flops),
            "the law's own params",
        )
    else:
        params, source = flops / (FLOPS_PER_PARAM_TOKEN * tokens), "C = 6ND"
        params_ci95 = tokens_ci95 and (
            flops / (FLOPS_PER_PARAM_TOKEN * tokens_ci95[1]),
            flops / (FLOPS_PER_PARAM_TOKEN * tokens_ci95[0]),
        )
    _positive("optimal params", params)
    beyond = math.nan if law.flops_range is None else decades_beyond(flops, *law.flops_range)
    return Advice(law, flops, tokens, tokens_ci95, params, params_ci95, source, beyond)


def check(law: PlannerLaw, params: float, tokens: float) -> Check:
    """`params` on `tokens` against the law's optimum at the same 6·N·D FLOPs."""
    _positive("--params", params)
    _positive("--tokens", tokens)
    flops = _positive("6 x --params x --tokens", FLOPS_PER_PARAM_TOKEN * params * tokens)
    return Check(params, tokens, advise(law, flops))


def _planner_law(law: PublishedLaw) -> PlannerLaw:
    if law.tokens_coefficient is None:
        others = ", ".join(other.name for other in LAWS if other.tokens_coefficient is not None)
        raise UserError(
            f"law '{law.name}' has no published coefficient, so it says how the optimum grows but not where it lies; "
            f"choose one of {others} or a fit's JSON file"
        )
    own_params = None
    if law.params_coefficient is not None and law.params_exponent is not None:
        own_params = AxisLaw(law.params_coefficient, law.params_exponent)
    return PlannerLaw(
        law.title,
        law.source,
        AxisLaw(law.tokens_coefficient, law.tokens_exponent),
        own_params,
        law.flops_range,
        note=law.note,
    )


def _own_law(path: Path) -> PlannerLaw:
    content: dict[str, Any] = read_fit(path)
    try:
        tokens, params = content["laws"]["tokens"], content["laws"]["params"]
        convention = content.get("conventions", {}).get("flops")
        return PlannerLaw(
            name=str(path),
            source=str(content.get("table", {}).get("source", "a fit")),
            tokens=_axis_law(tokens),
            params=_axis_law(params) if params else None,
            flops_convention=None if convention is None else str(convention),
            flops_range=_range(tokens.get("flops_range") or [one["flops"] for one in content["budgets"]]),
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise UserError(
            f"law file '{path}' is not a fit's JSON; write one with python -m fit isoflop RUNS --json FILE"
        ) from None


def _axis_law(law: dict[str, Any]) -> AxisLaw:
    """The corrected law, which the intervals are about; the plain one of a file that has no other."""
    interval, corrected, plain = law["exponent_ci95"], law.get("corrected"), _law_numbers(law)
    ci95 = (float(interval[0]), float(interval[1])) if interval else None
    if ci95 is not None and not ci95[0] <= ci95[1]:
        raise ValueError
    if not corrected:
        return AxisLaw(*plain, exponent_ci95=ci95)
    line = line_from_dict(law["line"], law["scatter"]) if law.get("line") else None
    best = AxisLaw(*_law_numbers(corrected), exponent_ci95=ci95, line=line, plain=plain)
    if line is not None and not math.isclose(line.slope, best.exponent, rel_tol=1e-6, abs_tol=1e-9):
        raise ValueError  # its intervals would be about another law
    return best


def _law_numbers(law: dict[str, Any]) -> tuple[float, float]:
    """(coefficient, exponent). ValueError where they describe no power law."""
    coefficient, exponent = float(law["coefficient"]), float(law["exponent"])
    if not (coefficient > 0 and math.isfinite(coefficient) and math.isfinite(exponent)):
        raise ValueError
    return coefficient, exponent


def _range(flops: list[Any]) -> Interval:
    """Smallest and largest. ValueError where one is no positive number."""
    numbers = [float(one) for one in flops]
    if not all(one > 0 and math.isfinite(one) for one in numbers):
        raise ValueError
    return min(numbers), max(numbers)


def _positive(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"{name} is {value}; a positive, finite number is expected")
    return value
