"""Every finding has its cause, and clean data has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fit.diagnostics import Warning_
from fit.isoflop import fit_isoflop
from fit.table import RunTable, SetAside
from tests.simulated import BUDGETS, parabolas


def warnings_of(runs: RunTable) -> tuple[Warning_, ...]:
    return fit_isoflop(runs, resamples=200).warnings


def change(runs: RunTable, budget: float, **columns: np.ndarray) -> RunTable:
    """`runs` with other numbers at `budget`."""
    changed = {name: getattr(runs, name).copy() for name in columns}
    for name, values in columns.items():
        changed[name][runs.budget == budget] = values
    return replace(runs, **changed)


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


def test_runs_set_aside_are_warned_of_by_kind_and_few_are_named() -> None:
    failed = [SetAside(f"run {i}", "status crashed") for i in range(12)]
    twice = SetAside("copy", "logged twice", "repeated")
    found = {w.code: w.text for w in warnings_of(replace(parabolas(), set_aside=(*failed, twice)))}
    assert set(found) == {"failed-runs", "repeated-runs"}
    assert found["failed-runs"].startswith("12 runs are not fitted (run 0, run 1, ")
    assert "run 9 and 2 more): train them again" in found["failed-runs"]
    assert found["repeated-runs"].startswith("1 rows repeat another run")


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
    assert {warning.text.split(":")[0] for warning in found} <= {"tokens", "params"}


@pytest.mark.parametrize(
    ("factor", "tokens", "params"), [(8.0, "smaller", "larger"), (1 / 8.0, "larger", "smaller")]
)
def test_a_minimum_past_the_edge_says_on_which_side_to_train(factor: float, tokens: str, params: str) -> None:
    """A grid about 8x the optimum has its fewest tokens above it, and its largest models below."""
    found = {w.text.split(":")[0]: w.text for w in warnings_of(shifted(factor)) if w.code == "edge-minimum"}
    assert f"train at {tokens} tokens" in found["tokens"]
    assert f"train at {params} params" in found["params"]


@pytest.mark.parametrize(
    ("factor", "tokens", "params"), [(4.0, "smaller", "larger"), (1 / 4.0, "larger", "smaller")]
)
def test_a_minimum_in_the_outer_fifth_is_off_centre(factor: float, tokens: str, params: str) -> None:
    """ln 4 / ln 6 = 0.77 of the way from the centre to the edge, so 0.11 of the grid from it."""
    found = {w.text.split(":")[0]: w.text for w in warnings_of(shifted(factor)) if w.code == "off-centre"}
    assert f"add runs at {tokens} tokens" in found["tokens"]
    assert f"add runs at {params} params" in found["params"]


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
        "tokens",
        "params",
    ]
    assert [w.text.split(":")[0] for w in warnings_of(one_axis) if w.code == "too-few-sizes"] == ["params"]


def test_a_law_on_two_budgets_says_that_it_lies_on_a_line_anyway() -> None:
    codes = [w.code for w in warnings_of(parabolas(noise=0.002, budgets=BUDGETS[:2]))]
    assert codes.count("two-budgets") == 2
    assert "two-budgets" not in {w.code for w in warnings_of(parabolas(noise=0.002, budgets=BUDGETS[:3]))}


def test_derived_columns_and_runs_set_aside_are_told() -> None:
    runs = replace(
        parabolas(),
        notes=("params derived from C = 6*N*D: not in the table",),
        set_aside=(SetAside("run 9", "died"),),
    )
    found = {w.code: w.text for w in warnings_of(runs)}
    assert set(found) == {"derived-column", "failed-runs"}
    assert "run 9" in found["failed-runs"]
