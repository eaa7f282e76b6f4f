"""Checks as text."""

from __future__ import annotations

from fit.check import check
from fit.laws import load_law
from fit.report.check import render_check, render_check_table, render_checks

LLAMA3 = load_law("llama3")


def test_a_check_says_which_way_and_how_far_it_is_off() -> None:
    """Truth: 7B on 10T is 6.9x too many tokens against 48B on 1.45T; 70B on 1T costs the same and is near."""
    far, near = (render_check(check(LLAMA3, *pair)) for pair in ((7e9, 10e12), (70e9, 1e12)))
    for part in (
        "cost 4.2e+23 FLOPs",
        "48.3B params on 1.45T tokens",
        "6.9x too many tokens",
        "a model of 0.14x the optimal size",
        "wastes 71% of its compute: 1.23e+23 FLOPs reach the same loss",
    ):
        assert part in far
    assert "cost 4.2e+23 FLOPs" in near
    assert "near the optimum" in near
    other = render_check(check(LLAMA3, 700e9, 0.1e12))
    assert "14x too few tokens, for a model 14x too large" in other


def test_the_two_common_errors_are_called_by_name() -> None:
    """Truth: 4.2e23 is 7.72x 5.44e22, and 1.6 decades past Llama 3's 1e22; 5.44e22 / (6 x 7e9) = 1.3T tokens."""
    text = render_check(check(LLAMA3, 7e9, 10e12, 5.44e22))
    assert "ERROR, a plan that its budget can't pay for: it costs 7.72x the 5.44e+22 FLOPs" in text
    assert "train 7B params on 1.3T tokens" in text
    assert "ERROR, a law used where its data doesn't reach: extrapolated 1.6 decades beyond" in text
    fine = render_check(check(LLAMA3, 1e9, 1e11, 1e21))
    assert "ERROR" not in fine
    assert "within the budget of 1e+21 FLOPs: it takes 60% of it" in fine


def test_of_several_plans_the_nearer_is_named() -> None:
    text = render_checks([check(LLAMA3, 7e9, 10e12), check(LLAMA3, 70e9, 1e12)])
    assert text.endswith(
        "Nearer its optimum is 70B params on 1T tokens: it wastes 5% of its compute, 7B params on 10T tokens 71%"
    )


def test_a_table_has_a_line_for_each_and_marks_what_can_not_be_paid_for() -> None:
    checks = [check(LLAMA3, 7e9, 10e12, 1e22, "far"), check(LLAMA3, 1e9, 2e10, 1e22, "small")]
    lines = render_check_table(checks).splitlines()
    far, small = (next(line for line in lines if line.startswith(name)) for name in ("far", "small"))
    assert far.split()[1:4] == ["7B", "10T", "4.20e+23!"]
    assert small.split()[3] == "1.20e+20"
    assert small.endswith("-")
    assert "as 1 of 2 do" in lines[-1]
