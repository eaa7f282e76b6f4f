"""FLOPs, GPU-hours, days, money and energy, each from the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.budget import Budget, Machine, flops_of_price, flops_of_time, machine
from fit.errors import UserError
from fit.gpus import known_gpus

H100 = known_gpus()["h100"]


def test_a_cluster_for_a_month_is_its_flops() -> None:
    """Truth: 100 x 210e12 x 30 x 86,400 = 5.44e22."""
    one = machine(None, tflops=210)
    assert one is not None
    assert flops_of_time(one, 100, 30 * 24) == pytest.approx(5.4432e22)


def test_an_h100_at_four_tenths_of_its_peak_by_hand() -> None:
    """Truth: 0.4 x 989e12 = 395.6e12 FLOPs/s; 100 of them for 30 days of 12 hours are 36,000 GPU-hours: 5.127e22 FLOPs,
    $108,000 at $3, and 0.7 kW x 36,000 h x 1.2 = 30,240 kWh."""
    one = machine(H100, mfu=0.4)
    assert one is not None
    assert one.flops_per_s == pytest.approx(395.6e12)
    budget = Budget(flops_of_time(one, 100, 30 * 12), one, 100, hours_a_day=12, pue=1.2)
    assert budget.flops == pytest.approx(395.6e12 * 36_000 * 3600)
    assert budget.gpu_hours == pytest.approx(36_000)
    assert budget.days == pytest.approx(30)
    assert budget.price == pytest.approx(108_000)
    assert budget.kwh == pytest.approx(30_240)


def test_money_buys_gpu_hours_and_they_flops() -> None:
    """Truth: $50,000 at $2.50 are 20,000 GPU-hours, at 200 TFLOP/s 1.44e22 FLOPs."""
    one = machine(None, tflops=200, hour_price=2.5)
    assert one is not None
    flops = flops_of_price(one, 50_000)
    assert flops == pytest.approx(20_000 * 3600 * 200e12)
    assert Budget(flops, one).price == pytest.approx(50_000)


@given(st.floats(1, 1e5), st.floats(1, 1e4), st.floats(0.01, 1))
def test_a_budget_gives_back_what_it_was_made_of(gpus: float, hours: float, mfu: float) -> None:
    one = machine(H100, mfu=mfu)
    assert one is not None
    budget = Budget(flops_of_time(one, gpus, hours), one, gpus)
    assert budget.gpu_hours == pytest.approx(gpus * hours)
    assert budget.days == pytest.approx(hours / 24)


def test_ones_own_price_and_rate_come_before_the_tables() -> None:
    one = machine(H100, tflops=400, hour_price=2.0)
    assert one is not None
    assert (one.flops_per_s, one.hour_price, one.watts) == (400e12, 2.0, 700)
    assert "40% of 989" in one.how


def test_what_is_not_known_is_none_and_not_zero() -> None:
    """Truth: no price of an A800 was found, nor is a GPU known by its speed alone."""
    a800 = machine(known_gpus()["a800"])
    assert a800 is not None
    assert Budget(1e20, a800).price is None
    assert Budget(1e20, Machine(1e14, "")).kwh is None
    assert (Budget(1e20).gpu_hours, Budget(1e20, a800).days) == (None, None)
    assert machine(None) is None


def test_numbers_that_contradict_each_other_are_refused() -> None:
    for options, message in (
        ({"gpu": H100, "tflops": 100.0, "mfu": 0.4}, "give one of them"),
        ({"gpu": H100, "mfu": 40.0}, "--mfu is 40; it is a share of the peak"),
        ({"gpu": H100, "tflops": 1000.0}, "--tflops 1000 is above 989 TFLOP/s"),
        ({"gpu": None, "mfu": 0.4}, "no GPU is named"),
        ({"gpu": None, "tflops": 1.0, "precision": "fp8"}, "no GPU is named"),
    ):
        with pytest.raises(UserError) as refused:
            machine(**options)  # type: ignore[arg-type]
        assert message in str(refused.value)


def test_a_budget_past_all_numbers_is_refused() -> None:
    one = Machine(1e99, "")
    with pytest.raises(UserError, match=r"GPUs x FLOPs a second x time, is 3\.6e\+108 FLOPs"):
        flops_of_time(one, 1e3, 1e3)
    with pytest.raises(UserError, match="no price an hour is known of this GPU"):
        flops_of_price(one, 1e3)
