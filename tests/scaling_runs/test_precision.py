"""Which precision a plan's cells train in where nobody says."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from scaling_runs import precision
from scaling_runs.config import Config
from scaling_runs.estimate import Estimate
from scaling_runs.launchers import ONE_BY_ONE, SideBySide
from scaling_runs.plan import Plan, plan_sweep
from scaling_runs.precision import MIN_GAIN, chosen_precision
from scaling_runs.spec import Precision
from scaling_runs.store import Store
from tests.configs import LOCAL_CORPUS, config_of


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_of("sweep=isoflop_tiny", f"store={tmp_path}")


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds of a plan in each precision, on a CPU whose bf16 products are twice as fast."""
    seconds = {"fp32": 10.0, "bf16": 5.0}

    def estimate(plan: Plan, config: Config, side_by_side: SideBySide) -> Estimate:
        (name,) = {cell.spec.precision for cell in plan.cells}
        return Estimate({}, seconds[name], 1, "")

    monkeypatch.setattr(precision, "estimate_plan", estimate)
    monkeypatch.setattr(precision, "_has_bf16_products", lambda: True)
    monkeypatch.setattr(precision, "default_precision", lambda: "fp32")
    monkeypatch.setattr(precision, "kernels", lambda name: object())
    return seconds


def chosen(config: Config) -> Precision:
    return chosen_precision(config, lambda name: plan_sweep(config, LOCAL_CORPUS, name), ONE_BY_ONE)


def test_bf16_is_chosen_where_the_whole_plan_gains_enough_by_it(
    config: Config, speeds: dict[str, float]
) -> None:
    """Truth: the ratio of the plan's seconds, below and above the least gain."""
    for gain, expected in ((0.5, "fp32"), (0.99 * MIN_GAIN, "fp32"), (1.01 * MIN_GAIN, "bf16"), (3, "bf16")):
        speeds["bf16"] = speeds["fp32"] / gain
        assert chosen(config) == expected


@pytest.mark.parametrize("begun_in", get_args(Precision))
@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_what_was_begun_goes_on_in_its_precision_whatever_a_trial_says(
    config: Config, speeds: dict[str, float], begun_in: Precision, gain: float
) -> None:
    """Truth: the cell in the store. A sweep that was killed is not to be trained anew because a machine was busy."""
    speeds["bf16"] = speeds["fp32"] / gain
    Store(Path(config.store)).add(plan_sweep(config, LOCAL_CORPUS, begun_in).cells[0].spec)
    assert chosen(config) == begun_in


def test_a_cpu_without_bf16_products_several_threads_or_no_compiler_mean_fp32(
    config: Config, speeds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: none of them has native code in bf16, or any use for it."""
    assert chosen(config) == "bf16"
    with monkeypatch.context() as without:
        without.setattr(precision, "_has_bf16_products", lambda: False)
        assert chosen(config) == "fp32"
    with monkeypatch.context() as without:
        without.setattr(precision, "kernels", lambda name: None)
        assert chosen(config) == "fp32"
    with monkeypatch.context() as with_ranks:
        with_ranks.setenv("WORLD_SIZE", "2")
        assert chosen(config) == "fp32"
    config.threads = 2
    assert chosen(config) == "fp32"


def test_bf16_products_are_asked_of_the_cpu_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: simulated speeds on both sides of the least gain."""
    for gain, expected in ((0.05, False), (1.0, False), (2.0, True)):
        monkeypatch.setattr(
            precision,
            "measured_matmul_flops_per_s",
            lambda device, name, *size, gain=gain: 1e9 * (gain if name == "bf16" else 1),
        )
        assert precision._has_bf16_products() == expected


def test_the_choice_of_this_machine_is_one_of_the_two(config: Config) -> None:
    """Truth: the real trials, on whatever machine this is."""
    assert chosen(config) in get_args(Precision)
