"""Every finding about a valley has its cause, and clean data has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fit.table import RunTable
from tests.fit.diagnostics.tables import change, clean, texts, warnings_of
from tests.simulated import BUDGETS, parabolas


def shifted(factor: float) -> RunTable:
    """The first budget's grid about `factor` times the optimum, the others' about the optimum."""
    off = parabolas(centre=factor, budgets=BUDGETS[:1])
    return change(parabolas(), BUDGETS[0], tokens=off.tokens, params=off.params, loss=off.loss)


def flattened() -> RunTable:
    """The last valley is 0.002 nats deep, in seed noise of 0.01."""
    runs = parabolas(noise=0.01, seeds=4)
    flat = parabolas(curvature=0.0005, seeds=4, budgets=BUDGETS[-1:])
    return change(runs, BUDGETS[-1], loss=flat.loss)


def test_clean_data_has_nothing_wrong_with_it() -> None:
    assert warnings_of(parabolas(noise=0.002, seeds=2)) == ()
    assert warnings_of(clean()) == ()


STEP = np.linspace(-1, 1, 7)
CASES: dict[str, tuple[Callable[[], RunTable], float, str]] = {
    "opens-downward": (lambda: change(parabolas(), BUDGETS[0], loss=5 - STEP**2), BUDGETS[0], "no minimum"),
    "poor-fit": (
        lambda: change(
            parabolas(), BUDGETS[1], loss=5 + 0.01 * STEP**2 + 0.1 * np.array([1, -1, 1, -1, 1, -1, 1])
        ),
        BUDGETS[1],
        "do not lie on a parabola",
    ),
    "shallow-valley": (flattened, BUDGETS[-1], "nats deep and the seed noise"),
    "few-runs": (lambda: parabolas(sizes=3, noise=0.01), BUDGETS[0], "say nothing of their noise"),
    "unsure-minimum": (
        lambda: parabolas(noise=0.05, curvature=0.03, span=3, seed=9),
        BUDGETS[0],
        "of the resamples the minimum leaves the grid",
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_what_is_wrong_with_a_budget_is_said_of_that_budget(code: str) -> None:
    make, budget, text = CASES[code]
    found = [warning for warning in warnings_of(make()) if warning.code == code]
    assert found
    assert any(w.budget == budget or code in ("few-runs", "unsure-minimum") for w in found)
    assert all(text in warning.text for warning in found)
    assert {warning.text.split(":")[0] for warning in found} <= {"tokens", "params", "tokens and params"}


@pytest.mark.parametrize(
    ("factor", "tokens", "params"), [(8.0, "smaller", "larger"), (1 / 8.0, "larger", "smaller")]
)
def test_a_minimum_past_the_edge_says_on_which_side_to_train(factor: float, tokens: str, params: str) -> None:
    """A grid about 8x the optimum has its fewest tokens above it, and its largest models below."""
    (found,) = texts(shifted(factor), "edge-minimum")
    assert found.startswith("tokens and params: the loss is still falling at the edge of the grid")
    assert found.endswith(f"train at {tokens} tokens / {params} params")


@pytest.mark.parametrize(
    ("factor", "tokens", "params"), [(4.0, "smaller", "larger"), (1 / 4.0, "larger", "smaller")]
)
def test_a_minimum_in_the_outer_fifth_is_off_centre(factor: float, tokens: str, params: str) -> None:
    """ln 4 / ln 6 = 0.77 of the way from the centre to the edge, so 0.11 of the grid from it."""
    (found,) = texts(shifted(factor), "off-centre")
    assert found.endswith(f"in the outer fifth of the grid; add runs at {tokens} tokens / {params} params")


def test_a_minimum_that_is_near_the_centre_is_not_off_it() -> None:
    """ln 2 / ln 6 = 0.39."""
    assert not [w for w in warnings_of(shifted(2.0)) if w.code == "off-centre"]


def test_two_sizes_are_said_to_be_too_few_on_each_axis_that_has_them() -> None:
    runs = parabolas()
    two = change(
        runs, BUDGETS[0], tokens=np.array([1e9] * 4 + [2e9] * 3), params=np.array([1e8] * 4 + [2e8] * 3)
    )
    one_axis = change(runs, BUDGETS[0], params=np.full(7, 1e8))
    assert [w.text.split(":")[0] for w in warnings_of(two) if w.code == "too-few-sizes"] == [
        "tokens and params"
    ]
    assert [w.text.split(":")[0] for w in warnings_of(one_axis) if w.code == "too-few-sizes"] == ["params"]


def test_a_valley_with_one_run_on_a_side_says_which_side_lacks_runs() -> None:
    """The grid spans 6x to each side of 4.5x the optimum in 7 steps: one size lies below the optimum, six above."""
    found = texts(shifted(4.5), "one-sided")
    assert [text.split(" than")[0] for text in found] == [
        "tokens and params: 1 run lies at smaller tokens / larger params"
    ]
    assert not texts(shifted(2.0), "one-sided")


def test_without_repeats_the_valley_is_held_against_the_noise_of_the_runs() -> None:
    """Truth: no seed is repeated, noise is 0.01 nats, and the last valley is 0.002 deep."""
    runs, flat = parabolas(noise=0.01), parabolas(curvature=0.0005, budgets=BUDGETS[-1:])
    found = texts(change(runs, BUDGETS[-1], loss=flat.loss), "shallow-valley")
    assert len(found) == 1
    assert all("the noise of the runs about their parabolas 0.0" in text for text in found)
