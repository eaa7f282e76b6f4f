"""The lower envelope of learning curves: a known surface is found again, within what it promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.curves import Curve
from fit.envelope import Envelope, fit_envelope
from fit.errors import UserError
from tests.simulated import Surface

SURFACE = Surface()


def curves(sizes: int = 25, noise: float = 0.0, seed: int = 0) -> list[Curve]:
    """Runs of 3e7 to 3e10 params at a constant rate: a point on the way is as low as a run that ends there."""
    random = np.random.default_rng(seed)
    found = []
    for i, params in enumerate(np.geomspace(3e7, 3e10, sizes)):
        flops = np.geomspace(1e17, 1e23, 400)
        tokens = flops / (6 * params)
        loss = SURFACE.loss(np.full_like(tokens, params), tokens) + noise * random.standard_normal()
        found.append(Curve(f"run {i}", float(params), flops, tokens, loss))
    return found


def test_the_envelope_of_a_known_surface_has_its_laws() -> None:
    """Truth: alpha / (alpha + beta), eq. 4 of arXiv 2203.15556, to the steps between sizes (a factor of 1.33)."""
    envelope = fit_envelope(curves(), resamples=0)
    known = SURFACE.tokens_law()
    tokens, params = envelope.laws["tokens"], envelope.laws["params"]
    assert tokens.exponent == pytest.approx(known.exponent, abs=0.01)
    assert params.exponent == pytest.approx(1 - known.exponent, abs=0.01)
    assert tokens.value(1e20) == pytest.approx(known(1e20), rel=0.05)
    assert (tokens.exponent_ci95, envelope.lost) == (None, 0)


def test_each_point_is_the_lowest_run_at_its_flops() -> None:
    """Truth: the surface itself, at every size, by hand; C = 6·N·D holds along each run."""
    sizes = np.geomspace(3e7, 3e10, 25)
    envelope = fit_envelope(curves(), points=50, resamples=0)
    for flops, params, tokens, loss in zip(
        envelope.flops, envelope.params, envelope.tokens, envelope.loss, strict=True
    ):
        losses = SURFACE.loss(sizes, flops / (6 * sizes))
        assert params == pytest.approx(sizes[np.argmin(losses)], rel=1e-9)
        assert loss == pytest.approx(losses.min(), rel=1e-5)
        assert 6 * params * tokens == pytest.approx(flops, rel=1e-9)


def test_a_run_at_the_edge_of_the_sizes_is_no_optimum() -> None:
    """Truth: where the surface's optimum lies below all sizes, no point is left there."""
    envelope = fit_envelope(curves(), resamples=0)
    assert envelope.params.min() > 3e7
    assert envelope.params.max() < 3e10
    assert 0 < envelope.at_edge < 1
    assert envelope.flops.min() > 1e17


def test_the_bootstrap_is_over_runs_and_holds_the_truth() -> None:
    """Truth: the closed form, at noise that each run carries along its whole curve; more points promise no more."""
    noisy = curves(noise=0.01)
    few, many = (fit_envelope(noisy, points=points, resamples=200).laws["tokens"] for points in (200, 1500))
    assert few.exponent_ci95 is not None
    assert many.exponent_ci95 is not None
    low, high = many.exponent_ci95
    assert low < SURFACE.tokens_law().exponent < high
    assert np.diff(few.exponent_ci95)[0] == pytest.approx(high - low, rel=0.25)


def test_equal_seeds_give_equal_intervals() -> None:
    one, same, other = (
        fit_envelope(curves(noise=0.01), points=200, resamples=50, seed=seed).laws["params"]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one.exponent_ci95 != other.exponent_ci95


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(12)), shift=st.floats(-1, 1), unit=st.floats(1e-6, 1e6))
def test_order_a_constant_and_units_move_what_theory_says(
    order: list[int], shift: float, unit: float
) -> None:
    """Truth: a constant in the loss moves no optimum; tokens in other units move the coefficient alone."""
    runs = curves(12)
    changed = [replace(runs[i], tokens=unit * runs[i].tokens, loss=runs[i].loss + shift) for i in order]
    before, after = (fit_envelope(those, points=100, resamples=0) for those in (runs, changed))
    assert np.array_equal(before.run_id, after.run_id)
    for axis, factor in (("tokens", unit), ("params", 1.0)):
        assert after.laws[axis].exponent == pytest.approx(before.laws[axis].exponent, abs=1e-9)
        assert after.laws[axis].coefficient == pytest.approx(factor * before.laws[axis].coefficient, rel=1e-6)


def test_runs_of_other_lengths_are_compared_where_they_overlap() -> None:
    """Truth: a run that has ended, or has not begun, is not ahead."""
    runs = curves()
    short = [
        replace(run, **{name: getattr(run, name)[:200] for name in ("flops", "tokens", "loss")})
        for run in runs
    ]
    envelope = fit_envelope([*short[:12], *runs[12:]], resamples=0)
    ended = {f"run {i}" for i in range(12)}
    assert not ended & set(envelope.run_id[envelope.flops > 1.001 * short[0].flops[-1]])


def test_a_curve_of_one_point_is_set_aside() -> None:
    point = Curve("dot", 1e9, np.array([1e20]), np.array([1e9]), np.array([1.0]))
    envelope: Envelope = fit_envelope([*curves(), point], points=100, resamples=0)
    assert [(item.run_id, item.reason) for item in envelope.set_aside] == [
        ("dot", "a curve of a single point")
    ]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "of 0 curves with 2 points and more nowhere 3 sizes overlap"),
        (curves(2), "nowhere 3 sizes overlap"),
        ([replace(run, loss=np.full(400, 3.0)) for run in curves(5)], "fewer than 2 sizes are ever ahead"),
        (curves(3), "fewer than 2 sizes are ever ahead"),
    ],
)
def test_curves_that_give_no_law_are_refused(runs: list[Curve], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit_envelope(runs, points=50)
