"""Every finding about a law has its cause: what it rests on, and how the grids bend it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fit.isoflop import fit_isoflop
from fit.surface import fit_surface
from fit.table import RunTable
from tests.fit.diagnostics.tables import by_budget, change, drifting, texts, warnings_of
from tests.simulated import BUDGETS, TOKENS, Law, Surface, parabolas

FAR = (1e18, 1.5e18, 2e18, 3e18, 1e21)
"""Four budgets near one another, and one that is all the length of the line."""


def test_a_law_on_two_budgets_says_that_it_lies_on_a_line_anyway() -> None:
    codes = [w.code for w in warnings_of(parabolas(noise=0.002, budgets=BUDGETS[:2]))]
    assert codes.count("two-budgets") == 2
    assert "two-budgets" not in {w.code for w in warnings_of(parabolas(noise=0.002, budgets=BUDGETS[:3]))}


def test_an_axis_without_a_law_is_told() -> None:
    runs = parabolas()
    assert texts(replace(runs, params=np.full(len(runs), 1e9)), "no-law") == [
        "params: fewer than 2 budgets have a usable minimum; no law in params"
    ]


def test_grids_whose_centre_drifts_are_told_from_where_to_where() -> None:
    """Truth: about c times the optimum, 6x to each side, the minimum is 1/2 - ln c / (2·ln 6) of the way: 31%, 69%."""
    found = texts(drifting(np.geomspace(2, 0.5, 5), BUDGETS), "grid-drift")
    assert [text.partition("moves ")[2].split(" of the way")[0] for text in found] == [
        "from 31% to 69%",
        "from 69% to 31%",
    ]


@pytest.mark.parametrize("factors", [(2.0,) * 5, (1.5, 0.7, 1.5, 0.7, 1.5), (1.2, 1.1, 1.0, 0.9, 0.8)])
def test_grids_that_miss_alike_or_at_random_or_by_little_do_not_drift(factors: tuple[float, ...]) -> None:
    assert not texts(drifting(factors, BUDGETS), "grid-drift")


def drifting_on_surface() -> RunTable:
    """Nearly noise-free runs, the grids' centre moving from 1/3 to 3 times the optimum."""
    surface = Surface()

    def make(i: int) -> RunTable:
        runs = surface.runs(budgets=BUDGETS[i : i + 1], span=6.0)
        factor = np.geomspace(1 / 3, 3, len(BUDGETS))[i]
        tokens, params = runs.tokens * factor, runs.params / factor
        noise = 2e-4 * np.random.default_rng(i).standard_normal(len(runs))
        return replace(runs, tokens=tokens, params=params, loss=surface.loss(params, tokens) + noise)

    return by_budget(BUDGETS, make)


def test_a_plain_exponent_outside_its_interval_is_told_to_be_replaced_by_the_corrected() -> None:
    """Truth: alpha / (alpha + beta) of the surface, which the corrected exponent meets and the plain one does not."""
    runs = drifting_on_surface()
    law = fit_isoflop(runs, resamples=0).laws["tokens"]
    truth = Surface().tokens_law().exponent
    assert law is not None
    assert law.corrected_exponent == pytest.approx(truth, abs=2e-3)
    found = texts(runs, "grid-bias")
    assert f"α = {law.corrected_exponent:.3f}, which the intervals are about" in found[0]
    assert [text.split(":")[0] for text in found] == ["tokens", "params"]
    assert abs(law.exponent - truth) > 5e-3


def with_a_shallow_budget() -> RunTable:
    """Symmetrical valleys, the last of which is shallow and narrow, its optimum 1.6 times that of the others' law."""

    def make(i: int) -> RunTable:
        last = i == len(BUDGETS) - 1
        law = Law(TOKENS.coefficient * (1.6 if last else 1.0), TOKENS.exponent)
        flat = {"curvature": 0.005, "span": 3.0, "sizes": 5} if last else {"curvature": 0.1}
        return parabolas(law, budgets=BUDGETS[i : i + 1], noise=0.002, seed=i, **flat)

    return by_budget(BUDGETS, make)


def test_a_plain_law_outside_its_interval_for_an_unsure_budget_is_told() -> None:
    """Truth: the exponent of the four sure budgets, which the weighted law keeps to and the plain one does not."""
    runs = with_a_shallow_budget()
    law = fit_isoflop(runs, resamples=0).laws["tokens"]
    assert law is not None
    assert law.shift is None
    assert law.corrected_exponent == pytest.approx(TOKENS.exponent, abs=0.01)
    assert f"α = {law.exponent:.3f} lies outside" in texts(runs, "uneven-budgets")[0]


def test_a_plain_law_whose_height_alone_is_off_is_told() -> None:
    """Grids that miss alike leave the exponent and move the coefficient. Truth: the surface's own optimum."""
    surface = Surface()
    runs = surface.runs(span=6.0)
    tokens, params = runs.tokens * 3, runs.params / 3
    noise = 2e-4 * np.random.default_rng(0).standard_normal(len(runs))
    off = replace(runs, tokens=tokens, params=params, loss=surface.loss(params, tokens) + noise)
    fit = fit_isoflop(off, resamples=0)
    law, truth = fit.laws["tokens"], surface.tokens_law()
    assert law is not None
    assert law.predict(1e18).corrected == pytest.approx(truth(1e18), rel=0.02)
    assert abs(np.log(law.value(1e18) / truth(1e18))) > np.log(1.03)
    assert "lies outside" in texts(off, "grid-bias")[0]


def test_runs_without_a_surface_are_told_why() -> None:
    """Losses that rise with the budget fall with neither size. Truth: the surface fit's own reason."""
    runs = parabolas()
    rising = replace(runs, loss=runs.loss + 0.5 * np.log(runs.budget / 1e18))
    reason = fit_surface(rising.params, rising.tokens, rising.loss).reason
    assert reason
    assert reason in texts(rising, "no-surface")[0]


def test_a_budget_that_carries_the_exponent_is_named() -> None:
    """Truth: the others obey 0.537; the far one's optimum is three times theirs, so that it alone lifts the slope."""
    shares = (1.0, 1.04, 0.96, 1.01, 3.0)
    runs = by_budget(
        FAR, lambda i: parabolas(Law(TOKENS.coefficient * shares[i], TOKENS.exponent), budgets=FAR[i : i + 1])
    )
    found = [w for w in warnings_of(runs) if w.code == "carried-by-one-budget"]
    assert {w.budget for w in found} == {FAR[-1]}
    assert [w.text.split(":")[0] for w in found] == ["tokens and params"]
    x, y = np.log(FAR[:-1]), np.log([TOKENS(c) * share for c, share in zip(FAR, shares, strict=True)][:-1])
    assert f"without this budget α is {np.polyfit(x, y, 1)[0]:.3f}" in found[0].text


def test_no_budget_carries_an_exact_law() -> None:
    """Rounding is no scatter."""
    assert not texts(parabolas(budgets=FAR), "carried-by-one-budget")
    hill = change(parabolas(), BUDGETS[0], loss=5 - np.linspace(-1, 1, 7) ** 2)
    assert not texts(hill, "carried-by-one-budget")
