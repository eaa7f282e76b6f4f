"""What to train next, by what is known and nothing else: no clock, no chance, no memory.

The state of an adaptive sweep is its results on disk. `decide` is replayed over them from the first round on, so that
a sweep that was killed in the midst of a round comes to the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

from fit.errors import UserError
from fit.report.numbers import short
from scaling_runs.adaptive.guards import Ledger, even_grid, mend
from scaling_runs.adaptive.knowledge import Known, learn
from scaling_runs.adaptive.records import Action, Decision, Observation, Request, Settings, Space
from scaling_runs.adaptive.rule import best_actions


def decide(
    observations: Sequence[Observation], failed: Set[Request], settings: Settings, space: Space
) -> Decision:
    """The next round, or the end.

    observations: of all finished cells that earlier decisions asked for. failed: those of their cells that could not
    be trained; they are not asked for again. UserError where not even the first round can be had.
    """
    ledger = _ledger(observations, failed, settings, space)
    if not ledger.tried:
        return Decision((_start(ledger, settings),))
    known = learn(observations, settings)
    mending, beyond_help = mend(known, ledger)
    if mending:
        return Decision(tuple(mending))
    if _narrow_enough(known):
        return Decision((), _enough(known))
    actions = best_actions(known, ledger)
    if actions:
        return Decision(tuple(actions))
    left = (
        f"of {settings.max_flops:.3g} FLOPs {ledger.flops_left:.3g} are left, and nothing that they pay for"
    )
    tail = "".join(f"; {one}" for one in beyond_help)
    return Decision((), f"{left} makes {_width(known)} narrower{tail}")


def _ledger(
    observations: Sequence[Observation], failed: Set[Request], settings: Settings, space: Space
) -> Ledger:
    done = {Request(one.budget, one.params, one.seed) for one in observations}
    spent = sum(one.cost for one in observations)
    return Ledger(space, done | failed, settings.max_flops - spent)


def _start(ledger: Ledger, settings: Settings) -> Action:
    """A coarse grid at the smallest budget, about the user's guess."""
    budget = settings.budgets[0]
    centre = settings.expected_log_optimum(budget)
    requests = even_grid(ledger, budget, centre, math.log(settings.span), settings.sizes)
    if not requests or not ledger.affords(requests):
        raise UserError(
            f"sweep.max_flops is {settings.max_flops:.3g}; the first round alone, {len(requests)} sizes at "
            f"{budget:.3g} FLOPs, costs {ledger.cost(requests):.3g}: raise it, or lower sweep.budgets"
        )
    sizes = f"{short(requests[0].params)} to {short(requests[-1].params)} params"
    why = f"{len(requests)} sizes at the smallest budget, {budget:.3g} FLOPs, about the expected optimum: {sizes}"
    return Action("start", requests, why, ledger.cost(requests))


def _narrow_enough(known: Known) -> bool:
    """Both the headline interval and what the planner's model expects of it.

    The first alone, looked at after each round, would stop where the budgets happen to lie well on a line, and would
    then hold the truth less often than it says.
    """
    if known.tokens_law is None or len(known.tokens_law.flops) < known.settings.least_budgets:
        return False
    asked = known.settings.half_width
    return known.honest_half_width() <= asked and known.expected_half_width() <= asked


def _enough(known: Known) -> str:
    return f"the 95% interval of {_width(known)} is as narrow as asked, ±{known.settings.half_width:.3g}"


def _width(known: Known) -> str:
    unit = "" if known.settings.target is None else " in ln D"
    return f"{known.settings.aim}, now ±{known.honest_half_width():.3g}{unit},"
