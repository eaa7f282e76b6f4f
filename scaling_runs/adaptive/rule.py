"""The rule: of all that could be trained next, what cuts the aim's variance most per FLOP.

An action is one more size at a budget, one more seed of a size, or a budget more with the three sizes that a parabola
needs. Its worth is the expected cut in the variance of the aim (`Known.aim_variance`) over its FLOPs. A round is filled
greedily: what was chosen counts as trained when the next is weighed, and it ends where what is asked is expected.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fit.report.numbers import short
from fit.valley import MIN_SIZES
from scaling_runs.adaptive.guards import Ledger, even_grid
from scaling_runs.adaptive.knowledge import Design, Known
from scaling_runs.adaptive.records import Action, Kind, Request

MOST_SEEDS = 8
"""Of one size at one budget."""
PLACES = 9
"""Places across a valley where another size is weighed."""
SURE_CENTRE = 0.5
"""Of ln span: a budget is opened where its optimum is known to within this (one standard deviation)."""
SPARE_CELLS = 2
"""A budget is opened only where, should its minimum lie at an edge, this many more cells of it can be paid."""
LEAST_CUT = 1e-3
"""Of the variance: a round of actions that cut less than this each is not worth its launch."""


def best_actions(known: Known, ledger: Ledger) -> list[Action]:
    """A round's actions, the most worthy first; none where nothing that can be paid cuts the variance."""
    design: dict[float, np.ndarray] = dict(known.design)
    enough = len(known.log_optima) >= known.settings.least_budgets
    asked, now = known.variance_asked() if enough else 0.0, known.aim_variance(known.design)
    chosen: list[Action] = []
    tried = set(ledger.tried)
    left = ledger.flops_left
    while now > asked and sum(len(action.requests) for action in chosen) < known.settings.round_cells:
        at_hand = Ledger(ledger.space, tried, left)
        best = _best(known, at_hand, design, now, asked)
        if best is None:
            break
        chosen.append(best)
        design = _with(design, best.requests)
        now = known.aim_variance(design)
        tried |= set(best.requests)
        left -= best.flops
    return chosen


def _best(known: Known, ledger: Ledger, design: Design, now: float, asked: float) -> Action | None:
    """Of what can be paid for; a cut to below the variance that is asked for counts only down to that."""
    best: tuple[float, float, Kind, tuple[Request, ...]] | None = None
    for kind, requests in _candidates(known, ledger, design):
        after = known.aim_variance(_with(design, requests))
        if now - after <= LEAST_CUT * now:
            continue
        worth = (now - max(after, asked)) / ledger.cost(requests)
        if best is None or worth > best[0]:
            best = worth, after, kind, requests
    if best is None:
        return None
    _, after, kind, requests = best
    flops = ledger.cost(requests)
    why = _why(known, kind, requests, (now - after) / now, (now - after) / flops)
    return Action(kind, requests, why, flops)


def _candidates(known: Known, ledger: Ledger, design: Design) -> Iterator[tuple[Kind, tuple[Request, ...]]]:
    """What can be paid for; another budget before all else, until there are as many as a law needs."""
    reach = float(np.log(known.settings.span))
    opening = list(_openings(known, ledger, design, reach))
    for requests in opening:
        yield "open", requests
    if opening and len(design) < known.settings.least_budgets:
        return
    for budget in known.log_optima:
        for kind, request in _cells(known, ledger, budget, reach):
            if ledger.affords((request,)):
                yield kind, (request,)


def _openings(known: Known, ledger: Ledger, design: Design, reach: float) -> Iterator[tuple[Request, ...]]:
    """The three sizes of each budget that has none yet and whose optimum the law so far knows well enough."""
    for budget in known.settings.budgets:
        if budget in design:
            continue
        centre, sd = known.predicted(budget)
        if sd > SURE_CENTRE * reach:
            continue
        requests = even_grid(ledger, budget, centre, reach, MIN_SIZES)
        spare = SPARE_CELLS * max((ledger.space.cost(request) for request in requests), default=0.0)
        if len(requests) == MIN_SIZES and ledger.cost(requests) + spare <= ledger.flops_left:
            yield requests


def _cells(known: Known, ledger: Ledger, budget: float, reach: float) -> Iterator[tuple[Kind, Request]]:
    """New sizes near each place of the valley, and one more seed of each size."""
    centre = known.centre(budget)
    sizes = ledger.new_sizes(budget)
    sizes = sizes[np.abs(np.log(sizes) - centre) <= reach]
    if len(sizes):
        places = np.linspace(centre - reach, centre + reach, PLACES)
        nearest = np.argmin(np.abs(np.log(sizes)[:, None] - places), axis=0)
        for size in sizes[np.unique(nearest)]:
            yield "refine", Request(budget, int(size), 0)
    seeds: dict[int, int] = {}
    for request in ledger.tried:
        if request.budget == budget:
            seeds[request.params] = max(seeds.get(request.params, 0), request.seed + 1)
    for size, seed in sorted(seeds.items()):
        if seed < MOST_SEEDS and abs(np.log(size) - centre) <= reach:
            yield "repeat", Request(budget, size, seed)


def _with(design: Design, requests: tuple[Request, ...]) -> dict[float, np.ndarray]:
    more = dict(design)
    for request in requests:
        more[request.budget] = np.append(more.get(request.budget, []), np.log(request.params))
    return more


def _why(known: Known, kind: Kind, requests: tuple[Request, ...], share: float, per_flop: float) -> str:
    """In words, with what the rule expects."""
    budget, sizes = requests[0].budget, ", ".join(short(request.params) for request in requests)
    what = {
        "open": f"{budget:.3g} FLOPs about {short(float(np.exp(known.centre(budget))))} params, where the law so far "
        f"has its optimum: train {sizes} params",
        "refine": f"at {budget:.3g} FLOPs one more size, {sizes} params, {_where(known, requests[0])}",
        "repeat": f"at {budget:.3g} FLOPs, where noise of {known.noise_sd:.2g} nats dominates, seed "
        f"{requests[0].seed} of {sizes} params",
    }[kind]
    return f"{what}: cuts the variance of {known.settings.aim} by {share:.1%}, {per_flop:.2g} per FLOP"


def _where(known: Known, request: Request) -> str:
    ratio = float(np.exp(np.log(request.params) - known.centre(request.budget)))
    return f"{ratio:.1f}x the minimum" if ratio >= 1 else f"1/{1 / ratio:.1f} of the minimum"
