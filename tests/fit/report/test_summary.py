"""The fit as text: everything that a reader needs to judge it is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fit.isoflop import fit_isoflop
from fit.report.summary import render
from fit.table import SetAside
from tests.simulated import BUDGETS, Surface, parabolas


def test_optima_laws_reference_predictions_checks_are_all_there() -> None:
    """Truth: the simulated law is Llama 3's, to the digits printed."""
    text = render(fit_isoflop(parabolas(noise=1e-6, seeds=2), predict=[3.8e25]))
    for part in (
        "D*(C) = 0.299·C^0.537    by plain least squares",
        "D*(C) = 0.299·C^0.537    α [0.537, 0.537]   A [",
        "N*(C) = 0.557·C^0.463",
        "Llama 3  D*(C) = 0.299·C^0.537 (arXiv 2407.21783, section 3.2.1): its α lies inside the interval above",
        "3.8e+25 FLOPs, 5.2 decades beyond the budgets: 16.3T tokens [",
        "389B params",
        "Back-test: the law without the top budget predicts 1.00x the optimal tokens (chance gives 1x to 1x) and 1.00x",
        "Seed noise: 0.0000 nats (35 degrees of freedom)",
    ):
        assert part in text
    assert "Warnings" not in text
    assert "Conventions" not in text


def test_every_budget_has_a_line_with_its_status() -> None:
    runs = parabolas()
    loss = runs.loss.copy()
    loss[:7] = 5 - np.linspace(-1, 1, 7) ** 2
    text = render(fit_isoflop(replace(runs, loss=loss, set_aside=(SetAside("run 9", "died"),))))
    lines = {f"{float(line.split()[0]):.3g}": line for line in text.splitlines()[2 : 2 + len(BUDGETS)]}
    assert list(lines) == [f"{flops:.3g}" for flops in BUDGETS]
    assert lines["1e+18"].endswith("opens-downward")
    assert all(line.endswith("ok") for name, line in lines.items() if name != "1e+18")
    assert "opens-downward at 1e+18 FLOPs" in text
    assert "run 9: died" in text
    assert (
        "run 0, run 1, run 2, run 3, run 4, run 5, run 6: in no law: its budget's parabola opens downward"
        in text
    )


def test_each_convention_has_its_laws_and_predictions_and_the_headlines_is_marked() -> None:
    """Truth: counting N·C^0.1 instead of N moves α of params by 0.1, and tokens not at all."""
    runs = parabolas()
    under = {"body": runs.params, "all": runs.params * (runs.budget / 1e18) ** 0.1}
    fit = fit_isoflop(
        replace(runs, params_under=under, params_convention="body", flops_convention="6nd"),
        predict=[3.8e25],
        resamples=50,
    )
    block = render(fit).split("Conventions of counting")[1].split("\n\n")[0].splitlines()
    assert block[0].endswith("(* marks the laws above)")
    assert block[1].split()[-2:] == ["at", "3.8e+25"]
    rows = [line.replace("*", " * ", 1) if line.startswith("*") else line for line in block[2:]]
    found = [(line.startswith(" * "), *line.replace(" * ", "").split()) for line in rows]
    assert [(own, *row[:5]) for own, *row in found] == [
        (True, "D*(C)", "body", "6nd", "0.299", "0.537"),
        (False, "D*(C)", "all", "6nd", "0.299", "0.537"),
        (True, "N*(C)", "body", "6nd", "0.557", "0.463"),
        (False, "N*(C)", "all", "6nd", "0.00883", "0.563"),
    ]
    assert [row[-1] for row in found] == ["16.3T", "16.3T", "389B", "2.23T"]


def test_flops_of_a_known_convention_are_named_where_nothing_else_is_counted() -> None:
    text = render(fit_isoflop(replace(parabolas(), flops_convention="exact"), resamples=0))
    assert "FLOPs are exact" in text


def test_without_an_interval_the_reference_is_placed_nowhere() -> None:
    text = render(fit_isoflop(parabolas(sizes=3, budgets=BUDGETS[:2])))
    assert "its α lies" not in text
    assert "no interval" in text


def test_why_a_law_is_not_corrected_is_said() -> None:
    """Exact parabolas are symmetrical, as no valley of L(N, D) is; a surface's own valleys are corrected."""
    line = "not corrected: the fitted surface does not have the shape of these valleys"
    assert line in render(fit_isoflop(parabolas(), resamples=0))
    corrected = render(fit_isoflop(Surface().runs(span=4), resamples=0))
    assert line not in corrected
    assert "less what a parabola on this grid misses" in corrected


def test_a_long_list_of_runs_not_fitted_is_cut_by_reason() -> None:
    """Truth: ten names a reason and ten reasons, the rest counted; nothing is lost from the count."""
    crashed = [SetAside(f"run {i}", "status crashed") for i in range(1000)]
    reasons = [SetAside(f"odd {i}", f"status failed: {i}") for i in range(12)]
    text = render(fit_isoflop(replace(parabolas(), set_aside=(*crashed, *reasons)), resamples=0))
    lines = text.split("Runs not used\n")[1].splitlines()
    names = ", ".join(f"run {i}" for i in range(10))
    assert lines[0] == f"  {names} and 990 more: status crashed"
    assert lines[1:10] == [f"  odd {i}: status failed: {i}" for i in range(9)]
    assert lines[10:] == ["  and 3 more, for 3 other reasons"]
