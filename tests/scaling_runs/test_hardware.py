"""What machines can do."""

from __future__ import annotations

import os
import time

import pytest
import torch

from fit.errors import UserError
from scaling_runs import hardware
from scaling_runs.hardware import (
    GPUS,
    MFU,
    available_cores,
    gpu,
    measured_matmul_flops_per_s,
    mfu,
    peak_flops_per_s,
    workers,
)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_measured_peak_is_no_less_than_any_product_that_is_timed_by_hand(precision: str) -> None:
    """Truth: FLOPs of a product by the clock, at a size that leaves some speed unused; and no CPU does 100 TFLOP/s."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    small = torch.ones(256, 256, dtype=dtype)
    started = time.perf_counter()
    for _ in range(3):
        small @ small
    by_hand = 3 * 2 * 256**3 / (time.perf_counter() - started)
    peak = measured_matmul_flops_per_s("cpu", precision, size=512)
    assert by_hand / 3 < peak < 1e14


def test_the_peak_is_measured_once_for_each_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: the thread counts at which it was measured: a cell of one thread must not take the peak of two."""
    measured: list[int] = []

    def measure(device: str, precision: str) -> float:
        measured.append(torch.get_num_threads())
        return 1e9 * torch.get_num_threads()

    monkeypatch.setattr(hardware, "measured_matmul_flops_per_s", measure)
    hardware._measured_once.cache_clear()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1, 2):
            torch.set_num_threads(threads)
            assert peak_flops_per_s("cpu", "fp32") == 1e9 * threads
    finally:
        torch.set_num_threads(before)
        hardware._measured_once.cache_clear()
    assert measured == [1, 2]


def test_a_gpu_is_known_by_its_short_name_and_an_unknown_one_is_told_the_known() -> None:
    assert gpu("h100") is gpu("H100-SXM") is GPUS["h100"]
    with pytest.raises(
        UserError, match=r"^hardware 'quantum' is unknown; choose one of a100, a800, h100, h100-pcie"
    ):
        gpu("quantum")


def test_only_cards_that_cells_can_train_on_are_planned_for() -> None:
    """Truth: a V100 multiplies neither bf16 nor TF32 numbers, and torch names no TPU as a CUDA device."""
    assert {"v100", "mi250x", "tpu-v4"}.isdisjoint(GPUS)
    assert {"a800", "mi300x", "rtx4090"} <= set(GPUS)


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16", 312e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", 156e12),
        ("NVIDIA H100 80GB HBM3", "bf16", 989e12),
        ("NVIDIA H100 80GB HBM3", "fp32", 494.5e12),
        ("NVIDIA H200", "bf16", 989e12),
        ("NVIDIA B200", "bf16", 2250e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA A800-SXM4-80GB", "bf16", 312e12),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2e12),
    ],
)
def test_a_known_gpus_peak_is_its_makers(
    name: str, precision: str, peak: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: NVIDIA's data sheets, dense; cells in fp32 multiply as TF32 there. The names are CUDA's own."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops_per_s("cuda:0", precision) == peak


def test_bf16_peaks_are_twice_those_of_tf32() -> None:
    """Truth: tensor cores multiply half as many TF32 numbers a clock as bf16 numbers, as printed to three digits."""
    for known in GPUS.values():
        assert known.bf16_flops_per_s == pytest.approx(2 * known.tf32_flops_per_s, rel=0.015)


def test_utilisation_is_that_of_the_nearest_sizes_that_were_measured() -> None:
    """Truth: MosaicML's measurements themselves, what lies between two of them, and no guess beyond the ends."""
    for size, share in MFU:
        assert mfu(size) == pytest.approx(share)
    assert MFU[3][1] < mfu(1.9e9) < MFU[4][1]
    assert mfu(1.33e9, GPUS["a100"].mfu) == pytest.approx(0.567)
    assert (mfu(1e6), mfu(16e9)) == (MFU[0][1], MFU[-1][1])


def test_there_is_a_worker_for_each_core_that_this_process_may_use() -> None:
    """Truth: the scheduler's own mask, narrowed to one core and put back."""
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    if not hasattr(os, "sched_setaffinity"):
        return
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert available_cores() == 1
        assert workers() == (torch.cuda.device_count() or 1)
    finally:
        os.sched_setaffinity(0, mine)
