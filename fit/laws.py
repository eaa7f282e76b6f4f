"""The laws that advice can rest on: published ones by name, one's own from the JSON file of a fit."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.losslaw import LossLaw, loss_law_of
from fit.references import LAWS, PublishedLaw, published_law
from fit.regression import Line, line_from_dict
from fit.statistics import Interval, exp_interval
from fit.surface import Surface


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
    params_convention: str | None = None
    """How the law's N is counted: all, no_embedding or body; None where that is not known."""
    surface: Surface | None = None
    """L(N, D), where the law has one."""
    loss_law: LossLaw | None = None
    """Of one's own fit: the lowest loss by compute."""
    note: str = ""


def load_law(name: str | Path) -> PlannerLaw:
    """A published law by name, or one's own from the JSON file of a fit. UserError where there is no such law."""
    if isinstance(name, Path) or name.endswith(".json") or Path(name).is_file():
        return law_of_fit(read_fit(Path(name)), Path(name))
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
        params_convention=law.params_convention,
        surface=law.surface,
        note=law.note,
    )


def law_of_fit(content: Any, path: Path) -> PlannerLaw:
    """The law of a fit's JSON, named by its `path`. UserError where it is none."""
    try:
        tokens, params = content["laws"]["tokens"], content["laws"]["params"]
        conventions = content.get("conventions", {})
        law = PlannerLaw(
            name=str(path),
            source=str(content.get("table", {}).get("source", "a fit")),
            tokens=_axis_law(tokens),
            params=_axis_law(params) if params else None,
            flops_convention=_text(conventions.get("flops")),
            params_convention=_text(conventions.get("params")),
            surface=_surface(content.get("surface")),
            loss_law=None if content.get("loss_law") is None else loss_law_of(content, path),
            flops_range=_range(tokens.get("flops_range") or [one["flops"] for one in content["budgets"]]),
        )
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise UserError(
            f"law file '{path}' is not a fit's JSON; write one with python -m fit isoflop RUNS --json FILE"
        ) from None
    return law


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _surface(found: dict[str, Any] | None) -> Surface | None:
    """That of a fit's JSON, where there is one. ValueError where its numbers are none."""
    if not found or not found.get("unknowns"):
        return None
    unknowns = {name: float(found["unknowns"][name]) for name in ("floor", "a", "b", "alpha", "beta")}
    if not all(math.isfinite(value) and value >= 0 for value in unknowns.values()):
        raise ValueError
    if not all(unknowns[name] > 0 for name in ("a", "b", "alpha", "beta")):
        raise ValueError
    return Surface(**unknowns)


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
