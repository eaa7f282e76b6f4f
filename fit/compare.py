"""Two experiments: by how much their laws differ, and whether the data can tell.

Each law's line has an estimated error with few degrees of freedom; the error of a difference has those of Welch
(Biometrika 34, 1947) and Satterthwaite (Biometrics Bulletin 2, 1946).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fit.errors import UserError
from fit.isoflop import IsoflopFit
from fit.powerlaw import PowerLaw
from fit.statistics import LEVEL, Interval, exp_interval, student
from fit.table import RunTable
from fit.valley import AXES

BEYOND = 100.0
"""How far past the largest budget the optima are compared, unless budgets are given."""


@dataclass(frozen=True)
class Difference:
    """Second less first of one number."""

    first: float
    second: float
    error: float | None
    """Standard error of the difference; None where a law rests on two budgets of unknown noise."""
    degrees_of_freedom: float

    @property
    def value(self) -> float:
        return self.second - self.first

    @property
    def unseen(self) -> float | None:
        """A difference found to be smaller than this could be chance: half the width of the 95% interval."""
        return None if self.error is None else student(self.degrees_of_freedom) * self.error

    @property
    def ci95(self) -> Interval | None:
        return None if self.unseen is None else (self.value - self.unseen, self.value + self.unseen)

    @property
    def p_value(self) -> float | None:
        """How often equal laws would differ as much, either way."""
        from scipy.special import stdtr

        if self.error is None:
            return None
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * stdtr(self.degrees_of_freedom, -abs(self.value) / self.error))


@dataclass(frozen=True)
class Ratio:
    """Optimum of the second law over that of the first at one budget."""

    flops: float
    logs: Difference
    """Of the logarithms."""

    @property
    def first(self) -> float:
        return float(np.exp(self.logs.first))

    @property
    def second(self) -> float:
        return float(np.exp(self.logs.second))

    @property
    def value(self) -> float:
        return float(np.exp(self.logs.value))

    @property
    def ci95(self) -> Interval | None:
        return exp_interval(self.logs.ci95)

    @property
    def unseen(self) -> float | None:
        """A ratio found to be smaller than this, either way, could be chance."""
        return None if self.logs.unseen is None else float(np.exp(self.logs.unseen))


@dataclass(frozen=True)
class LawComparison:
    """Two laws of one axis, each less its grid's bias where that is known."""

    exponent: Difference
    middle: Ratio
    """At the middle of the budgets that the two share: there a line's height says least of its slope."""
    ratios: tuple[Ratio, ...]
    """At the budgets asked for."""

    @property
    def p_value(self) -> float | None:
        """How often equal laws would differ as much in exponent or in the middle; both are looked at (Bonferroni)."""
        each = [one for one in (self.exponent.p_value, self.middle.logs.p_value) if one is not None]
        return min(1.0, len(each) * min(each)) if each else None

    @property
    def told_apart(self) -> bool | None:
        """Whether the data can tell the laws apart; None where nothing is known of their errors."""
        return None if self.p_value is None else self.p_value < 1 - LEVEL


@dataclass(frozen=True)
class Comparison:
    """Two experiments, fitted alike."""

    first: IsoflopFit
    second: IsoflopFit
    flops: tuple[float, ...]
    laws: Mapping[str, LawComparison | None]
    """By axis; None where one of the two has no law."""
    cautions: tuple[str, ...]
    """What else differs between the two, and may be why their laws do."""


def compare_fits(first: IsoflopFit, second: IsoflopFit, flops: Sequence[float] = ()) -> Comparison:
    """The laws of `second` against those of `first`.

    flops: budgets at which the optima are compared; unless given, the ends of the range that both have, and BEYOND
    times the largest of either. UserError where one is no positive number.
    """
    for one in flops:
        if not (one > 0 and math.isfinite(one)):
            raise UserError(
                f"the budget to compare at is {one}; a positive, finite number of FLOPs is expected"
            )
    asked = tuple(float(one) for one in flops) or _default_flops(first, second)
    laws: dict[str, LawComparison | None] = {}
    for axis in AXES:
        law, other = first.laws[axis], second.laws[axis]
        laws[axis] = None if law is None or other is None else compare_laws(law, other, asked)
    return Comparison(first, second, asked, laws, tuple(_cautions(first, second)))


