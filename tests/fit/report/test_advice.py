"""Advice as text."""

from __future__ import annotations

from fit.advise import advise, check, load_law
from fit.report.advice import render_advice, render_check


def test_advice_gives_tokens_params_their_source_and_the_reach() -> None:
    """Truth: 16.3T tokens and 389B params at 3.8e25, 3.6 decades past 1e22."""
    text = render_advice(advise(load_law("llama3"), 3.8e25))
    for part in (
        "arXiv 2407.21783",
        "tokens  16.3T",
        "params  389B   by C = 6ND",
        "extrapolated 3.6 decades",
        "402B",
    ):
        assert part in text
    assert "inside the law's data" in render_advice(advise(load_law("llama3"), 1e20))


def test_a_check_says_which_way_and_how_far_it_is_off() -> None:
    """Truth: 7B on 10T is 6.9x too many tokens against 48B on 1.45T; 70B on 1T costs the same and is near."""
    far = render_check(check(load_law("llama3"), 7e9, 10e12))
    near = render_check(check(load_law("llama3"), 70e9, 1e12))
    for part in (
        "cost 4.2e+23 FLOPs",
        "48.3B params on 1.45T tokens",
        "6.9x too many tokens",
        "a model of 0.14x the optimal size",
    ):
        assert part in far
    assert "cost 4.2e+23 FLOPs" in near
    assert "near the optimum" in near
    other = render_check(check(load_law("llama3"), 700e9, 0.1e12))
    assert "14x too few tokens, for a model 14x too large" in other
