"""What this machine can do: its devices and their peaks."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from fit.errors import UserError
from fit.gpus import Gpu as TableGpu
from fit.gpus import find_gpu, known_gpus
from scaling_runs.bench.profile import Profile
from scaling_runs.bench.rates import Rates

MFU = (
    (130e6, 0.308),
    (362e6, 0.339),
    (770e6, 0.348),
    (1.33e9, 0.377),
    (2.67e9, 0.403),
    (6.68e9, 0.371),
)
"""By parameters: GPTs on 8 H100s in windows of 8,192 tokens, sharded; the last recomputes activations (MosaicML,
llm-foundry, scripts/train/benchmarking). The first two were measured on A100s alone, and are scaled by what 770M lose
from A100 to H100. Llama 3 reports 38 to 43% for 405B (arXiv 2407.21783, table 4)."""
MFU_OF_A100 = (
    (130e6, 0.489),
    (362e6, 0.538),
    (770e6, 0.553),
    (1.33e9, 0.567),
    (2.67e9, 0.593),
    (6.68e9, 0.545),
    (12.9e9, 0.561),
)
"""From the same tables, of 8 A100s."""


@dataclass(frozen=True)
class Gpu:
    """What a sweep plans by, of `fit/gpus.yaml`: peaks of dense matrix products, without sparsity, memory and price."""

    bf16_flops_per_s: float
    tf32_flops_per_s: float
    """Of fp32 numbers multiplied as TF32, which is how fp32 cells train on a GPU."""
    memory_bytes: float
    hour_price: float | None
    """US dollars an hour on demand, where one is known; `gpu_hour_price` has your own."""
    device: str
    """What torch's name of the device holds, in lower case."""
    mfu: tuple[tuple[float, float], ...] = MFU
    """(parameters, share of the bf16 peak that training reaches); an H100's where nobody printed another."""
    rates: Rates | None = None
    """What a profile of such a machine says, in place of `mfu`."""


MFU_OF = {"a100": MFU_OF_A100, "a800": MFU_OF_A100}


def _planned(known: TableGpu) -> Gpu | None:
    """None for a card that cells can't train on: no peak in bf16 or TF32, or no name under which torch knows it."""
    if known.device is None or known.memory_gb is None or not {"bf16", "tf32"} <= set(known.tflops):
        return None
    return Gpu(
        known.peak_flops_per_s("bf16"),
        known.peak_flops_per_s("tf32"),
        known.memory_gb * 1e9,
        known.hour_price,
        known.device,
        MFU_OF.get(known.name, MFU),
    )


def measured_gpu(profile: Profile, gpus: int) -> Gpu:
    """The card of a profile, `gpus` of which train side by side. UserError where its memory is not told."""
    if profile.memory_bytes is None:
        raise UserError(
            f"the profile of '{profile.machine}' does not say how much memory a GPU has; make it anew by "
            f"python -m scaling_runs bench"
        )
    known = _by_device_name(profile.machine)
    peaks = profile.peak_flops_per_s
    return Gpu(
        peaks.get("bf16", 0.0),
        peaks.get("fp32", 0.0),
        profile.memory_bytes,
        None if known is None else known.hour_price,
        profile.machine.lower(),
        rates=Rates(profile, gpus),
    )


GPUS = {name: planned for name, known in known_gpus().items() if (planned := _planned(known)) is not None}
GPUS_A_NODE = 8


def mfu(params: float, measured: tuple[tuple[float, float], ...] = MFU) -> float:
    """Share of a GPU's peak that training reaches, even in log of all parameters between those `measured`."""
    sizes, shares = zip(*measured, strict=True)
    return float(np.interp(math.log(params), np.log(sizes), shares))


def gpu(name: str) -> Gpu:
    """A GPU by a name that it goes by. UserError names those near it, or all."""
    table = known_gpus()
    return GPUS[find_gpu(name, {one: table[one] for one in GPUS}, "hardware").name]


def workers() -> int:
    """Cells that this machine trains side by side: one a GPU, or one a core."""
    return torch.cuda.device_count() if torch.cuda.is_available() else available_cores()


def available_cores() -> int:
    """Cores that this process may use, which a container or a batch job may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def peak_flops_per_s(device: str, precision: str) -> float:
    """The device's matrix-product peak: the maker's figure for a known GPU, else measured with the threads in use."""
    if device.startswith("cuda"):
        known = _by_device_name(torch.cuda.get_device_name(device))
        if known is not None:
            return known.bf16_flops_per_s if precision == "bf16" else known.tf32_flops_per_s
    return _measured_once(device, precision, torch.get_num_threads())


def _by_device_name(name: str) -> Gpu | None:
    """As torch names it. The longest name is the nearest: an H100 PCIe is also an H100."""
    here = [known for known in GPUS.values() if known.device in name.lower()]
    return max(here, key=lambda one: len(one.device), default=None)


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
