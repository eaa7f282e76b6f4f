"""How long a plan will take: a short timed trial of each shape here, or a peak and a utilisation elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from models.factory import build_model
from models.flops import forward_flops_per_token, train_flops_per_token
from scaling_runs.config import Config
from scaling_runs.hardware import TYPICAL_MFU, gpu, peak_flops_per_s, workers
from scaling_runs.optim import build_optimizers
from scaling_runs.plan import Cell, Plan
from scaling_runs.runtime import Runtime, world_size
from scaling_runs.spec import CellSpec
from scaling_runs.train import (
    EVALUATIONS_ON_THE_WAY,
    PROBE_SHARE,
    TrainStep,
    next_token_loss,
)

TRIAL_STEPS = 4
TRIAL_MAX_STEP_FLOPS = 3e10
"""Larger steps would make a dry run slow; they are estimated from the peak."""


@dataclass(frozen=True)
class Estimate:
    """Seconds a cell, by cell id, and of the whole plan with cells side by side."""

    cell_s: dict[str, float]
    total_s: float
    side_by_side: int
    basis: str


def estimate_plan(plan: Plan, config: Config) -> Estimate:
    """Seconds that each cell and the whole plan will take, evaluations included."""
    hardware = config.sweep.hardware if config.sweep else None
    if hardware is not None and config.sweep is not None:
        rate = gpu(hardware).bf16_flops_per_s * TYPICAL_MFU * config.sweep.gpus
        cell_s = {cell.cell_id: _work(cell) / rate for cell in plan.cells}
        basis = (
            f"{config.sweep.gpus} x {hardware} at {TYPICAL_MFU:.0%} of its bf16 peak, one cell after another"
        )
        return Estimate(cell_s, sum(cell_s.values()), 1, basis)
    side_by_side = 1 if world_size() > 1 or len(plan.cells) == 1 else workers()
    seconds_a_cell = _Trials(config.threads)
    cell_s = {cell.cell_id: seconds_a_cell(cell) for cell in plan.cells}
    total_s = max(sum(cell_s.values()) / side_by_side, max(cell_s.values(), default=0.0))
    return Estimate(cell_s, total_s, side_by_side, f"a trial on this machine, {side_by_side} side by side")


def _eval_tokens(spec: CellSpec) -> float:
    return spec.val_tokens * (1 + EVALUATIONS_ON_THE_WAY / PROBE_SHARE)


def _work(cell: Cell) -> float:
    """FLOPs of training and of the evaluations."""
    spec = cell.spec
    training = spec.tokens * train_flops_per_token(spec.shape, spec.seq_len, "exact")
    return training + _eval_tokens(spec) * forward_flops_per_token(spec.shape, spec.seq_len)


class _Trials:
    """Times a few steps of each (shape, batch) once."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.known: dict[tuple[object, ...], tuple[float, float]] = {}

    def __call__(self, cell: Cell) -> float:
        spec = cell.spec
        step_flops = spec.batch_tokens * train_flops_per_token(spec.shape, spec.seq_len, "exact")
        if step_flops > TRIAL_MAX_STEP_FLOPS or torch.cuda.is_available():
            device = "cuda:0" if torch.cuda.is_available() else "cpu"
            return _work(cell) / (peak_flops_per_s(device, spec.precision) * TYPICAL_MFU)
        key = (spec.shape, spec.seq_len, spec.recipe.batch_size, spec.recipe.optimizer, spec.precision)
        if key not in self.known:
            self.known[key] = _trial(spec, self.threads)
        step_s, eval_token_s = self.known[key]
        return spec.steps * step_s + _eval_tokens(spec) * eval_token_s


def _trial(spec: CellSpec, threads: int) -> tuple[float, float]:
    """(seconds a step, seconds an evaluated token) on this CPU; the threads in use are left as they were."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        runtime = Runtime(precision=spec.precision)
        model = build_model(spec.shape, seq_len=spec.seq_len, seed=0, init_std=spec.recipe.init_std)
        step = TrainStep(
            model, build_optimizers(model, spec.recipe), replace(spec, steps=TRIAL_STEPS + 1), runtime
        )
        windows = torch.randint(spec.shape.vocab_size, (spec.recipe.batch_size, spec.seq_len + 1)).numpy()
        step(windows, 0)
        times = []
        for i in range(TRIAL_STEPS):
            started = time.perf_counter()
            step(windows, i + 1)
            times.append(time.perf_counter() - started)
        rows = torch.randint(
            spec.shape.vocab_size, (max(1, runtime.eval_tokens // spec.seq_len), spec.seq_len + 1)
        )
        started = time.perf_counter()
        with torch.no_grad():
            next_token_loss(model, rows, spec, runtime)
        eval_s = time.perf_counter() - started
    finally:
        torch.set_num_threads(threads_before)
    return sorted(times)[len(times) // 2], eval_s / (len(rows) * spec.seq_len)
