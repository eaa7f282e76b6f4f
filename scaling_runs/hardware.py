"""What this machine can do: its devices and their peaks."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cache

import torch

from fit.errors import UserError


@dataclass(frozen=True)
class Gpu:
    """Peaks of dense matrix products as the makers print them, without sparsity."""

    bf16_flops_per_s: float
    tf32_flops_per_s: float
    """Of fp32 numbers multiplied as TF32, which is how fp32 cells train on a GPU."""
    memory_bytes: float


GPUS = {
    "a100": Gpu(312e12, 156e12, 80e9),  # NVIDIA A100 80GB data sheet
    "h100": Gpu(989e12, 494.5e12, 80e9),  # NVIDIA H100 SXM data sheet
    "h200": Gpu(989e12, 494.5e12, 141e9),  # NVIDIA H200 SXM data sheet
}
TYPICAL_MFU = 0.4
"""Llama 3 reports 38 to 43% on H100s (arXiv 2407.21783, table 4)."""


def gpu(name: str) -> Gpu:
    """A GPU by its short name. UserError lists those that are known."""
    if name not in GPUS:
        raise UserError(f"hardware '{name}' is unknown; choose one of {', '.join(GPUS)}")
    return GPUS[name]


def workers() -> int:
    """Cells that this machine trains side by side: one a GPU, or one a core."""
    return torch.cuda.device_count() if torch.cuda.is_available() else available_cores()


def available_cores() -> int:
    """Cores that this process may use, which a container or a batch job may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def peak_flops_per_s(device: str, precision: str) -> float:
    """The device's matrix-product peak: the maker's figure for a known GPU, else measured with the threads in use."""
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device).lower()
        for key, known in GPUS.items():
            if key in name:
                return known.bf16_flops_per_s if precision == "bf16" else known.tf32_flops_per_s
    return _measured_once(device, precision, torch.get_num_threads())


@cache
def _measured_once(device: str, precision: str, threads: int) -> float:
    """Measured once a process for each number of threads: a cell may train with fewer than planned it."""
    return measured_matmul_flops_per_s(device, precision)


def measured_matmul_flops_per_s(device: str, precision: str, size: int = 1024, repeats: int = 5) -> float:
    """Best of `repeats` products of two square matrices: FLOPs per second."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    square = torch.ones(size, size, device=device, dtype=dtype)
    best_s = float("inf")
    for _ in range(repeats + 1):
        started = time.perf_counter()
        product = square @ square
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        best_s = min(best_s, time.perf_counter() - started)
        del product
    return 2 * size**3 / best_s
