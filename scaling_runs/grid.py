"""The grid of a sweep, as a user sets it."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from fit.errors import UserError
from scaling_runs.recipe import MAX_EXPONENT

MAX_SIZES = 1000
MAX_PARAMS = 1e14
"""Ten times what the largest known model has."""
MIN_BUDGET_RATIO = 1.01
"""Budgets closer than this are one budget: whole steps move a cell by as much."""
PLANNERS = ("grid", "adaptive")
LEAST_TARGET = 1e6
"""FLOPs, of a run of any use: a model of a thousand params on a hundred tokens."""
ADAPTIVE_OPTIONS = ("max_flops", "exponent_width", "target_within", "round_cells")
EXPONENT_WIDTH = 0.02
TARGET_WITHIN = 1.25
ROUND_CELLS = 4
TARGET_BUDGETS, TARGET_STEP = 6, 2.0
"""Budgets that follow from a target: how many, and each over the one before."""
FOLDER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
FOLDERS_OF_THE_STORE = ("cells", "locks", "trunks")


@dataclass
class SweepConfig:
    """A grid of cells: sizes even in log N about the expected optimum of each budget."""

    name: str = MISSING
    """The sweep's folder in the store."""
    budgets: list[float] = field(default_factory=list)
    """FLOPs. Where there are none they follow from `target`."""
    planner: str = "grid"
    """grid: every size at every budget. adaptive: round by round what cuts the variance most per FLOP, at these
    budgets (`scaling_runs/adaptive/`)."""
    target: float | None = None
    """FLOPs of the run that the experiment is for: the report ends with the params and tokens to use there."""
    target_share: float = 0.03
    """Where budgets follow from the target, the largest is this share of it."""
    max_flops: float | None = None
    """What an adaptive sweep may spend; by default what the grid of these budgets and `sizes` would."""
    exponent_width: float | None = None
    """An adaptive sweep stops where the 95% interval of tokens' exponent is no wider than this to either side; by
    default 0.02."""
    target_within: float | None = None
    """With a target it stops where the interval of the optimal tokens there reaches no further than this factor to
    either side; by default 1.25."""
    round_cells: int | None = None
    """Cells that a round of an adaptive sweep asks for, so that as many workers are busy; by default 4."""
    sizes: int = 7
    """Model sizes a budget."""
    span: float = 6.0
    """The grid reaches from the expected optimum divided by this to the optimum times this."""
    min_params: float = 0.0
    """No smaller size is planned, even where `span` would reach it."""
    max_params: float = math.inf
    """No larger size is planned."""
    seeds: list[int] = field(default_factory=lambda: [1])
    """Seeds of each size: one number for all budgets or one a budget."""
    expected_params: float = MISSING
    """Optimal parameters (without embedding) that are expected at `expected_at_flops`."""
    expected_at_flops: float = MISSING
    """The budget that `expected_params` is about."""
    expected_exponent: float = 0.5
    """How that optimum is expected to grow with compute."""

    def __post_init__(self) -> None:
        if self.name == MISSING:
            return
        if not FOLDER_NAME.fullmatch(self.name) or self.name in FOLDERS_OF_THE_STORE:
            raise UserError(
                f"sweep.name is '{self.name}'; it names a folder: letters, digits, '_', '-' and, past the first, '.', "
                f"but not {' or '.join(FOLDERS_OF_THE_STORE)}, which the store has"
            )
        self._require_planner()
        if not self.budgets and self.target is not None:
            self.budgets = budgets_below(self.target * self.target_share)
        if not self.budgets:
            raise UserError(
                "sweep.budgets is empty; give at least two budgets in FLOPs, such as [2e11,1e12], or sweep.target"
            )
        for budget in self.budgets:
            if not (budget > 0 and math.isfinite(budget)):
                raise UserError(f"sweep.budgets holds {budget}; a budget is a positive number of FLOPs")
        for lower, upper in itertools.pairwise(sorted(self.budgets)):
            if upper / lower < MIN_BUDGET_RATIO:
                raise UserError(
                    f"sweep.budgets names a budget twice: {lower!r} and {upper!r} are within "
                    f"{MIN_BUDGET_RATIO - 1:.0%}, and a law needs budgets that differ; leave one out"
                )
        if len(self.seeds) not in (1, len(self.budgets)) or min(self.seeds) < 1:
            raise UserError(
                f"sweep.seeds is {list(self.seeds)}; give one positive number, or one for each of the "
                f"{len(self.budgets)} budgets"
            )
        if not 1 <= self.sizes <= MAX_SIZES:
            raise UserError(f"sweep.sizes is {self.sizes}; it must be 1 to {MAX_SIZES}, such as 7")
        if not 1 < self.span < math.inf:
            raise UserError(f"sweep.span is {self.span}; it must be above 1, such as 6")
        if not abs(self.expected_exponent) <= MAX_EXPONENT:
            raise UserError(
                f"sweep.expected_exponent is {self.expected_exponent}; it must be within {MAX_EXPONENT:g} of 0, such "
                f"as 0.5"
            )
        expected = {"expected_params": self.expected_params, "expected_at_flops": self.expected_at_flops}
        require_positive("sweep", **{name: value for name, value in expected.items() if value != MISSING})
        if MISSING not in expected.values():
            self._require_possible_sizes()
        if not 0 <= self.min_params < self.max_params:
            raise UserError(
                f"sweep.min_params is {self.min_params:g} and sweep.max_params {self.max_params:g}; the first must be "
                f"the smaller, and neither negative"
            )

    def _require_planner(self) -> None:
        """Only options that the planner heeds, with values that it can use."""
        if self.planner not in PLANNERS:
            raise UserError(f"sweep.planner is '{self.planner}'; choose one of {', '.join(PLANNERS)}")
        if self.target is not None:
            require_positive("sweep", target=self.target)
            if self.target < LEAST_TARGET:
                raise UserError(
                    f"sweep.target is {self.target:g} FLOPs; it must be at least {LEAST_TARGET:.0e}, such as 1e20"
                )
        if not 0 < self.target_share <= 1:
            raise UserError(
                f"sweep.target_share is {self.target_share}; it must be above 0 and at most 1, such as 0.03"
            )
        given = {name: getattr(self, name) for name in ADAPTIVE_OPTIONS if getattr(self, name) is not None}
        if self.planner == "grid" and given:
            name, value = next(iter(given.items()))
            raise UserError(
                f"sweep.{name} is {value:g}, which sweep.planner=grid does not heed; leave it out, or set "
                f"sweep.planner=adaptive"
            )
        require_positive("sweep", **given)
        if self.planner == "adaptive":
            self._require_adaptive()

    def _require_adaptive(self) -> None:
        if len(self.budgets) < 2 and self.target is None:
            raise UserError(
                f"sweep.budgets is {list(self.budgets)}; sweep.planner=adaptive needs two or more to choose from, or "
                f"a sweep.target that they follow from"
            )
        if list(self.seeds) != [1]:
            raise UserError(
                f"sweep.seeds is {list(self.seeds)}; sweep.planner=adaptive adds seeds itself, where noise dominates: "
                f"leave it out"
            )
        if self.target_within is not None and self.target is None:
            raise UserError(
                f"sweep.target_within is {self.target_within:g} and there is no target that it is about; set "
                f"sweep.target, or sweep.exponent_width instead"
            )
        if self.exponent_width is not None and self.target is not None:
            raise UserError(
                f"sweep.exponent_width is {self.exponent_width:g}, but with sweep.target it is the optimum there that "
                f"is judged; set sweep.target_within instead"
            )
        if self.target_within is not None and self.target_within <= 1:
            raise UserError(
                f"sweep.target_within is {self.target_within:g}; it must be above 1, such as 1.25"
            )

    def _require_possible_sizes(self) -> None:
        """Before a ladder is climbed to where no model is."""
        for budget in self.budgets:
            optimum = self.expected_optimum(budget)
            if not min(optimum * self.span, self.max_params) <= MAX_PARAMS:
                raise UserError(
                    f"sweep.budgets holds {budget:g}, where the optimum is expected at {optimum:.3g} params, more than "
                    f"any model has; lower the budget, sweep.expected_params or sweep.expected_exponent"
                )
            if optimum < 1:
                raise UserError(
                    f"sweep.budgets holds {budget:g}, where the optimum is expected at {optimum:.3g} params, less than "
                    f"one; raise the budget or sweep.expected_params, or mend sweep.expected_exponent"
                )

    def seeds_of(self, budget: float) -> int:
        return self.seeds[self.budgets.index(budget)] if len(self.seeds) > 1 else self.seeds[0]

    def expected_optimum(self, budget: float) -> float:
        """Parameters (without embedding) that are expected to be optimal at `budget` FLOPs."""
        try:
            return self.expected_params * (budget / self.expected_at_flops) ** self.expected_exponent
        except (OverflowError, ZeroDivisionError):
            return math.inf

    def nearest_place(self, budget: float) -> float:
        """The optimum that is expected at `budget`, moved to the nearest place that grids of all budgets share."""
        spacing = 2 * math.log(self.span) / max(1, self.sizes - 1)
        places = round(math.log(self.expected_optimum(budget) / self.expected_params) / spacing)
        return self.expected_params * math.exp(places * spacing)


def budgets_below(top: float) -> list[float]:
    """FLOPs, ascending: a geometric ladder that ends at `top`."""
    return [top / TARGET_STEP**step for step in reversed(range(TARGET_BUDGETS))]


def require_positive(group: str, **values: float) -> None:
    """UserError for a value that is zero, negative, infinite or NaN, by the name of its option."""
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise UserError(f"{group}.{name} is {value}; it must be a positive number")
