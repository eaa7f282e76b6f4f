"""How long one training step takes on a device: what a plan's trials and the hardware bench both time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from scaling_runs.optim import build_optimizers
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.train import TrainStep, next_token_loss

TRIAL_S = 0.12
"""Seconds of steps that are timed for a plan, after one to warm up."""
MIN_STEPS, MAX_STEPS = 3, 50
CUDA_WARM_UP, CUDA_BLOCK = 3, 10
"""Steps: `torch.compile` and the allocator settle in the first; the others are queued in blocks, as training does."""


@dataclass(frozen=True)
class Steady:
    """A thing that was done several times."""

    seconds: float
    """Of one time: the lower quartile, which now and then a slow one does not move."""
    times: int
    """How often, with those that warmed up."""


class StepTimer:
    """A cell of `spec` that trains on random tokens for as long as it is timed."""

    def __init__(self, spec: CellSpec, runtime: Runtime) -> None:
        from models.factory import build_model  # loads transformers, for whose seconds only a trial need wait
        from models.loss import NextTokenLoss

        self.spec, self.runtime = spec, runtime
        how = {"seq_len": spec.seq_len, "seed": 0, "init_std": spec.recipe.init_std}
        model = build_model(spec.shape, **how, device=runtime.device)  # type: ignore[arg-type]
        self.network = runtime.wrap(NextTokenLoss(model))
        optimizers = build_optimizers(model, spec.recipe)
        self.train_step = TrainStep(self.network, optimizers, replace(spec, steps=MAX_STEPS), runtime)
        self.windows = _windows(spec, spec.recipe.batch_size)

    def step(self) -> None:
        self.train_step(self.windows, 1)

    def steps(self, for_s: float = TRIAL_S, at_most: int = MAX_STEPS) -> Steady:
        """Optimiser steps for about `for_s` seconds."""
        return steady(self.step, self.runtime.device, for_s=for_s, at_most=at_most)

    @torch.no_grad()
    def eval_token_s(self) -> float:
        """Seconds of an evaluated token."""
        rows = torch.from_numpy(_windows(self.spec, max(1, self.runtime.eval_tokens // self.spec.seq_len)))
        rows = rows.to(self.runtime.device)
        once = steady(
            lambda: next_token_loss(self.network, rows, self.spec, self.runtime),
            self.runtime.device,
            at_least=1,
            for_s=0,
        )
        return once.seconds / (len(rows) * self.spec.seq_len)


def _windows(spec: CellSpec, rows: int) -> np.ndarray:
    return np.random.default_rng(0).integers(spec.shape.vocab_size, size=(rows, spec.seq_len + 1))


def steady(
    act: Callable[[], object],
    device: str,
    *,
    at_least: int = MIN_STEPS,
    at_most: int = MAX_STEPS,
    for_s: float = TRIAL_S,
) -> Steady:
    """`act`, once to warm up and then `at_least` times or as many as `for_s` seconds hold, `at_most` at most.

    On a CPU the clock is that of this thread's work, so that it stands still while another process has the core. On a
    GPU events in its own queue bound a block of acts, so that none waits for the one before to be read.
    """
    once, clock, warm_up = 1, _thread_s, 1
    if device.startswith("cuda"):
        once, clock, warm_up = CUDA_BLOCK, _event_s, CUDA_WARM_UP
    for _ in range(warm_up):
        act()
    times: list[float] = []
    until = time.monotonic() + for_s
    while len(times) < at_least or (time.monotonic() < until and len(times) < at_most):
        times.append(clock(act, once) / once)
    return Steady(sorted(times)[len(times) // 4], warm_up + once * len(times))


def _thread_s(act: Callable[[], object], times: int) -> float:
    started = time.thread_time()
    for _ in range(times):
        act()
    return time.thread_time() - started


def _event_s(act: Callable[[], object], times: int) -> float:
    """On the current GPU."""
    started, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    started.record()
    for _ in range(times):
        act()
    ended.record()
    ended.synchronize()
    return started.elapsed_time(ended) / 1e3


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch computes with `count` threads inside, and after it with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
