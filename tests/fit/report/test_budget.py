"""Budgets and GPUs as text."""

from __future__ import annotations

from fit.budget import Budget, machine
from fit.gpus import known_gpus
from fit.report.budget import render_budget, render_gpus


def test_a_budget_says_hours_days_money_and_energy_with_what_they_rest_on() -> None:
    """Truth: 36,000 GPU-hours of 395.6 TFLOP/s, $108,000 at $3, and 39,312 kWh of 700 W at a PUE of 1.56."""
    one = machine(known_gpus()["h100"], mfu=0.4)
    text = render_budget(Budget(395.6e12 * 36_000 * 3600, one, 100, hours_a_day=12))
    for part in (
        "5.13e+22 FLOPs: 100 GPUs at 395.6 TFLOP/s (40% of 989 TFLOP/s, h100's dense bf16 peak)",
        "36,000, 30 days of 12 hours on 100",
        "$108,000 at $3.00 a GPU-hour (mercatus-ai.com",
        "39,312 kWh: 700 W a GPU, without its host, x PUE 1.56",
    ):
        assert part in text


def test_what_is_not_known_says_what_would_tell_it() -> None:
    text = render_budget(Budget(1e22, machine(known_gpus()["a800"])))
    assert "money      not known: no price of an a800's hour was found; give --hour-price" in text
    assert "days with --gpus" in text
    bare = render_budget(Budget(1e22, machine(None, tflops=210)))
    assert "energy     not known: which GPU is not said; give --gpu" in bare


def test_every_gpu_is_listed_with_its_source() -> None:
    text = render_gpus(known_gpus())
    for gpu in known_gpus().values():
        assert gpu.source in text
        assert gpu.title in text
    assert "tpu-v5e    Google Cloud, TPU v5e; no price found" in text
