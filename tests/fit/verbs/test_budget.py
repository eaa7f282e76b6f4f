"""`python -m fit budget`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fit.conftest import Run

CLUSTER = ["--gpus", "100", "--tflops", "210"]


def test_a_hundred_gpus_for_a_month_are_their_flops_however_the_time_is_said(fit: Run) -> None:
    """Truth: 100 x 210e12 x 30 x 86,400."""
    days = fit("budget", *CLUSTER, "--days", 30)
    assert days.out.startswith("5.44e+22 FLOPs: 100 GPUs at 210 TFLOP/s each for 720 hours")
    assert fit("budget", *CLUSTER, "--hours", 720).out == days.out
    half = fit("budget", *CLUSTER, "--days", 60, "--hours", "12/day").out
    assert half.startswith("5.44e+22 FLOPs: 100 GPUs at 210 TFLOP/s each for 720 hours")
    assert "60 days of 12 hours on 100" in half


def test_flops_say_what_they_take_and_what_they_take_says_the_flops(fit: Run) -> None:
    """Truth: the same budget from either side."""
    one = ["--gpu", "h100", "--mfu", "0.4", "--gpus", "100", "--hours", "12/day"]
    there = fit("budget", *one, "--days", 30).out
    assert there.startswith("5.13e+22 FLOPs")
    back = fit("budget", *one, "--flops", "5.126976e22").out
    assert there == back


def test_money_buys_gpu_hours(fit: Run) -> None:
    """Truth: $50,000 at $3 are 16,667 hours of 395.6e12 x 3600 FLOPs: 2.37e22."""
    said = fit("budget", "--gpu", "h100", "--mfu", "0.4", "--price", "50000")
    assert said.out.startswith("2.37e+22 FLOPs: 16,667 GPU-hours")
    dearer = fit("budget", "--gpu", "h100", "--mfu", "0.4", "--price", "50000", "--hour-price", "6")
    assert dearer.out.startswith("1.19e+22 FLOPs")


def test_the_share_of_the_peak_that_is_assumed_is_said(fit: Run) -> None:
    said = fit("budget", "--gpu", "a800", "--gpus", "100", "--days", "30")
    assert "40% of 312 TFLOP/s, a800's dense bf16 peak: what large models reach; --mfu has yours" in said.out
    assert "no price of an a800's hour was found; give --hour-price" in said.out


def test_ones_own_table_is_used(fit: Run, tmp_path: Path) -> None:
    """Truth: 500e12 x 0.5 x 3600 in an hour of one."""
    table = tmp_path / "mine.yaml"
    table.write_text("nova: {tflops: {bf16: 500}, watts: 1000, hour_price: 2}\n")
    said = fit(
        "budget", "--gpu", "nova", "--gpu-table", table, "--mfu", 0.5, "--gpus", 1, "--hours", 1, "--pue", 1
    )
    assert said.out.startswith("9e+17 FLOPs")
    assert "$2 at $2.00" in said.out
    assert "1 kWh" in said.out
    assert "nova " in fit("budget", "--list-gpus", "--gpu", "nova", "--gpu-table", table).out


def test_the_gpus_are_listed(fit: Run) -> None:
    said = fit("budget", "--list-gpus")
    assert (said.code, said.error) == (0, "")
    assert "NVIDIA H100 SXM" in said.out


BAD: list[tuple[list[str], str]] = [
    ([], "nothing says what there is to spend; give --flops, or a cluster"),
    (CLUSTER, "a cluster is named but not how much of it there is; give --days, --hours or --price"),
    (["--gpus", "-100", "--tflops", "210", "--days", "30"], "'-100' must be positive"),
    (["--gpus", "0", "--tflops", "210", "--days", "30"], "'0' must be positive"),
    ([*CLUSTER, "--days", "0"], "'0' must be positive"),
    ([*CLUSTER, "--days", "-3"], "'-3' must be positive"),
    ([*CLUSTER, "--days", "many"], "'many' is no number"),
    ([*CLUSTER, "--days", "30", "--hours", "720"], "--days and --hours each set how much there is to spend"),
    ([*CLUSTER, "--days", "30", "--hours", "30/day"], "'30/day' is more than a day has; give 24/day at most"),
    ([*CLUSTER, "--days", "30", "--hours", "0/day"], "'0' must be positive"),
    ([*CLUSTER, "--days", "30", "--hours", "9/week"], "'9/week' is no number of hours; write 720, or 12/day"),
    ([*CLUSTER, "--hours", "12/day"], "--hours 12/day says nothing without --days"),
    ([*CLUSTER, "--days", "30", "--price", "100"], "--days and --price each set how much"),
    ([*CLUSTER, "--days", "30", "--flops", "1e22"], "--flops and --days each set how much"),
    (["--gpu", "h1000", "--gpus", "8", "--days", "3"], "--gpu 'h1000' is unknown; did you mean h100"),
    (["--gpu", "a800", "--price", "100"], "no price an hour is known of 'a800'"),
    (["--gpu", "tpu-v4", "--price", "100"], "no price an hour is known of 'tpu-v4'"),
    (["--gpus", "8", "--days", "3"], "how fast a GPU is has not been said"),
    (["--gpu", "h100", "--days", "3"], "a time is given but not of how many GPUs; give --gpus"),
    (["--flops", "1e22"], "1e+22 FLOPs are given but not how fast a GPU is"),
    (["--gpu", "h100", "--mfu", "40", "--gpus", "8", "--days", "3"], "--mfu is 40; it is a share"),
    (
        ["--gpu", "h100", "--tflops", "2000", "--gpus", "8", "--days", "3"],
        "--tflops 2000 is above 989 TFLOP/s",
    ),
    (["--gpu", "v100", "--precision", "bf16", "--gpus", "8", "--days", "3"], "'v100' has no peak in bf16"),
    (
        ["--gpus", "1e60", "--tflops", "1e60", "--days", "1"],
        "FLOPs; a positive number up to 1e+100 is expected",
    ),
    (["--gpus", "1e200", "--tflops", "1e200", "--days", "1"], "'1e200' is no number to"),
    ([*CLUSTER, "--days", "1", "--pue", "0.5"], "--pue is 0.5; a data centre draws no less"),
    (["--gpu-table", "none.yaml", *CLUSTER, "--days", "1"], "--gpu-table is given without --gpu"),
    (
        ["--gpu-table", "none.yaml", "--gpu", "h100", "--gpus", "1", "--days", "1"],
        "'none.yaml' can't be read",
    ),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=lambda item: " ".join(item)[:60])
def test_a_mistake_is_one_sentence_and_exit_code_2(fit: Run, options: list[str], message: str) -> None:
    said = fit("budget", *options)
    assert (said.code, said.out, said.error.count("\n")) == (2, "", 1)
    assert message in said.error
