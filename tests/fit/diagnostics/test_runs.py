"""Every finding about single runs, and about how they are counted, has its cause."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fit.diagnostics.finding import Warning_, merge_axes, named, runs
from fit.isoflop import fit_isoflop
from fit.report.summary import render
from fit.table import RunTable, SetAside
from tests.fit.diagnostics.tables import clean, texts, warnings_of
from tests.simulated import BUDGETS, parabolas, table


def with_optional(name: str, values: np.ndarray) -> RunTable:
    """The clean table with one other optional column."""
    whole = clean()
    return replace(whole, optional={**whole.optional, name: values})


def test_derived_columns_and_runs_set_aside_are_told() -> None:
    told = replace(
        parabolas(),
        notes=("params derived from C = 6*N*D: not in the table",),
        set_aside=(SetAside("run 9", "died"),),
    )
    found = {w.code: w.text for w in warnings_of(told)}
    assert set(found) == {"derived-column", "failed-runs"}
    assert "run 9" in found["failed-runs"]


def test_a_derived_column_is_said_once_with_what_to_do() -> None:
    """The note of the table is the warning's, and not printed beside it."""
    fit = fit_isoflop(
        replace(parabolas(), notes=("params derived from C = 6*N*D: not in the table",)), resamples=0
    )
    text = render(fit)
    assert text.count("derived from C = 6*N*D") == 1
    assert "name it with --column params=NAME" in text


def test_a_row_without_a_size_is_not_told_to_be_trained_again() -> None:
    aside = (
        SetAside("run 3", "budget is missing", "incomplete"),
        SetAside("run 4", "flops and tokens are missing", "incomplete"),
    )
    found = {w.code: w.text for w in warnings_of(replace(parabolas(), set_aside=aside))}
    assert set(found) == {"incomplete-runs"}
    assert found["incomplete-runs"].startswith(
        "2 runs are not fitted for want of a number (run 3, run 4: budget is"
    )
    assert "train" not in found["incomplete-runs"]


def test_findings_of_both_axes_are_one_that_gives_both() -> None:
    """Truth: what differs, by hand; other budgets, codes and runs stay apart, and so do sentences of other lengths."""
    tokens = Warning_("a", "tokens: from 1 to 2e9: train at smaller tokens", 1e18)
    params = Warning_("a", "params: from 1 to 3e8: train at larger params", 1e18)
    assert [one.text for one in merge_axes([tokens, params])] == [
        "tokens and params: from 1 to 2e9 / 3e8: train at smaller tokens / larger params"
    ]
    others = [replace(params, budget=2e18), replace(params, code="b"), replace(params, run="r")]
    assert merge_axes([tokens, *others]) == [tokens, *others]
    (both,) = merge_axes([tokens, replace(params, text="params: no minimum")])
    assert both.text == "tokens and params: from 1 to 2e9: train at smaller tokens; in params no minimum"


def test_duplicates_are_told_apart_from_runs_that_failed() -> None:
    aside = (SetAside("run 3", "duplicate of run 2", "repeated"), SetAside("run 9", "status failed"))
    found = {w.code: w.text for w in warnings_of(replace(parabolas(), set_aside=aside))}
    assert set(found) == {"duplicate-runs", "failed-runs"}
    assert "1 run repeats another, counted once (run 3)" in found["duplicate-runs"]
    assert "1 run is not fitted (run 9)" in found["failed-runs"]


def test_of_many_runs_set_aside_few_are_named() -> None:
    aside = tuple(SetAside(f"run {i}", "status crashed") for i in range(12))
    found = {w.code: w.text for w in warnings_of(replace(parabolas(), set_aside=aside))}
    assert "12 runs are not fitted (run 0, run 1, run 2, run 3, run 4 and 7 more)" in found["failed-runs"]


def test_fewer_params_than_one_are_told_to_be_of_other_units() -> None:
    """FLOPs in units of 1e18: params derived from them are no count."""
    runs = parabolas()
    scaled = replace(runs, budget=runs.budget / 1e18, flops=runs.flops / 1e18, params=runs.params / 1e18)
    assert texts(scaled, "impossible-size")[0].startswith("35 runs have fewer params than one")
    assert not texts(runs, "impossible-size")


def test_data_that_is_passed_over_more_than_four_times_is_told() -> None:
    """Truth: 4 epochs (arXiv 2305.16264); a run that does not say what it saw is not accused."""
    tokens = clean().tokens
    epochs = np.ones(len(tokens))
    epochs[[3, 8]], epochs[5] = (4.01, 12.5), np.nan
    (text,) = texts(with_optional("unique_tokens", tokens / epochs), "repeated-data")
    assert text.startswith("2 runs pass over the same data more than 4 times, up to 12.5 (run 3, run 8)")
    assert not texts(with_optional("unique_tokens", tokens / 4), "repeated-data")


