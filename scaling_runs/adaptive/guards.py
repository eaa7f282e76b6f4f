"""What must be mended before any rule is asked: a budget without a minimum inside its grid says nothing of the law."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from fit.report.numbers import short
from fit.valley import MIN_SIZES, Status, Valley
from scaling_runs.adaptive.knowledge import Known
from scaling_runs.adaptive.records import Action, Kind, Request, Space

NEAREST_STEP, BEYOND = 0.3, 0.4
"""Of ln span: how far past its edge a grid is extended at least, and how far past the minimum that is expected there;
at most by one ln span at once."""


@dataclass(frozen=True)
class Ledger:
    """Which cells are to be had."""

    space: Space
    tried: Set[Request]
    """Trained, or failed at."""
    flops_left: float

    def affords(self, requests: tuple[Request, ...]) -> bool:
        return self.cost(requests) <= self.flops_left

    def cost(self, requests: tuple[Request, ...]) -> float:
        return float(sum(self.space.cost(request) for request in requests))

    def new_sizes(self, budget: float) -> np.ndarray:
        """Params that were not tried at `budget`, ascending."""
        tried = [request.params for request in self.tried if request.budget == budget]
        return np.setdiff1d(np.asarray(self.space.sizes(budget), dtype=float), tried)

    def nearest(
        self, budget: float, log_params: float, low: float = -np.inf, high: float = np.inf
    ) -> int | None:
        """The new size nearest to `log_params` among those strictly between `low` and `high`, in ln params."""
        sizes = self.new_sizes(budget)
        sizes = sizes[(np.log(sizes) > low) & (np.log(sizes) < high)]
        return int(sizes[np.argmin(np.abs(np.log(sizes) - log_params))]) if len(sizes) else None


def mend(known: Known, ledger: Ledger) -> tuple[list[Action], list[str]]:
    """An action for each budget without a usable minimum, smallest first; and what can't be mended, in words.

    Budgets whose ladder has no further size on the side where the loss still falls are left as they are.
    """
    actions, beyond_help = [], []
    for budget in sorted(known.design):
        status, valley = _worst(known, budget)
        if status == "ok":
            continue
        action = _mended(known, ledger, budget, status, valley)
        if action is None:
            beyond_help.append(
                f"{budget:.3g} FLOPs stays without a minimum ({status}): no further size can be trained there"
            )
        elif not ledger.affords(action.requests):
            beyond_help.append(
                f"{budget:.3g} FLOPs stays without a minimum ({status}): {action.flops:.3g} FLOPs are not left for it"
            )
        else:
            actions.append(action)
    return actions, beyond_help


def _worst(known: Known, budget: float) -> tuple[Status, Valley]:
    """The status of the axis that has no minimum, and the valley in params."""
    valleys = known.valleys(budget)
    for valley in valleys.values():
        if not valley.interior:
            return valley.status, valleys["params"]
    return "ok", valleys["params"]


def _mended(known: Known, ledger: Ledger, budget: float, status: Status, valley: Valley) -> Action | None:
    reach = np.log(known.settings.span)
    low, high = np.log(valley.sizes.min()), np.log(valley.sizes.max())
    kind: Kind
    if status == "too-few-sizes":
        centre = known.predicted(budget)[0]
        missing = MIN_SIZES - len(np.unique(valley.sizes))
        found = _spread(ledger, budget, [centre, centre - reach, centre + reach][:missing])
        kind, words = "fill", f"has fewer than {MIN_SIZES} sizes"
    elif status == "opens-downward":
        ends = (
            ledger.nearest(budget, low - reach / 2, high=low),
            ledger.nearest(budget, high + reach / 2, low=high),
        )
        found = [size for size in ends if size is not None]
        kind, words = "widen", "shows no minimum: its parabola opens downward"
    else:
        _, c1, c2 = valley.coefficients
        bottom = np.log(valley.centre) - c1 / (2 * c2) if c2 > 0 else np.nan
        falls_upward = bool(
            np.diff(valley.loss_at(valley.sizes[[valley.sizes.argmin(), valley.sizes.argmax()]])) < 0
        )
        size = _past_edge(ledger, budget, (low, high), bottom, falls_upward, reach)
        found = [] if size is None else [size]
        kind, words = "extend", f"still falls towards {'larger' if falls_upward else 'smaller'} models"
    if not found:
        return None
    requests = tuple(Request(budget, size, 0) for size in found)
    sizes = " and ".join(short(size) for size in found)
    return Action(
        kind, requests, f"at {budget:.3g} FLOPs the loss {words}; train {sizes} params", ledger.cost(requests)
    )


def _past_edge(
    ledger: Ledger, budget: float, ends: tuple[float, float], bottom: float, upward: bool, reach: float
) -> int | None:
    """Past the minimum that the parabola expects, if it expects one on that side; a whole reach where not."""
    edge, sign = (ends[1], 1.0) if upward else (ends[0], -1.0)
    distance = sign * (bottom - edge)
    step = np.clip(distance + BEYOND * reach, NEAREST_STEP * reach, reach) if np.isfinite(distance) else reach
    if upward:
        return ledger.nearest(budget, edge + step, low=edge)
    return ledger.nearest(budget, edge - step, high=edge)


def _spread(ledger: Ledger, budget: float, places: list[float]) -> list[int]:
    """A new size for each place, none twice."""
    sizes = ledger.new_sizes(budget)
    found: list[int] = []
    for place in places[: len(sizes)]:
        at = int(np.argmin(np.abs(np.log(sizes) - place)))
        found.append(int(sizes[at]))
        sizes = np.delete(sizes, at)
    return found


def even_grid(ledger: Ledger, budget: float, centre: float, reach: float, count: int) -> tuple[Request, ...]:
    """`count` sizes even in ln params within `reach` of `centre`, ascending; fewer where there are fewer."""
    found = _spread(ledger, budget, list(np.linspace(centre - reach, centre + reach, count)))
    return tuple(Request(budget, size, 0) for size in sorted(found))
