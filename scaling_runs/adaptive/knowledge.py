"""What the runs so far say: valleys, noise, curvature, and where each budget's optimum lies by the law so far.

The planner's own view is a linear model. Near its minimum a valley is loss = floor + c·(ln N - m)², whose m is
known with variance sd²/(4·c²)·[(X'X)^-1]_11, X = [1, u, u²] with u = ln N - m of each run; the m of all budgets lie
about a line in ln C. The interval that is reported and judged is not this but the project's headline one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fit.axis import AxisFit, fit_axis
from fit.powerlaw import PowerLaw
from fit.statistics import student
from fit.surface import UNKNOWNS, fit_surface
from fit.table import RunTable
from fit.valley import AXES, MIN_SIZES, SAME_SIZE, Axis, Valley
from scaling_runs.adaptive.records import Observation, Settings, table_of

NORMAL = 1.959964
"""Half the width of the normal distribution's central 95%, in standard errors."""
PRIOR_NOISE, PRIOR_FREEDOM = 0.005, 1.0
"""Nats of a run's noise before any is measured (docs/recipe.md, table 6), and the degrees of freedom it counts for."""
PRIOR_CURVATURE = 0.05
"""Nats per squared ln N before a valley is seen; those of Hoffmann et al.'s surface have 0.03 to 0.1."""
CURVATURE_EXPONENT = -0.154
"""Valleys flatten with compute as C^(-alpha·beta/(alpha+beta)) on L = E + a·N^-alpha + b·D^-beta; this is Hoffmann et
al.'s (arXiv 2203.15556, eq. 10)."""
PRIOR_EXPONENT_SD = 0.15
"""Published exponents lie within 0.5 ± 0.3."""
PRIOR_OPTIMUM_SD = float(np.log(10))
"""Of the guess of the first optimum."""

Design = Mapping[float, np.ndarray]
"""By budget, ln params of its runs, each as often as it was trained."""


@dataclass(frozen=True)
class Known:
    """All that the next decision rests on."""

    settings: Settings
    table: RunTable | None
    axes: Mapping[Axis, AxisFit]
    curvature: float
    """Of the smallest budget's valley, nats per squared ln N."""
    noise_sd: float
    """Nats."""
    scatter: float
    """Of budgets about the law, in ln optimum."""
    log_optima: Mapping[float, float]
    """ln params of each budget's own minimum, where it has one along both axes."""

    @property
    def tokens_law(self) -> PowerLaw | None:
        """The headline's."""
        return self.axes["tokens"].law if self.axes else None

    @cached_property
    def design(self) -> dict[float, np.ndarray]:
        if self.table is None:
            return {}
        log_params = np.log(self.table.params)
        return {float(budget): log_params[self.table.budget == budget] for budget in self.table.budgets}

    def valleys(self, budget: float) -> dict[Axis, Valley]:
        """Of a budget that has runs."""
        return {
            axis: next(valley for valley in fitted.valleys if valley.budget == budget)
            for axis, fitted in self.axes.items()
        }

    def centre(self, budget: float) -> float:
        """ln params about which a budget is sampled: its own minimum, else the law's."""
        own = self.log_optima.get(budget)
        return self.predicted(budget)[0] if own is None else own

    def predicted(self, budget: float) -> tuple[float, float]:
        """ln params of the optimum by the law so far, and its standard deviation."""
        if not self.log_optima:
            return self.settings.expected_log_optimum(budget), PRIOR_OPTIMUM_SD
        line, inverse = self._line
        at = self._row(budget)
        return float(at @ line), float(np.sqrt(at @ inverse @ at + self.scatter**2))

    @cached_property
    def _line(self) -> tuple[np.ndarray, np.ndarray]:
        """Intercept and slope of ln optimum in ln C, and their (2, 2) covariance."""
        budgets = list(self.log_optima)
        weight = np.array([1 / self._total_variance(one, self.design[one]) for one in budgets])
        rows = np.stack([self._row(one) for one in budgets])
        y = np.array([self.log_optima[one] for one in budgets])
        prior = np.array([0.0, 1 / PRIOR_EXPONENT_SD**2])
        inverse = np.linalg.inv(rows.T * weight @ rows + np.diag(prior))
        return inverse @ (rows.T @ (weight * y) + prior * self.settings.expected_exponent), inverse

    def variance_of(self, budget: float, log_params: np.ndarray) -> float:
        """Of ln optimum by runs of these sizes alone; infinite where they fix no minimum."""
        key = budget, log_params.tobytes()
        if key not in self._weighed:
            self._weighed[key] = self._variance(budget, log_params)
        return self._weighed[key]

    @cached_property
    def _weighed(self) -> dict[tuple[float, bytes], float]:
        """Variances that were worked out: a round weighs hundreds of designs that differ at one budget."""
        return {}

    def _variance(self, budget: float, log_params: np.ndarray) -> float:
        u = log_params - self.centre(budget)
        if not u.min() < 0 < u.max() or len(_distinct(log_params)) < MIN_SIZES:
            return float("inf")
        design = np.stack([np.ones_like(u), u, u * u], axis=1)
        spread = np.linalg.inv(design.T @ design)[1, 1]
        curvature = self.curvature * _flattening(budget, self.settings)
        return float(self.noise_sd**2 / (4 * curvature**2) * spread)

    def aim_variance(self, design: Design) -> float:
        """Of the aim (α, or ln optimum at the target) by runs of `design`, as its 95% interval would see it.

        Student's t has k - 2 degrees of freedom with k budgets, and its square is part of what is cut.
        """
        information = np.diag([1 / PRIOR_OPTIMUM_SD**2, 1 / PRIOR_EXPONENT_SD**2])
        points = 0
        for budget, log_params in design.items():
            variance = self._total_variance(budget, log_params)
            if np.isfinite(variance):
                row = self._row(budget)
                information = information + np.outer(row, row) / variance
                points += 1
        target = self.settings.target
        gradient = np.array([0.0, 1.0]) if target is None else self._row(target)
        stretch = student(max(points, self.settings.least_budgets, 3) - 2) / NORMAL
        return float(stretch**2 * gradient @ np.linalg.solve(information, gradient))

    def expected_half_width(self) -> float:
        """Of the aim's 95% interval by the planner's own model, which no lucky line of few budgets makes narrow."""
        return float(NORMAL * np.sqrt(self.aim_variance(self.design)))

    def honest_half_width(self) -> float:
        """Of the aim's headline 95% interval: what is reported, and judged. Infinite where there is none."""
        law = self.tokens_law
        if law is None:
            return float("inf")
        target = self.settings.target
        ci95 = law.exponent_ci95 if target is None else law.line.value_ci95(float(np.log(target)))
        return float("inf") if ci95 is None else (ci95[1] - ci95[0]) / 2

    def variance_asked(self) -> float:
        """Of the aim, at which its interval is as narrow as asked: less where the headline is wider than expected."""
        wider = max(1.0, self.honest_half_width() / self.expected_half_width())
        return float((self.settings.half_width / NORMAL / wider) ** 2) if np.isfinite(wider) else 0.0

    def _total_variance(self, budget: float, log_params: np.ndarray) -> float:
        return self.variance_of(budget, log_params) + self.scatter**2

    def _row(self, budget: float) -> np.ndarray:
        """Of intercept at the smallest budget, and slope."""
        return np.array([1.0, np.log(budget / self.settings.budgets[0])])