def test_a_loss_above_that_of_guessing_is_told() -> None:
    """Truth: ln 20 = 2.996 nats."""
    whole = clean()
    (text,) = texts(with_optional("vocab_size", np.full(len(whole), 20.0)), "above-uniform")
    above = int(np.sum(whole.loss > np.log(20)))
    assert text.startswith(f"{above} runs have a loss above ln(vocab_size) = 3 nats")
    assert not texts(with_optional("vocab_size", np.full(len(whole), np.nan)), "above-uniform")


def test_runs_that_spent_another_budget_are_told_with_the_worst() -> None:
    flops = clean().flops.copy()
    flops[[0, 7]] *= (1.12, 0.5)
    flops[4] *= 1.09
    (text,) = texts(replace(clean(), flops=flops), "overspent-budget")
    assert text.startswith("2 runs have spent FLOPs more than 10% off the budget, run 7 0.5x (run 0, run 7)")


def foreign(factor: float | np.ndarray, **columns: object) -> RunTable:
    """Runs whose FLOPs are `factor` x params x tokens, and that name no convention."""
    whole = parabolas()
    changed = replace(whole, params=whole.params * 6 / factor)
    return replace(changed, **columns)  # type: ignore[arg-type]


def test_flops_of_another_count_say_which_column_fits() -> None:
    """Truth: what the table was made by."""
    whole = parabolas()
    under = {"body": whole.params * 0.5, "all": whole.params, "tied": whole.params * 0.97}
    (by_params,) = texts(foreign(12.0, params_under=under), "another-convention")
    assert "35 runs have flops more than 10% off 6 x params x tokens" in by_params
    assert "they are 6 x params_all x tokens: map it with --column params=params_all" in by_params
    flops = {"exact": whole.flops * 0.8, "6nd": whole.flops * 0.5}
    (by_flops,) = texts(foreign(12.0, flops_under=flops), "another-convention")
    assert "flops_6nd is: map it with --column flops=flops_6nd" in by_flops


def test_flops_that_no_column_fits_have_their_own_factor_told() -> None:
    (one,) = texts(foreign(8.0), "another-convention")
    assert "they are 8 x params x tokens" in one
    (many,) = texts(foreign(np.tile(np.linspace(7, 14, 7), 5)), "another-convention")
    assert "no column and no one factor fits, they are 7 to 14 x params x tokens" in many


@pytest.mark.parametrize("convention", [None, "6nd"])
def test_flops_near_6nd_are_not_questioned(convention: str | None) -> None:
    assert not texts(replace(foreign(6.3), flops_convention=convention), "another-convention")


def test_flops_that_are_named_exact_are_not_asked_to_be_6nd() -> None:
    named_exact = foreign(8.0, flops_convention="exact")
    assert not texts(named_exact, "another-convention")


def with_rates(losses_by_rate: dict[float, float]) -> RunTable:
    """Each run of the clean parabolas once a learning rate, the loss higher by the number beside it."""
    whole, count = parabolas(), len(losses_by_rate)
    columns = (np.tile(getattr(whole, name), count) for name in ("budget", "params", "tokens"))
    extra = np.repeat(list(losses_by_rate.values()), len(whole))
    rates = np.repeat(list(losses_by_rate), len(whole))
    return table(*columns, np.tile(whole.loss, count) + extra, optional={"lr": rates})


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (
            {1e-3: 0.0, 2e-3: 0.01, 4e-3: 0.03},
            "the smallest learning rate tried at 7 of 7 sizes, params 2e+07 (lr 0.001)",
        ),
        (
            {1e-3: 0.03, 2e-3: 0.01},
            "the largest learning rate tried at 7 of 7 sizes, params 2e+07 (lr 0.002)",
        ),
    ],
)
def test_a_best_learning_rate_at_the_edge_says_which_way_to_go(losses: dict[float, float], said: str) -> None:
    found = [w for w in warnings_of(with_rates(losses)) if w.code == "lr-at-edge"]
    assert [w.budget for w in found] == list(BUDGETS)
    assert said in found[0].text
    assert found[0].text.endswith("and 2 more: try smaller ones there") or "larger ones" in found[0].text


def test_a_best_learning_rate_between_others_is_fine() -> None:
    assert not texts(with_rates({1e-3: 0.02, 2e-3: 0.0, 4e-3: 0.03}), "lr-at-edge")


def test_many_runs_are_counted_and_the_first_named() -> None:
    assert named(list("abcde")) == "a, b, c, d, e"
    assert named(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert (runs(1, "is", "are"), runs(3, "is", "are")) == ("1 run is", "3 runs are")