def compare_laws(first: PowerLaw, second: PowerLaw, flops: Sequence[float]) -> LawComparison:
    """Exponents, and optima at `flops`."""
    known = first.exponent_ci95 is not None and second.exponent_ci95 is not None
    low, high = shared_range(first, second)
    exponent = _difference(
        (first.line.slope, *first.line.slope_error()), (second.line.slope, *second.line.slope_error()), known
    )

    def ratio(at: float) -> Ratio:
        x = float(np.log(at))
        one, other = ((law.line.value(x), *law.line.value_error(x)) for law in (first, second))
        return Ratio(at, _difference(one, other, known))

    return LawComparison(exponent, ratio(float(np.sqrt(low * high))), tuple(ratio(at) for at in flops))


def shared_range(first: PowerLaw, second: PowerLaw) -> Interval:
    """FLOPs: from the larger of the smallest budgets to the smaller of the largest; descending where none is shared."""
    low, high = (
        max(law.flops.min() for law in (first, second)),
        min(law.flops.max() for law in (first, second)),
    )
    return float(low), float(high)


def _difference(
    first: tuple[float, float, float], second: tuple[float, float, float], known: bool
) -> Difference:
    """Of (value, variance, degrees of freedom); `known` is whether the variances are."""
    variances, freedoms = np.array([first[1], second[1]]), np.array([first[2], second[2]])
    total = float(variances.sum())
    if not known:
        return Difference(first[0], second[0], None, math.inf)
    lost = float(np.sum(variances**2 / freedoms))
    freedom = total**2 / lost if lost > 0 else math.inf
    return Difference(first[0], second[0], math.sqrt(total), freedom)


def _tokens_laws(first: IsoflopFit, second: IsoflopFit) -> tuple[PowerLaw, PowerLaw]:
    one, other = first.laws["tokens"], second.laws["tokens"]
    assert one is not None  # a fit without it is refused
    assert other is not None
    return one, other


def _default_flops(first: IsoflopFit, second: IsoflopFit) -> tuple[float, ...]:
    laws = _tokens_laws(first, second)
    largest = max(float(law.flops.max()) for law in laws)
    return tuple(sorted({*shared_range(*laws), BEYOND * largest}))


def _cautions(first: IsoflopFit, second: IsoflopFit) -> list[str]:
    found = []
    for what in ("params", "flops"):
        ways = [
            getattr(fit.table, f"{what}_convention") or "under no named convention" for fit in (first, second)
        ]
        if ways[0] != ways[1]:
            found.append(
                f"{what} are {ways[0]} in the first and {ways[1]} in the second, which alone moves α: map both to one "
                f"convention with --column {what}=NAME"
            )
    laws = _tokens_laws(first, second)
    low, high = shared_range(*laws)
    if low > high:
        found.append(
            f"no budget is shared: one ends at {high:.3g} FLOPs where the other begins at {low:.3g}, so that the laws "
            f"are compared where one is extrapolated"
        )
    if len({law.shift is None for law in laws}) == 2:
        which = "first" if laws[0].shift is None else "second"
        found.append(f"the {which} is not corrected for what a parabola on its grid misses, and the other is")
    if shared := _shared_runs(first.table, second.table):
        found.append(
            f"{shared} of {len(first.table)} and {len(second.table)} runs are in both, equal in params, tokens and "
            f"loss to all digits, and the error of a difference assumes independent experiments: with shared runs it "
            f"is too large; compare tables that share none"
        )
    vocabularies = [_vocabulary(fit) for fit in (first, second)]
    if None not in vocabularies and vocabularies[0] != vocabularies[1]:
        found.append("their vocabularies differ in size, so a token of one is not a token of the other")
    return found


def _shared_runs(first: RunTable, second: RunTable) -> int:
    """Runs of the first that are in the second too, each counted as often as both have it."""
    tables = [
        Counter(zip(table.params.tolist(), table.tokens.tolist(), table.loss.tolist(), strict=True))
        for table in (first, second)
    ]
    return (tables[0] & tables[1]).total()


def _vocabulary(fit: IsoflopFit) -> tuple[float, ...] | None:
    """The sizes that its runs name; None where they name none."""
    sizes = fit.table.optional.get("vocab_size", np.empty(0))
    sizes = sizes[np.isfinite(sizes)]
    return tuple(float(size) for size in np.unique(sizes)) or None
