"""How a cell lies on a cluster: GPUs, nodes, micro-batches, and the hours that follow. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.flops import forward_flops_per_token, params, train_flops_per_token
from scaling_runs.hardware import GPUS_A_NODE, Gpu, mfu
from scaling_runs.memory import fits, step_memory, usable
from scaling_runs.runtime import MICRO_BATCH_TOKENS
from scaling_runs.spec import CellSpec
from scaling_runs.train import EVALUATIONS_ON_THE_WAY, PROBE_SHARE

CELL_S = 24 * 3600
"""A cell gets twice as many GPUs until it takes no longer than this, so that no cell outlasts its sweep."""
WAYS = ((False, False), (False, True), (True, False), (True, True))
"""(sharded, checkpointing), from the least work a step to the least memory."""


@dataclass(frozen=True)
class Layout:
    """Where a cell trains. `gpus * micro_batch * accumulation` is its batch, however many GPUs there are."""

    gpus: int
    nodes: int
    sharded: bool
    checkpointing: bool
    micro_batch: int
    """Sequences of one forward and backward pass on a GPU."""
    accumulation: int
    """Micro-batches of a step on a GPU."""
    memory_bytes: float
    """Of each GPU, at the peak of a step."""
    seconds: float
    """Training and evaluations."""
    lacks: str = ""
    """Where the cell fits on no number of the GPUs: how much memory it needs, and what would do."""

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.seconds / 3600


def layout(spec: CellSpec, gpu: Gpu, gpus: int, trained_steps: int | None = None) -> Layout:
    """The fewest GPUs, a power of two that divides the batch, on which the cell fits and takes a day at most.

    The most there are where none is enough. `trained_steps`: those that no other cell's trunk spares it.
    """
    steps = spec.steps if trained_steps is None else trained_steps
    found = None
    counts = _counts(spec, gpus)
    for count in counts:
        way = way_that_fits(spec, gpu.memory_bytes, count)
        if way is not None:
            found = count, way
            if _seconds(spec, gpu, count, steps) <= CELL_S:
                break
    count, way = found or (counts[-1], (counts[-1] > 1, True))
    lacks = "" if found else _what_it_lacks(spec, gpu, count)
    return _laid_out(spec, gpu, count, way, _seconds(spec, gpu, count, steps), lacks)


def _seconds(spec: CellSpec, gpu: Gpu, count: int, steps: int) -> float:
    """Of training for `steps` and of all evaluations, on `count` GPUs that lose nothing by being several."""
    if gpu.rates is None:
        rate = gpu.bf16_flops_per_s * mfu(params(spec.shape, spec.seq_len, "all"), gpu.mfu)
        return cell_flops(spec, steps) / rate / count
    told = gpu.rates.told(spec, count)
    training_s = steps * told.step_s + evaluated_tokens(spec) * told.eval_token_s
    return training_s + (gpu.rates.profile.beside_s or 0.0)


def way_that_fits(
    spec: CellSpec, memory_bytes: float, world_size: int, allowed: Sequence[bool] = (False, True)
) -> tuple[bool, bool] | None:
    """(sharded, checkpointing) of the quickest way in which the cell trains on so many GPUs; None where none does.

    `allowed`: whether it may be sharded, whether it may be not.
    """
    for sharded, checkpointing in WAYS:
        if sharded not in allowed or (sharded and world_size == 1):
            continue
        if fits(spec, memory_bytes, world_size, sharded=sharded, checkpointing=checkpointing):
            return sharded, checkpointing
    return None


def cell_flops(spec: CellSpec, steps: int) -> float:
    """FLOPs of training for `steps` and of all evaluations."""
    training = steps * spec.batch_tokens * train_flops_per_token(spec.shape, spec.seq_len, "exact")
    return training + evaluated_tokens(spec) * forward_flops_per_token(spec.shape, spec.seq_len)


def evaluated_tokens(spec: CellSpec) -> float:
    """Of all evaluations of a cell."""
    return spec.val_tokens * (1 + EVALUATIONS_ON_THE_WAY / PROBE_SHARE)


def _what_it_lacks(spec: CellSpec, gpu: Gpu, count: int) -> str:
    """Why the cell does not fit on `count` GPUs, and what would do."""
    needed = step_memory(spec, count, sharded=count > 1, checkpointing=True).total
    more = (n for n in _counts(spec, spec.recipe.batch_size) if way_that_fits(spec, gpu.memory_bytes, n))
    enough = next(more, None)
    remedy = f"give gpus={enough}" if enough else "name hardware= with more memory, or lower sweep.max_params"
    where = f"each of {count} GPUs, sharded and" if count > 1 else "one GPU,"
    return (
        f"{spec.shape.name} needs {needed / 1e9:.3g} GB on {where} with activation checkpointing, and "
        f"{usable(gpu.memory_bytes) / 1e9:.3g} GB of the {gpu.memory_bytes / 1e9:.3g} GB of one can be used: {remedy}"
    )


def _counts(spec: CellSpec, gpus: int) -> list[int]:
    """Powers of two up to `gpus` that divide the batch."""
    batch = spec.recipe.batch_size
    return [2**power for power in range(gpus.bit_length()) if 2**power <= gpus and batch % 2**power == 0]


def _laid_out(
    spec: CellSpec, gpu: Gpu, count: int, way: tuple[bool, bool], seconds: float, lacks: str
) -> Layout:
    sharded, checkpointing = way
    micro, memory_bytes = largest_micro_batch(spec, gpu.memory_bytes, count, way)
    nodes, passes = -(-count // GPUS_A_NODE), spec.recipe.batch_size // count // micro
    return Layout(count, nodes, sharded, checkpointing, micro, passes, memory_bytes, seconds, lacks)


def largest_micro_batch(
    spec: CellSpec, memory_bytes: float, world_size: int, way: tuple[bool, bool]
) -> tuple[int, float]:
    """(sequences, bytes at the step's peak) of the largest power of two that fits, within what keeps a GPU busy.

    It divides the share of the batch that each of `world_size` GPUs of `memory_bytes` has; 1 where not even 1 fits.
    """
    sharded, checkpointing = way
    rows = spec.recipe.batch_size // world_size
    micro, memory = 1, step_memory(spec, world_size, sharded=sharded, checkpointing=checkpointing)
    while rows % (2 * micro) == 0 and 2 * micro * spec.seq_len <= MICRO_BATCH_TOKENS:
        larger = step_memory(
            spec, world_size, sharded=sharded, checkpointing=checkpointing, micro_batch=2 * micro
        )
        if larger.total > usable(memory_bytes):
            break
        micro, memory = 2 * micro, larger
    return micro, memory.total
