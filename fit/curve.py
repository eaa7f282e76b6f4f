"""A power law through any points: y = A·x^α, or y = E + A·x^-α with a floor E where the points support one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from fit.errors import UserError
from fit.powerlaw import Estimate
from fit.profile import STEEPEST, Form, Points, Solution, best, exponent_interval, value_interval
from fit.statistics import LEVEL, Interval, student

Space = Literal["log", "linear"]
SPACES: tuple[Space, ...] = ("log", "linear")
FloorState = Literal["not-asked", "supported", "undecided", "no-fall", "undetermined"]
UNKNOWNS: dict[Form, int] = {"power": 2, "offset": 3}
LEAST_X: dict[Form, int] = {"power": 2, "offset": 4}
"""Different x: two lie on every power law, three on every one with a floor, which then could not be tested."""
SAME_X = 1e-9
"""In natural log."""
LEAST_SPAN = 1e-3
"""ln of the largest x over the smallest; of less, an exponent is what rounding makes of y."""
WIDEST = 1e60
"""Of y, largest over smallest; squares of more could not be held."""
MOST_POINTS = 2000
"""Of more, a search of seconds would become one of minutes."""


@dataclass(frozen=True)
class Curve:
    """y = floor + coefficient·x^exponent by least squares, in ln y (`log`) or in y (`linear`).

    The floor is zero unless it was asked for and the points support it: an F-test of E = 0 against E >= 0 (Bates and
    Watts, Nonlinear Regression Analysis, 1988, section 3.10) at 5%. Where it was asked for and they do not decide,
    the law is the plain one and every interval spans both forms. Intervals have Student's t with n - p degrees of
    freedom; those of the plain law in ln y are exact, the others are profiles of the squares.
    """

    x: np.ndarray
    """(n,)"""
    y: np.ndarray
    """(n,)"""
    space: Space
    form: Form
    """That of the law below."""
    floor_state: FloorState
    floor_p: float | None
    """Of the F-test; None where no floor was asked for, or y does not fall."""
    floor: float
    coefficient: float
    exponent: float
    """Of x: negative where y falls."""
    residual_sd: float | None
    """Of ln y or of y; sqrt of the sum of squares over the degrees of freedom. None where there are none."""
    sd: np.ndarray | None = field(default=None, repr=False)
    """(n,) standard errors of y that the points were weighted by, up to a common factor."""

    @property
    def exact(self) -> bool:
        """Whether the points lie on the law to rounding, so that no interval holds more than that."""
        freedom = len(self.y) - UNKNOWNS[self.form]
        least = _points(self.x, self.y, self.space, self.sd)[0].least_squares
        return self.residual_sd is not None and freedom * self.residual_sd**2 <= least

    def value(self, x: float) -> float:
        return self.floor + float(np.exp(np.log(self.coefficient) + self.exponent * np.log(x)))

    def predict(self, x: float) -> Estimate:
        """The law's height at `x`, and 95% of it; None where there are no degrees of freedom."""
        plain = self._plain(lambda fitted: fitted.value_ci95(x))
        return Estimate(self.value(x), _span(plain, self._offset(lambda fitted: fitted.value_ci95(x))))

    @cached_property
    def exponent_ci95(self) -> Interval | None:
        plain = self._plain(lambda fitted: fitted.exponent_ci95())
        return _span(plain, self._offset(lambda fitted: fitted.exponent_ci95()))

    @cached_property
    def floor_ci95(self) -> Interval | None:
        """From zero where the plain law will do; None where no floor was asked for."""
        return self._offset(lambda fitted: fitted.value_ci95(np.inf))

    def _plain(self, interval: Callable[[_Fitted], Interval | None]) -> Interval | None:
        """Of the plain law, where it is the law."""
        return interval(_Fitted.of(self, "power")) if self.form == "power" else None

    def _offset(self, interval: Callable[[_Fitted], Interval | None]) -> Interval | None:
        """Of the law with a floor, unless that is out of the question."""
        if self.floor_state in ("not-asked", "no-fall"):
            return None
        return interval(_Fitted.of(self, "offset"))


@dataclass(frozen=True)
class _Fitted:
    """One form through a curve's points."""

    points: Points
    form: Form
    solution: Solution
    centre: float
    """ln x about which `points` are."""

    @staticmethod
    def of(curve: Curve, form: Form) -> _Fitted:
        points, centre = _points(curve.x, curve.y, curve.space, curve.sd)
        return _Fitted(points, form, best(points, form), centre)

    @property
    def freedom(self) -> int:
        return len(self.points.y) - UNKNOWNS[self.form]

    @property
    def is_line(self) -> bool:
        """A plain law in ln y is one, and its intervals are closed."""
        return self.form == "power" and self.points.relative

    @property
    def _spread(self) -> float:
        return float(np.sum(self.points.log_u**2))

    def _line_half(self, variance: float) -> float:
        """Student's half width, of a variance in units of the residuals'."""
        squares = max(self.solution.squares, self.points.least_squares)
        return student(self.freedom) * float(np.sqrt(variance * squares / self.freedom))

    def value_ci95(self, x: float) -> Interval | None:
        if self.freedom < 1:
            return None
        at = float(np.log(x)) - self.centre
        if self.is_line:
            half = self._line_half(1 / len(self.points.y) + at**2 / self._spread)
            with np.errstate(over="ignore"):  # infinite, where the points say as little
                low, high = self.solution.value(at) * np.exp(np.array([-half, half]))
            return float(low), float(high)
        return value_interval(self.points, self.form, self.solution, at, self.freedom)

    def exponent_ci95(self) -> Interval | None:
        if self.freedom < 1:
            return None
        if self.is_line:
            half = self._line_half(1 / self._spread)
            return -self.solution.alpha - half, -self.solution.alpha + half
        low, high = exponent_interval(self.points, self.form, self.solution, self.freedom)
        return -high, -low


