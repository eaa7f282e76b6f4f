"""A law and a budget -> what to train: the three steps of a planner."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.references import LAWS, PublishedLaw, published_law
from fit.statistics import Interval

FLOPS_PER_PARAM_TOKEN = 6
"""C = 6·N·D (Kaplan et al., arXiv 2001.08361, eq. 2.1)."""


@dataclass(frozen=True)
class PlannerLaw:
    """A law that advice can rest on, published or one's own."""

    name: str
    source: str
    tokens: tuple[float, float]
    """(coefficient, exponent) of optimal tokens."""
    params: tuple[float, float] | None
    """Of optimal params, where the law has its own; else C = 6·N·D gives them."""
    tokens_exponent_ci95: Interval | None
    flops_range: tuple[float, float] | None
    note: str = ""


@dataclass(frozen=True)
class Advice:
    """What the law says of a budget."""

    law: PlannerLaw
    flops: float
    tokens: float
    params: float
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


def load_law(name: str) -> PlannerLaw:
    """A published law by name, or one's own from the JSON file of a fit. UserError where there is no such law."""
    if name.endswith(".json") or Path(name).is_file():
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
    tokens = _power(law.tokens, flops)
    if law.params is not None:
        params, source = _power(law.params, flops), "the law's own params"
    else:
        params, source = flops / (FLOPS_PER_PARAM_TOKEN * tokens), "C = 6ND"
    for name, value in (("optimal tokens", tokens), ("optimal params", params)):
        _positive(name, value)
    return Advice(law, flops, tokens, params, source, _decades_beyond(law.flops_range, flops))


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
        own_params = (law.params_coefficient, law.params_exponent)
    return PlannerLaw(
        law.title,
        law.source,
        (law.tokens_coefficient, law.tokens_exponent),
        own_params,
        None,
        law.flops_range,
        law.note,
    )


def _own_law(path: Path) -> PlannerLaw:
    content: dict[str, Any] = read_fit(path)
    try:
        tokens, params = content["laws"]["tokens"], content["laws"]["params"]
        interval = tokens["exponent_ci95"]
        return PlannerLaw(
            name=str(path),
            source=str(content.get("table", {}).get("source", "a fit")),
            tokens=_law_numbers(tokens),
            params=_law_numbers(params) if params else None,
            tokens_exponent_ci95=(float(interval[0]), float(interval[1])) if interval else None,
            flops_range=_range(tokens.get("flops_range") or [one["flops"] for one in content["budgets"]]),
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise UserError(
            f"law file '{path}' is not a fit's JSON; write one with python -m fit isoflop RUNS --json FILE"
        ) from None


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


def _power(law: tuple[float, float], flops: float) -> float:
    """Infinite where it is too large to hold."""
    coefficient, exponent = law
    try:
        return math.exp(math.log(coefficient) + exponent * math.log(flops))
    except OverflowError:
        return math.inf


def _decades_beyond(flops_range: tuple[float, float] | None, flops: float) -> float:
    if flops_range is None:
        return math.nan
    low, high = flops_range
    return max(0.0, math.log10(flops) - math.log10(high), math.log10(low) - math.log10(flops))


def _positive(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"{name} is {value}; a positive, finite number is expected")
    return value
