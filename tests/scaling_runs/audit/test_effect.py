"""From changes of loss to the move of an exponent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.powerlaw import fit_power_law
from fit.statistics import student
from fit.valley import fit_valley
from scaling_runs.audit.effect import MAX_MOVE, Move, Noise, effects, exponent_move, minimum_shift
from tests.scaling_runs.audit.conftest import CURVATURE, PARAMS, Change, audited_budget
from tests.simulated import table

LOW, HIGH = 1e18, 1.6e19


def tilting(offset: float, at_low: float, growth: float) -> Change:
    """A recipe that adds offset + tilt·ln(N / N*) nats, with a tilt that grows by `growth` an e-fold of compute."""

    def change(log_params: np.ndarray, flops: float) -> np.ndarray:
        tilt = at_low + growth * np.log(flops / LOW)
        return np.asarray(offset + tilt * (log_params - np.log(PARAMS(flops))))

    return change


@settings(deadline=None)
@given(st.floats(-0.1, 0.3), st.floats(-0.04, 0.04), st.floats(-0.02, 0.02))
def test_a_known_tilt_moves_minimum_and_exponent_as_worked_out_by_hand(
    offset: float, at_low: float, growth: float
) -> None:
    """Truth: c·z² + t·z has its minimum at -t/(2c), so that a tilt which grows by g an e-fold moves the exponent of
    params by -g/(2c); that of tokens by the opposite, for D = C/(6N)."""
    budgets = [audited_budget(flops, {"other": tilting(offset, at_low, growth)}) for flops in (LOW, HIGH)]
    found, _ = effects(budgets[0], budgets[1], None)
    other = found["other"]
    tilts = np.array([at_low, at_low + growth * np.log(HIGH / LOW)])
    assert other.shifts["params"] == pytest.approx(-tilts / (2 * CURVATURE), abs=1e-9)
    assert other.shifts["tokens"] == pytest.approx(tilts / (2 * CURVATURE), abs=1e-9)
    assert other.moves["params"].value == pytest.approx(-growth / (2 * CURVATURE), abs=1e-9)
    assert other.moves["tokens"].value == pytest.approx(growth / (2 * CURVATURE), abs=1e-9)
    assert other.moves["tokens"].se is None


@settings(deadline=None, max_examples=30)
@given(st.floats(-0.1, 0.3), st.floats(-0.04, 0.04), st.floats(-0.02, 0.02))
def test_two_sizes_say_what_training_the_whole_sweep_again_would(
    offset: float, at_low: float, growth: float
) -> None:
    """Truth: parabolas through all seven sizes of five budgets trained under the other recipe, and the law through
    their minima, less that of the rule."""
    change = tilting(offset, at_low, growth)
    all_budgets = np.geomspace(LOW, HIGH, 5)
    minima = {"rule": [], "other": []}  # type: dict[str, list[float]]
    for flops in all_budgets:
        params = PARAMS(flops) * np.exp(np.linspace(-1, 1, 7) * np.log(4))
        rule = 2 + CURVATURE * np.log(params / PARAMS(flops)) ** 2
        for name, losses in (("rule", rule), ("other", rule + change(np.log(params), flops))):
            runs = table(np.full(7, flops), params, flops / (6 * params), losses)
            optimum = fit_valley(runs, flops, "params").optimum
            assert optimum is not None
            minima[name].append(optimum)
    laws = {name: fit_power_law(all_budgets, np.array(optima)) for name, optima in minima.items()}
    found, _ = effects(audited_budget(LOW, {"other": change}), audited_budget(HIGH, {"other": change}), None)
    whole = laws["other"].exponent - laws["rule"].exponent
    assert found["other"].moves["params"].value == pytest.approx(whole, abs=1e-9)


@given(st.floats(-0.5, 0.5), st.floats(0.01, 1), st.floats(1.5, 50))
def test_a_change_that_is_alike_at_both_sizes_moves_nothing(
    offset: float, curvature: float, ratio: float
) -> None:
    """Truth: the minimum of L + constant is that of L."""
    shift = minimum_shift(np.array([offset, offset]), np.array([1e4, 1e4 * ratio]), np.array(curvature))
    assert shift == 0


@given(st.floats(-3, 3), st.floats(1e8, 1e20), st.floats(1.5, 1e4))
def test_shifts_that_are_alike_at_both_budgets_leave_the_exponent(
    shift: float, low: float, ratio: float
) -> None:
    """Truth: a law times a constant has the same exponent."""
    assert exponent_move(np.array([shift, shift]), (low, low * ratio)) == 0


def test_the_best_of_the_tried_is_taken_size_by_size() -> None:
    """Truth: by hand. One recipe is better by 0.02 at the small model of the high budget alone, another worse
    everywhere: the tilt there is +0.02 over ln(4^(4/3)), and none at the low budget."""

    def gains(log_params: np.ndarray, flops: float) -> np.ndarray:
        small = log_params < np.log(PARAMS(flops))
        return np.where((flops == HIGH) & small, -0.02, 0.05)

    changes = {"better at one end": gains, "worse": tilting(0.04, 0.01, 0.001)}
    _, best = effects(audited_budget(LOW, changes), audited_budget(HIGH, changes), None)
    assert best is not None
    assert best.changes == pytest.approx(np.array([[0, 0], [-0.02, 0]]), abs=1e-12)
    tilt = 0.02 / (4 / 3 * np.log(4))
    move = -tilt / (2 * CURVATURE) / np.log(HIGH / LOW)
    assert best.moves["params"].value == pytest.approx(move)
    assert best.moves["tokens"].value == pytest.approx(-move)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_standard_error_is_the_spread_of_audits_done_again_and_again(seeds: int) -> None:
    """Truth: 600 simulated experiments with fresh noise in every run, the parabola's and the audit's."""
    noise, changes = 0.003, {"other": tilting(0.05, 0.01, 0.004)}
    random = np.random.default_rng(7)

    def audit(level: float) -> Move:
        low, high = (
            audited_budget(flops, changes, noise=level, random=random, seeds=seeds) for flops in (LOW, HIGH)
        )
        found, _ = effects(low, high, Noise(noise, np.inf, "seeds") if not level else None)
        return found["other"].moves["tokens"]

    spread = np.std([audit(noise).value for _ in range(600)])
    assert audit(0.0).se == pytest.approx(spread, rel=0.1)


def test_the_standard_error_is_that_of_the_formula_where_noise_is_small() -> None:
    """Truth: error propagation by hand. The tilt is of two differences of two runs each, the curvature is certain to
    the noise's first order where the tilt is nothing: 2·sd/Δx over 2c, at two budgets, over ln of their ratio."""
    noise = Noise(1e-4, 12, "seeds")
    changes = {"none": tilting(0.0, 0.0, 0.0)}
    found, _ = effects(audited_budget(LOW, changes), audited_budget(HIGH, changes), noise)
    move = found["none"].moves["params"]
    expected = 2 * 1e-4 / (4 / 3 * np.log(4)) / (2 * CURVATURE) * np.sqrt(2) / np.log(HIGH / LOW)
    assert move.se == pytest.approx(expected, rel=0.03)
    assert move.half_width == pytest.approx(student(12) * move.se)


