"""One cell, start to end: the loop reads like the algorithm; everything else is a named call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim import Optimizer

from scaling_runs.checkpoint import Progress
from scaling_runs.data import BatchReader, Corpus, mean_by_part, open_batches, validation_windows
from scaling_runs.meetings import Meetings
from scaling_runs.meter import Meter, finite
from scaling_runs.optim import set_lr
from scaling_runs.runtime import Runtime
from scaling_runs.sharding import whole
from scaling_runs.spec import CellSpec
from scaling_runs.stopping import Preempted
from scaling_runs.store import FINAL_LOSS, CellFolder, Record
from scaling_runs.trainee import trainee_of
from scaling_runs.trunk import Branch, Trunk

if TYPE_CHECKING:
    from models.native.llama import NativeLlama

EVALUATIONS_ON_THE_WAY = 4
PROBE_SHARE = 32
"""Evaluations on the way use 1/32 of the validation set (`val_loss_probe`); the final loss (`val_loss`) all of it."""


@dataclass(frozen=True)
class Result:
    """What a trained cell is worth."""

    loss: float
    """Nats a token on the whole fixed validation set."""
    loss_se: float | None
    """Standard error of `loss` over validation windows: that of the set, shared by all cells."""
    wall_s: float
    """Seconds of training, evaluations apart."""
    trained_tokens: int
    """Tokens trained on in that time: all, less those of the trunk that the cell went on from."""
    loss_of_parts: dict[str, float]
    """Of a mixture, the same on the windows of each part."""


def train_cell(
    spec: CellSpec,
    corpus: Corpus,
    folder: CellFolder,
    trunk: Trunk,
    runtime: Runtime,
    observe: Callable[[Record], None],
    keep: Callable[[torch.nn.Module, float], None] = lambda model, loss: None,
) -> Result:
    """Train `spec` from its last checkpoint, its trunk or nothing, whichever is furthest; returns its final loss.

    Every rank of `runtime` calls this with the same arguments; rank 0 alone writes into `folder`. `observe` sees
    each record of the curve: those of earlier attempts first, then each once it is written. `keep` is handed the model
    with its final loss. Raises CellFailed where the loss or the gradient is no number.
    """
    trainee = trainee_of(spec, runtime)
    progress = trainee.load(folder.checkpoint)
    validation = validation_windows(corpus, spec.seq_len, spec.val_tokens)
    step_fn = TrainStep(trainee.network, trainee.optimizers, spec, runtime)
    branch = Branch(trunk, spec, runtime)

    with ExitStack() as held:
        fork = held.enter_context(branch.climb(progress.step))
        if fork:
            progress = trainee.load(trunk.state(fork), must_exist=True)
            if runtime.is_main:
                folder.begin_curve(progress.curve)
        batches = held.enter_context(_batches(corpus, spec, progress, runtime))
        if runtime.is_main:
            folder.begin_training(progress.step, from_trunk=bool(fork))
        record = held.enter_context(
            folder.metrics(up_to_step=progress.step, write=runtime.is_main, then=observe)
        )
        meter = Meter(spec, runtime, progress)
        progress = replace(progress, unread_loss=0.0, unread_steps=0)
        clock = time.monotonic() - progress.wall_s
        meetings = Meetings(runtime, progress.step)
        while progress.step < spec.steps:
            loss, grad_norm, lr = step_fn(batches.batch(progress.step), progress.step)
            progress.step += 1
            meter.add(loss)
            if evaluation_due(progress.step, spec.steps):
                paused = time.monotonic()
                probe = evaluate(trainee.network, validation[::PROBE_SHARE], spec, runtime)
                finite("validation loss", probe.loss, progress.step)
                record(meter.place(progress.step) | {"val_loss_probe": probe.loss})
                clock += time.monotonic() - paused
            progress.wall_s = time.monotonic() - clock
            if meter.due(progress.step):
                record(meter.read(progress.step, progress.wall_s, lr, grad_norm))
            if branch.asks_for(progress.step):
                trainee.save(trunk.state(progress.step), _as_trunk(progress, folder, runtime), batches)
            due = meetings(progress.step, together=meter.due(progress.step))
            if due.save or due.stop:
                started_at = time.monotonic()
                trainee.save(folder.checkpoint, meter.unread(progress), batches)
                meetings.saves.saved(started_at)
            if due.stop:
                raise Preempted
            branch.passed(progress.step)
        wall_s = time.monotonic() - clock
        final = evaluate(trainee.network, validation, spec, runtime)
        finite("validation loss", final.loss, spec.steps)
        probe = Evaluation(final.window_losses[::PROBE_SHARE])
        record(meter.place(spec.steps) | {"val_loss_probe": probe.loss, FINAL_LOSS: final.loss})
    keep(trainee.model, final.loss)
    trained_tokens = (spec.steps - progress.forked_at) * spec.batch_tokens
    return Result(
        final.loss, final.se, wall_s, trained_tokens, mean_by_part(corpus, final.window_losses.numpy())
    )


def _batches(
    corpus: Corpus, spec: CellSpec, progress: Progress, runtime: Runtime
) -> AbstractContextManager[BatchReader]:
    """This rank's rows of the batches from there on."""
    return open_batches(
        corpus,
        spec.seq_len,
        spec.recipe.batch_size,
        spec.seed,
        step=progress.step,
        places=progress.lanes,
        rank=runtime.rank,
        world_size=runtime.world_size,
    )


