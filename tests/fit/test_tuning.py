"""Sweeps of learning rate and batch inside a cell: the tuned loss counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fit.isoflop import fit_isoflop
from fit.table import RunTable
from fit.tuning import tuned
from tests.simulated import BUDGETS, parabolas, table


def swept(runs: RunTable, extra: dict[float, float], seeds: int = 1, noise: float = 0.0) -> RunTable:
    """Each run once a learning rate and seed, its loss higher by the number beside the rate and by noise, nats."""
    count = len(extra) * seeds
    columns = (np.tile(getattr(runs, name), count) for name in ("budget", "params", "tokens"))
    rates = np.repeat(list(extra), seeds * len(runs))
    loss = np.tile(runs.loss, count) + np.repeat(list(extra.values()), seeds * len(runs))
    loss = loss + noise * np.random.default_rng(3).standard_normal(len(loss))
    seed = np.tile(np.repeat(np.arange(float(seeds)), len(runs)), len(extra))
    return table(*columns, loss, optional={"lr": rates, "seed": seed})


SWEEP = {1e-3: 0.1, 2e-3: 0.0, 4e-3: 0.2}


def test_a_sweep_of_learning_rates_gives_the_laws_of_the_best_and_is_no_seed_noise() -> None:
    """Truth: the fit of the table that was trained at the best rate alone."""
    runs = parabolas(noise=0.002)
    fit, best = fit_isoflop(swept(runs, SWEEP), resamples=50), fit_isoflop(runs, resamples=50)
    assert fit.seed_noise is None
    assert fit.loss_law.predict(1e20) == best.loss_law.predict(1e20)
    assert fit.laws["tokens"] is not None
    assert best.laws["tokens"] is not None
    assert fit.laws["tokens"].exponent_ci95 == best.laws["tokens"].exponent_ci95
    reason = "another lr gives the same budget, params and tokens a lower loss"
    assert [(item.reason, item.kind) for item in fit.set_aside] == [(reason, "untuned")] * 70
    assert "70 runs differ from a better one" in fit.table.notes[0]


def test_with_several_seeds_the_best_rate_is_by_their_mean_and_all_its_seeds_stay() -> None:
    """Truth: noise of 0.002 nats, by which single runs of the second-best rate win here and there."""
    runs = tuned(swept(parabolas(), {1e-3: 0.004, 2e-3: 0.0}, seeds=8, noise=0.002))
    assert set(runs.optional["lr"]) == {2e-3}
    assert len(runs) == 8 * 35
    noise = fit_isoflop(runs, resamples=0).seed_noise
    assert noise is not None
    assert noise.sd == pytest.approx(0.002, rel=0.15)


def test_a_rate_of_its_own_for_each_size_touches_nothing() -> None:
    """The normal case: lr scaled with size; and tokens that batches round are one cell, other sizes are not."""
    runs = parabolas()
    own = replace(runs, optional={"lr": 1 / np.sqrt(runs.params), "batch_tokens": runs.tokens / 1e3})
    assert tuned(own) is own
    near = replace(runs, tokens=runs.tokens[0] * (1 + 0.01 * np.arange(35)), params=np.full(35, 1e8))
    assert len(tuned(replace(near, optional={"lr": np.arange(1.0, 36.0)}))) == 35


def test_sizes_that_lie_close_to_each_other_are_no_sweep() -> None:
    """Truth: 3,000 sizes a budget, 0.1% apart and less, each with a learning rate of its own."""
    runs = parabolas(sizes=3000, budgets=(1e18, 1e19))
    own = replace(runs, optional={"lr": 1 / np.sqrt(runs.params)})
    assert tuned(own) is own


def test_a_batch_that_rounds_the_tokens_is_the_same_cell() -> None:
    runs = parabolas()
    both = table(
        *(np.tile(getattr(runs, name), 2) for name in ("budget", "params")),
        np.concatenate([runs.tokens, runs.tokens * (1 + 2e-4)]),
        np.concatenate([runs.loss, runs.loss - 0.01]),
        optional={"batch_tokens": np.repeat([1e5, 2e5], 35)},
    )
    left = tuned(both)
    assert set(left.optional["batch_tokens"]) == {2e5}
    assert {item.reason.split(" gives")[0] for item in left.set_aside} == {"another batch_tokens"}


def test_not_to_say_a_rate_is_a_setting_of_its_own() -> None:
    """A cell's run without a rate, worse than the best that names one, is no repeat of it. Truth: the best rate's runs.

    Nor does a second column that most rows leave empty keep them from being judged.
    """
    runs = swept(parabolas(), SWEEP)
    best = list(tuned(runs).run_id)
    rates = np.where(runs.optional["lr"] == 4e-3, np.nan, runs.optional["lr"])
    assert list(tuned(replace(runs, optional={"lr": rates})).run_id) == best
    batches = np.full(len(runs), np.nan)
    batches[runs.budget == BUDGETS[0]] = 1e5
    both = {"lr": runs.optional["lr"], "batch_tokens": batches}
    assert list(tuned(replace(runs, optional=both)).run_id) == best