def test_a_perturbation_that_lacks_a_loss_at_one_budget_is_left_to_the_others() -> None:
    """Truth: without one of four losses nothing is known of it; the other perturbation's numbers are as without it."""
    whole = {"a": tilting(0.01, 0.02, 0.01), "b": tilting(0.1, -0.02, 0.0)}
    low = audited_budget(LOW, {"a": whole["a"]})
    found, best = effects(low, audited_budget(HIGH, whole), None)
    alone, best_alone = effects(low, audited_budget(HIGH, {"a": whole["a"]}), None)
    assert list(found) == ["a"]
    assert found["a"].moves == alone["a"].moves
    assert best is not None
    assert best_alone is not None
    assert best.moves == best_alone.moves


def test_without_a_perturbation_there_is_no_best() -> None:
    """Truth: nothing was tried."""
    assert effects(audited_budget(LOW, {}), audited_budget(HIGH, {}), None) == ({}, None)


def test_a_valley_without_a_minimum_gives_changes_of_loss_and_no_move() -> None:
    """Truth: a parabola that opens downward has no minimum to shift."""
    changes = {"other": tilting(0.01, 0.02, 0.01)}
    low = audited_budget(LOW, changes, curvature=-0.05)
    assert low.usable == ()
    found, _ = effects(low, audited_budget(HIGH, changes), Noise(0.01, 5, "seeds"))
    assert found["other"].moves == {}
    assert found["other"].changes.shape == (2, 2)


@pytest.mark.parametrize(
    ("value", "half", "verdict"),
    [
        (0.0, 0.9, "robust"),
        (0.5, 0.4, "robust"),
        (-0.5, 0.6, "open"),
        (1.5, 0.6, "open"),
        (1.5, 0.4, "moves"),
        (-3.0, 1.5, "moves"),
    ],
)
def test_a_verdict_holds_noise_and_all(value: float, half: float, verdict: str) -> None:
    """Truth: the interval lies within ±MAX_MOVE, outside it, or across its edge."""
    move = Move(value * MAX_MOVE, half * MAX_MOVE / student(8), 8)
    assert move.verdict == verdict
    assert Move(value * MAX_MOVE, None, np.inf).verdict == "open"