def learn(observations: Sequence[Observation], settings: Settings) -> Known:
    """Fit all that is there, by the project's own fit."""
    if not observations:
        return Known(settings, None, {}, PRIOR_CURVATURE, PRIOR_NOISE, 0.0, {})
    table = table_of(observations)
    enough = len(table) > UNKNOWNS
    surface = fit_surface(table.params, table.tokens, table.loss).surface if enough else None
    axes = {axis: fit_axis(table, axis, surface=surface) for axis in AXES}
    law, noise = axes["tokens"].law, axes["tokens"].noise
    squares, freedom = PRIOR_FREEDOM * PRIOR_NOISE**2, PRIOR_FREEDOM
    if noise is not None:
        squares, freedom = (
            squares + noise.degrees_of_freedom * noise.sd**2,
            freedom + noise.degrees_of_freedom,
        )
    return Known(
        settings=settings,
        table=table,
        axes=axes,
        curvature=_curvature(axes["params"].valleys, settings),
        noise_sd=float(np.sqrt(squares / freedom)),
        scatter=law.line.tau if law is not None and len(law.flops) > MIN_SIZES else 0.0,
        log_optima={
            valley.budget: float(np.log(valley.optimum))
            for other, valley in zip(axes["tokens"].valleys, axes["params"].valleys, strict=True)
            if valley.optimum is not None and other.interior
        },
    )


def _curvature(valleys: Sequence[Valley], settings: Settings) -> float:
    """Of the smallest budget, by all valleys with a minimum, each by how well its own is known."""
    usable = [valley for valley in valleys if valley.interior]
    if not usable:
        return PRIOR_CURVATURE
    flattening = np.array([_flattening(valley.budget, settings) for valley in usable])
    own = np.array([valley.coefficients[2] for valley in usable])
    spread = np.array([valley.operator[2] @ valley.operator[2] for valley in usable])
    return float(np.average(own / flattening, weights=flattening**2 / spread))


def _flattening(budget: float, settings: Settings) -> float:
    """A valley's curvature over that of the smallest budget's."""
    return float((budget / settings.budgets[0]) ** CURVATURE_EXPONENT)


def _distinct(log_params: np.ndarray) -> np.ndarray:
    ascending = np.sort(log_params)
    return ascending[np.append(True, np.diff(ascending) > SAME_SIZE)]
