"""Where a cell runs: its device, and how its ranks share the work. Nothing here changes a result beyond rounding."""

from __future__ import annotations

import inspect
import os
import socket
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from fit.errors import UserError
from scaling_runs.hardware import peak_flops_per_s
from scaling_runs.holder import Held
from scaling_runs.locks import holding
from scaling_runs.memory import CPU_EVAL_TOKENS
from scaling_runs.ranks import Answer, from_rank_0, rank, ranks_are_apart, world_size
from scaling_runs.sharding import checkpoint_activations, is_sharded, shard
from scaling_runs.spec import CellSpec

if TYPE_CHECKING:
    from models.loss import NextTokenLoss

MICRO_BATCH_TOKENS = 16_384
"""Tokens of one forward pass on a GPU: enough to fill it, few enough for the logits of a large vocabulary."""

_KNOWN = inspect.signature(DistributedDataParallel).parameters
SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN else "broadcast_buffers"
"""Whether buffers are exchanged on each forward pass: newer torch warns of the older name."""


def require_even_shares(spec: CellSpec) -> None:
    """UserError where the cell's batch does not divide over the ranks."""
    if spec.recipe.batch_size % world_size():
        raise UserError(
            f"a batch of {spec.recipe.batch_size} sequences ({spec.shape.name}, {spec.flops:.2g} FLOPs) does not "
            f"divide over {world_size()} ranks; start a number of ranks that divides it"
        )


@dataclass(frozen=True)
class Runtime:
    """One process of a cell's training."""

    device: str = "cpu"
    rank: int = 0
    world_size: int = 1
    precision: str = "fp32"
    compile: bool = False
    sharded: bool = False
    """Whether ranks share out weights, gradients and moments (FSDP2); else each has all of them (DDP)."""
    checkpointing: bool = False
    """Whether activations are computed a second time rather than kept."""
    most_sequences: int | None = None
    """Of one forward and backward pass, by the device's memory; None for as many as a rank has."""

    @property
    def is_main(self) -> bool:
        """Rank 0 owns files, W&B and the terminal."""
        return self.rank == 0

    @property
    def peak_flops_per_s(self) -> float:
        """Peak of all ranks together."""
        return peak_flops_per_s(self.device, self.precision) * self.world_size

    def wrap(self, model: NextTokenLoss) -> torch.nn.Module:
        """The model as ranks train it together, compiled where that is on and it is not sharded.

        Optimisers are made afterwards: the parameters of a sharded model are new ones. Buffers are constants here,
        and need no exchange.
        """
        if self.checkpointing:
            checkpoint_activations(model)
        if self.sharded:
            device = torch.device(self.device).type
            shard(model, init_device_mesh(device, (self.world_size,)), self.precision)
            return model
        forward: dict[str, Any] = {SYNC_BUFFERS: False}
        network = DistributedDataParallel(model, **forward) if self.world_size > 1 else model
        return torch.compile(network) if self.compile else network  # type: ignore[return-value]

    @property
    def eval_tokens(self) -> int:
        """Tokens of one forward pass of an evaluation."""
        return CPU_EVAL_TOKENS if self.device == "cpu" else MICRO_BATCH_TOKENS

    def micro_batch(self, spec: CellSpec) -> int:
        """Sequences of one forward and backward pass on this rank."""
        rows = spec.recipe.batch_size // self.world_size
        return rows if self.most_sequences is None else min(rows, self.most_sequences)

    def sync_gradients(self, network: torch.nn.Module, last: bool) -> AbstractContextManager[None]:
        """Ranks exchange gradients once a step: in its last micro-batch.

        Sharded ones do so in each, for until they have, every rank keeps the gradients of the whole model.
        """
        if self.world_size > 1 and not last and not is_sharded(network):
            return network.no_sync()  # type: ignore[operator]
        return nullcontext()

    def sum_over_ranks(self, values: torch.Tensor) -> None:
        """In place."""
        if self.world_size > 1:
            on_device = values.to(self.device)
            dist.all_reduce(on_device)
            values.copy_(on_device)

    def mean_over_ranks(self, value: torch.Tensor) -> torch.Tensor:
        total = value.detach().clone().to(self.device)
        self.sum_over_ranks(total)
        return total / self.world_size

    def merged(self, mine: dict[int, Answer]) -> dict[int, Answer]:
        """On rank 0, what all ranks have under their keys; on any other, its own."""
        if self.world_size == 1:
            return mine
        of_all: list[dict[int, Answer]] | None = (
            [{} for _ in range(self.world_size)] if self.is_main else None
        )
        dist.gather_object(mine, of_all)
        return {key: value for of_one in of_all or [mine] for key, value in of_one.items()}

    def agree(self, mine: Answer) -> Answer:
        """Rank 0's answer, for decisions that clocks and disks make, so that no rank goes its own way."""
        return from_rank_0(mine) if self.world_size > 1 else mine


def start_runtime(spec: CellSpec, threads: int, locks: Path) -> Runtime:
    """This process's runtime for `spec`: a GPU of its own where there are any, else `threads` of the CPU.

    UserError where the batch does not divide over the ranks.
    """
    require_even_shares(spec)
    ranks = world_size()
    if _has_cuda():
        index = int(os.environ["LOCAL_RANK"]) if ranks > 1 or ranks_are_apart() else _claim_gpu(locks)
        torch.cuda.set_device(index)
        torch.set_float32_matmul_precision("high")
        return Runtime(f"cuda:{index}", rank(), ranks, spec.precision, compile=True)
    torch.set_num_threads(threads)
    return Runtime("cpu", rank(), ranks, spec.precision)


def default_precision() -> str:
    """bf16 on a GPU, fp32 on a CPU (docs/recipe.md has the speeds that say so)."""
    return "bf16" if _has_cuda() else "fp32"


def _has_cuda() -> bool:
    return torch.cuda.is_available()


_claimed: list[int] = []
"""The GPU that this worker process holds, until it ends."""
_until_the_end = ExitStack()


def _claim_gpu(locks: Path) -> int:
    """The first GPU of this host that no other worker on it holds; shared ones in turn where all are held.

    Locks are of a host and of the machine's own numbers: hosts may share a folder, and Ray shows each worker its GPUs
    alone.
    """
    if _claimed:
        return _claimed[0]
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    for index in range(torch.cuda.device_count()):
        device = visible[index] if index < len(visible) else str(index)
        try:
            _until_the_end.enter_context(holding(locks / f"{socket.gethostname()}-gpu-{device}.lock"))
        except Held:
            continue
        _claimed.append(index)
        return index
    return os.getpid() % torch.cuda.device_count()
