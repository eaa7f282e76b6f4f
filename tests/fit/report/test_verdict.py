"""What can and can't be concluded: each sentence has its cause."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fit.advise import advise, on_budget
from fit.isoflop import fit_isoflop
from fit.laws import law_of_fit
from fit.report.verdict import headline, render_verdict
from fit.result import fit_to_dict
from fit.table import RunTable, load_runs
from tests.fit.diagnostics.tables import by_budget
from tests.simulated import BUDGETS, TOKENS, Law, Surface, parabolas


def said(runs: RunTable) -> tuple[str, str]:
    """What can, and what can't."""
    lines = render_verdict(fit_isoflop(runs, resamples=0)).splitlines()[1:]
    return tuple("\n".join(line for line in lines if line.startswith(f"  {sign} ")) for sign in "+-")  # type: ignore[return-value]


def test_a_sure_law_says_its_range_and_which_grows_faster_and_never_that_it_is_anothers() -> None:
    """Truth: the surface's own exponents, 0.548 and 0.452, both surer than their distance from 0.537."""
    can, cannot = said(Surface().runs(span=6, noise=0.0005))
    assert "over 1e+18 to 2.56e+20 FLOPs, by 5 budgets, optimal tokens grow as C^0.548" in can
    assert "optimal tokens grow faster than optimal params" in can
    assert "the other budgets predict the top one's optimal tokens: 1.00x" in can
    assert "Llama 3" not in can
    assert "its α of 0.537 lies outside the interval" in cannot
    assert "past 6.6e+22 FLOPs: the budgets span 2.4 decades" in cannot
    assert "budgets: the intervals rest on" not in cannot


def test_few_budgets_and_noise_leave_open_which_law_it_is_and_which_grows_faster() -> None:
    can, cannot = said(parabolas(budgets=BUDGETS[:4], noise=0.03))
    assert "much from 4 budgets: the intervals rest on 2 degrees of freedom" in cannot
    assert "that this is, or is not, Llama 3's law: its α of 0.537 lies inside" in cannot
    assert "whether tokens or params grow faster" in cannot
    assert "optimal tokens to a factor of 1.5 from" in cannot
    assert "faster than" not in can


def test_without_an_interval_nothing_is_concluded() -> None:
    can, cannot = said(parabolas(sizes=3, budgets=BUDGETS[:2]))
    assert can == ""
    assert "how sure α is: no run and no budget is to spare" in cannot


def test_a_top_budget_off_the_others_line_forbids_to_draw_it_on() -> None:
    """Truth: its optimum is twice that of the law that the others obey to 1%."""
    shares = (1.0, 1.01, 0.99, 1.01, 2.0)
    runs = by_budget(
        BUDGETS,
        lambda i: parabolas(
            Law(TOKENS.coefficient * shares[i], TOKENS.exponent),
            budgets=BUDGETS[i : i + 1],
            noise=1e-4,
            seed=i,
        ),
    )
    can, cannot = said(runs)
    assert "that one line holds to the top: the other budgets predict 0.5" in cannot
    assert "the other budgets predict the top one's" not in can


@pytest.mark.parametrize(("power", "there"), [(0.0, False), (0.1, True)])
def test_a_way_to_count_that_moves_the_exponent_is_named(power: float, there: bool) -> None:
    """Truth: params counted as N·C^0.1 have an exponent larger by 0.1."""
    runs = parabolas(noise=0.002)
    under = {"body": runs.params, "all": runs.params * (runs.budget / 1e18) ** power}
    _, cannot = said(replace(runs, params_under=under, params_convention="body"))
    assert ("α of params without saying how params and FLOPs are counted" in cannot) == there


def test_a_method_that_lies_outside_the_interval_is_named(llama3_points: Path) -> None:
    """Truth: Llama 3's own points, whose surface by Huber's loss has 0.473, outside [0.492, 0.58]."""
    runs = load_runs(llama3_points)
    _, cannot = said(runs)
    assert (
        "α of tokens whatever the method: outside the interval are surface, Huber in log loss 0.473" in cannot
    )


def test_a_law_that_one_budget_or_one_run_carries_is_no_conclusion() -> None:
    """A run of the top budget whose loss is far too low makes its valley, and the law, its own."""
    runs = parabolas(sizes=9, noise=0.001)
    loss = runs.loss.copy()
    loss[-2] -= 0.3
    can, cannot = said(replace(runs, loss=loss))
    assert "optimal tokens grow" not in can
    assert "faster than" not in can
    assert "optimal tokens grow as C^" in cannot
    assert re.search("see (carried-by-one-budget|outlier-run) below", cannot)


def test_valleys_of_noise_are_no_conclusion() -> None:
    """Noise as large as the valleys are deep: an interval there may be, to be believed it isn't."""
    can, _ = said(parabolas(noise=0.15, seed=3))
    assert "grow as" not in can


def test_a_floor_that_could_not_be_asked_for_is_not_said_to_be_refuted() -> None:
    _, four = said(Surface().runs(budgets=BUDGETS[:4], span=6, noise=0.0005))
    assert "a floor needs 5 optima and there are 4" in four
    assert "support no floor" not in four


def test_seeds_and_a_floor_are_missed_only_where_they_are_missing() -> None:
    _, single = said(parabolas(noise=0.002))
    _, repeated = said(parabolas(noise=0.002, seeds=2))
    assert "no cell was repeated" in single
    assert "no cell was repeated" not in repeated
    _, floor = said(Surface().runs(span=6, noise=0.0005))
    assert "support no floor" not in floor


def test_the_headline_says_of_which_size_half_and_twice_are() -> None:
    """Truth: a table whose FLOPs are 1.5 times its 6ND, as small models have by an exact count: the law's N* is not the
    size that 6ND pays for beside its D*."""
    runs = Surface().runs(span=6, noise=0.0005)
    counted = replace(runs, flops=1.5 * runs.flops, budget=1.5 * runs.budget)
    for table, whose in (
        (runs, "half or twice that size"),
        (counted, r"half or twice the \S+ params of that balance at 6ND = C"),
    ):
        fit = fit_isoflop(table, resamples=0)
        law = law_of_fit(fit_to_dict(fit), Path("fit.json"))
        assert re.search(whose, headline(fit, law)[1])
        assert (on_budget(advise(law, float(table.budget.max())))) == (table is runs)


def test_the_headline_tells_where_the_largest_budget_lies_off_the_law(llama3_points: Path) -> None:
    """Truth: Llama 3's own points, whose minimum at 1e22 is at 238B tokens, and simulated ones on a line."""
    for table, told in ((load_runs(llama3_points), True), (Surface().runs(span=6, noise=0.002), False)):
        fit = fit_isoflop(table, resamples=200)
        second = headline(fit, law_of_fit(fit_to_dict(fit), Path("fit.json")))[1]
        assert ("(its own minimum lies at 238B [2" in second) == told
        assert ("its own minimum" in second) == told