def _as_trunk(progress: Progress, folder: CellFolder, runtime: Runtime) -> Progress:
    """The state from which another cell goes on, whose own clock begins there."""
    return Progress(
        progress.step,
        forked_at=progress.step,
        trunk_s=progress.trunk_s + progress.wall_s,
        curve=folder.curve() if runtime.is_main else [],
    )


class TrainStep:
    """One optimiser step on one batch: in native code where that can, else in micro-batches as the device wants."""

    def __init__(
        self, network: torch.nn.Module, optimizers: list[Optimizer], spec: CellSpec, runtime: Runtime
    ) -> None:
        self.network, self.optimizers, self.spec, self.runtime = network, optimizers, spec, runtime
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.native = _native(network, spec, runtime)

    def __call__(self, windows_BT: np.ndarray, step: int) -> tuple[torch.Tensor, torch.Tensor, float]:
        """(loss, gradient norm) as tensors, so that no step waits for the device, and the learning rate."""
        lr = set_lr(self.optimizers, self.spec.recipe, step, self.spec.steps)
        rows = torch.from_numpy(windows_BT).to(self.runtime.device, non_blocking=True)
        if self.native is not None:
            loss = self.native.loss_and_gradients(rows)
            grad_norm = self.native.clip_gradients(self.spec.recipe.clip)
        else:
            loss = self._by_autograd(rows)
            grad_norm = whole(torch.nn.utils.clip_grad_norm_(self.parameters, self.spec.recipe.clip))
        for optimizer in self.optimizers:
            optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        return loss, grad_norm, lr

    def _by_autograd(self, rows_BT: torch.Tensor) -> torch.Tensor:
        """The mean loss, whose gradients are left at the parameters."""
        micro = self.runtime.micro_batch(self.spec)
        loss_sum = torch.zeros((), device=self.runtime.device)
        for start in range(0, len(rows_BT), micro):
            part = rows_BT[start : start + micro]
            share = len(part) / len(rows_BT)
            with self.runtime.sync_gradients(self.network, last=start + micro >= len(rows_BT)):
                loss = next_token_loss(self.network, part, self.spec, self.runtime).mean() * share
                loss.backward()
            loss_sum += loss.detach()
        return loss_sum


def _native(network: torch.nn.Module, spec: CellSpec, runtime: Runtime) -> NativeLlama | None:
    """The network's passes in native code; None where ranks or a compiler have wrapped it, or a batch is cut."""
    from models.loss import NextTokenLoss

    if not isinstance(network, NextTokenLoss) or runtime.micro_batch(spec) < spec.recipe.batch_size:
        return None
    return network.made_native(spec.seq_len, spec.precision)


def next_token_loss(
    network: torch.nn.Module, windows_BT: torch.Tensor, spec: CellSpec, runtime: Runtime
) -> torch.Tensor:
    """Nats of each next token in the cell's precision: windows (B, T+1) -> (B, T)."""
    with precision_of(spec, runtime):
        return network(windows_BT)


def precision_of(spec: CellSpec, runtime: Runtime) -> AbstractContextManager[Any]:
    if spec.precision == "fp32" or runtime.sharded:  # whose blocks are gathered in bf16
        return nullcontext()
    return torch.autocast(torch.device(runtime.device).type, dtype=torch.bfloat16)


@dataclass(frozen=True)
class Evaluation:
    """The loss on a set of windows."""

    window_losses: torch.Tensor
    """(n,) nats a token of each window."""

    @property
    def loss(self) -> float:
        """Nats a token."""
        return float(self.window_losses.mean())

    @property
    def se(self) -> float | None:
        """Standard error of `loss` over windows; None where there is but one."""
        n = len(self.window_losses)
        return float(self.window_losses.std() / n**0.5) if n > 1 else None


@torch.no_grad()
def evaluate(network: torch.nn.Module, windows: np.ndarray, spec: CellSpec, runtime: Runtime) -> Evaluation:
    """The loss on `windows` (n, T+1); the ranks share the work and each has all of the answer.

    Each makes as many forward passes as any other, for ranks that share out a model gather it together in each.
    """
    network.eval()
    mine = torch.from_numpy(np.ascontiguousarray(windows[runtime.rank :: runtime.world_size]))
    losses = torch.zeros(len(windows), dtype=torch.float64)
    where = list(range(runtime.rank, len(windows), runtime.world_size))
    size = max(1, runtime.eval_tokens // spec.seq_len)
    for start in range(0, math.ceil(len(windows) / runtime.world_size), size):
        part = mine[start : start + size] if start < len(mine) else torch.from_numpy(windows[:1].copy())
        per_token = next_token_loss(network, part.to(runtime.device), spec, runtime)
        if start < len(mine):
            losses[where[start : start + size]] = per_token.double().mean(dim=1).cpu()
    runtime.sum_over_ranks(losses)
    network.train()
    return Evaluation(losses)


def evaluation_due(step: int, steps: int) -> bool:
    """At even shares of the way, the end excepted (it has an evaluation of its own)."""
    share = EVALUATIONS_ON_THE_WAY + 1
    return step < steps and (step * share) // steps != ((step - 1) * share) // steps