def fit_curve(
    x: np.ndarray, y: np.ndarray, offset: bool = False, space: Space = "log", sd: np.ndarray | None = None
) -> Curve:
    """The power law through (n,) points, with a floor where `offset` asks for one and the points support it.

    space: `log` for errors that are a share of y, `linear` for errors of one size. sd: (n,) standard errors of y, by
    whose inverse squares the points then count (`linear` only); what they have in common is found from the residuals.
    UserError where a number is not positive, or there are fewer than 2 different x, 4 with `offset`.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    _require(x, y, offset, space, sd)
    points, centre = _points(x, y, space, sd)
    plain = best(points, "power")
    state, p_value, chosen, form = _decide(points, plain, offset)
    freedom = len(y) - UNKNOWNS[form]
    with np.errstate(over="ignore"):
        coefficient = float(np.exp(np.log(chosen.height) + chosen.alpha * centre))
    if not (coefficient > 0 and np.isfinite(coefficient)):
        raise UserError(
            f"x runs from {x.min():.6g} to {x.max():.6g} only, and the law through these points, of exponent "
            f"{-chosen.alpha:.4g}, has no coefficient that a number can hold; give x of a wider range"
        )
    return Curve(
        x=x,
        y=y,
        space=space,
        form=form,
        floor_state=state,
        floor_p=p_value,
        floor=chosen.floor,
        coefficient=coefficient,
        exponent=-chosen.alpha,
        residual_sd=float(np.sqrt(chosen.squares / freedom)) if freedom > 0 else None,
        sd=sd,
    )


def _decide(points: Points, plain: Solution, offset: bool) -> tuple[FloorState, float | None, Solution, Form]:
    from scipy.special import fdtrc

    if not points.relative and abs(plain.alpha) * points.span > STEEPEST * 0.99:
        raise UserError(
            f"y runs from {points.y.min():.3g} to {points.y.max():.3g}, so that a fit in y sees its largest alone; "
            f"fit in ln y, with the space log"
        )
    if not offset:
        return "not-asked", None, plain, "power"
    if plain.alpha <= 0:
        return "no-fall", None, plain, "power"
    bent = best(points, "offset")
    freedom = len(points.y) - UNKNOWNS["offset"]
    least = max(bent.squares, points.least_squares)
    gain = max(plain.squares - least, 0.0)
    p_value = float(fdtrc(1, freedom, gain / (least / freedom)))
    if p_value >= 1 - LEVEL:
        return "undecided", p_value, plain, "power"
    if bent.height == 0 or bent.alpha * points.span > STEEPEST * 0.99:
        return "undetermined", p_value, plain, "power"
    return "supported", p_value, bent, "offset"


def _points(x: np.ndarray, y: np.ndarray, space: Space, sd: np.ndarray | None) -> tuple[Points, float]:
    centre = float(np.mean(np.log(x)))
    weight = np.ones_like(y) if sd is None else np.mean(sd**2) / sd**2
    return Points(np.log(x) - centre, y, weight, space == "log"), centre


def _span(one: Interval | None, other: Interval | None) -> Interval | None:
    """The least interval that holds both."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def _require(x: np.ndarray, y: np.ndarray, offset: bool, space: Space, sd: np.ndarray | None) -> None:
    if space not in SPACES:
        raise UserError(f"the space is '{space}'; choose one of {', '.join(SPACES)}")
    if sd is not None and space == "log":
        raise UserError("standard errors of y weight a fit in y, not one in ln y; choose the space linear")
    for name, values in (("x", x), ("y", y), ("sd", np.ones_like(x) if sd is None else sd)):
        if values.shape != x.shape or x.ndim != 1:
            raise UserError(f"{name} has the shape {values.shape} and x {x.shape}; give a number a point")
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            raise UserError(f"{name} holds {values[bad][0]:g}; a power law needs positive, finite numbers")
    if len(y) and y.max() / WIDEST > y.min():
        raise UserError(
            f"y runs from {y.min():.3g} to {y.max():.3g}, wider than {WIDEST:.0e}-fold; fit a part of it"
        )
    if len(x) > MOST_POINTS:
        raise UserError(
            f"a curve is fitted to {MOST_POINTS} points at most and there are {len(x)}; average those of like x"
        )
    different = int(np.sum(np.diff(np.sort(np.log(x))) > SAME_X)) + (len(x) > 0)
    least = LEAST_X["offset" if offset else "power"]
    if different < least:
        what = "a power law with a floor" if offset else "a power law"
        raise UserError(f"{what} needs {least} different x and there are {different}; add points")
    if np.log(x.max() / x.min()) < LEAST_SPAN:
        raise UserError(
            f"x runs from {x.min():.10g} to {x.max():.10g} only, which differ by less than a part in "
            f"{1 / LEAST_SPAN:.0f}; add points of other x"
        )
