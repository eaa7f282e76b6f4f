"""Memory of a training step: `scaling_runs/memory.py` beside torch's own tracker, where no byte is allocated.

    python benchmarks/memory.py

Fake tensors and a fake process group stand for the GPUs: every operation of one rank's step is seen, at any size.
On a CPU's kernels: its fused attention keeps what flash attention keeps. Twelve steps take six minutes of a core.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed._tools.mem_tracker import MemTracker
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.factory import build_model
from models.flops import params, train_flops_per_token
from models.loss import NextTokenLoss
from models.shapes import Ladder, Shape
from scaling_runs.memory import step_memory
from scaling_runs.recipe import RecipeConfig, resolve
from scaling_runs.sharding import checkpoint_activations, shard
from scaling_runs.spec import CellSpec

LLAMA3 = Ladder(
    family="llama", head_width=128, aspect=128, min_depth=4, mlp_ratio=3.5, kv_heads=8, vocab_size=128_256
)
SEQ_LEN = 8192
CASES = [
    (width, ranks, sharded, checkpointing, 1)
    for width, ranks_and_ways in {
        256: [(1, False, False), (8, True, False), (64, True, True)],
        2048: [(1, False, False), (1, False, True), (8, True, False), (8, True, True), (64, True, True)],
        5376: [(8, True, False), (8, True, True), (64, True, True)],
    }.items()
    for ranks, sharded, checkpointing in ranks_and_ways
] + [(512, 8, True, True, 2)]
"""(width, ranks, sharded, checkpointing, micro-batch): 37M, 1.2B and 16B parameters."""


def spec_of(shape: Shape, batch: int, seq_len: int = SEQ_LEN) -> CellSpec:
    """A cell of isoflop_llama3 with `batch` sequences a step."""
    recipe = resolve(RecipeConfig(), params=10**9, batch=batch, seq_len=seq_len, steps=1000)
    return CellSpec(shape, seq_len, 1000, recipe, 0, "none", seq_len, "exact", "bf16")


def estimated_bytes(
    shape: Shape, ranks: int, sharded: bool, checkpointing: bool, micro: int, seq_len: int = SEQ_LEN
) -> float:
    """By `scaling_runs/memory.py`, of a step of one micro-batch."""
    spec = spec_of(shape, micro * ranks, seq_len)
    return step_memory(spec, ranks, sharded=sharded, checkpointing=checkpointing, micro_batch=micro).total


def tracked_bytes(
    shape: Shape, ranks: int, sharded: bool, checkpointing: bool, micro: int, seq_len: int = SEQ_LEN
) -> int:
    """The peak of one rank's second step, AdamW's moments there, by torch's tracker."""
    config = build_model(shape, seq_len=seq_len, seed=0, init_std=0.02, device="meta").config
    with _fake_ranks(ranks) as mesh, FakeTensorMode():
        from transformers import LlamaForCausalLM

        model: Any = LlamaForCausalLM(config)
        network: Any = NextTokenLoss(model)
        if checkpointing:
            checkpoint_activations(network)
        if sharded:
            shard(network, mesh, "bf16")
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
        windows = torch.zeros(micro, seq_len + 1, dtype=torch.long)
        if sharded:
            tracker: Any = FSDPMemTracker(network, optimizer)
            tracker.track_inputs((windows,))
        else:
            tracker = MemTracker()
            tracker.track_external(network, optimizer)
        for _ in range(2):
            tracker.reset_mod_stats()
            with tracker:
                precision: AbstractContextManager[Any] = nullcontext()
                if not sharded:
                    precision = torch.autocast("cpu", dtype=torch.bfloat16)
                with precision:
                    loss = network(windows).mean()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                del loss
        return int(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])


@contextmanager
def _fake_ranks(count: int) -> Iterator[dist.DeviceMesh]:
    """This process as rank 0 of `count`, of which no other exists."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=count)
    try:
        yield dist.device_mesh.init_device_mesh("cpu", (count,))
    finally:
        dist.destroy_process_group()


def counted(shape: Shape) -> tuple[int, int]:
    """(FLOPs of a step on one sequence, by torch's counter on the meta device; parameters of the model)."""
    model = build_model(shape, seq_len=SEQ_LEN, seed=0, init_std=0.02, attention="spelt-out", device="meta")
    windows = torch.zeros(1, SEQ_LEN + 1, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        NextTokenLoss(model).through_transformers(windows).mean().backward()
    return counter.get_total_flops(), sum(p.numel() for p in model.parameters())


def main() -> None:
    rows = []
    print(f"{'params':>8} {'ranks':>5} {'how':>24} {'tracked GB':>10} {'formula GB':>10} {'off':>6}")
    for width, ranks, sharded, checkpointing, micro in CASES:
        shape = LLAMA3.shape(width)
        tracked = tracked_bytes(shape, ranks, sharded, checkpointing, micro)
        formula = estimated_bytes(shape, ranks, sharded, checkpointing, micro)
        how = ", ".join(["replicated", "sharded"][sharded : sharded + 1] + ["checkpointing"] * checkpointing)
        size = params(shape, SEQ_LEN, "all")
        print(
            f"{size / 1e9:>7.3g}B {ranks:>5} {how:>24} {tracked / 1e9:>10.2f} {formula / 1e9:>10.2f} "
            f"{formula / tracked - 1:>+6.1%}",
            flush=True,
        )
        rows.append({"params": size, "ranks": ranks, "how": how, "micro_batch": micro, "tracked": tracked})
        rows[-1]["formula"] = formula
    largest = LLAMA3.shape(5376)
    flops, size = counted(largest)
    by_formula = SEQ_LEN * train_flops_per_token(largest, SEQ_LEN)
    print(f"16B: {flops:.6g} FLOPs a sequence by torch's counter, {by_formula:.6g} by formula")
    print(f"16B: {size:,} parameters in the model, {params(largest, SEQ_LEN, 'all'):,} by formula")
    print(json.dumps({"torch": torch.__version__, "shape": dataclasses.asdict(largest), "rows": rows}))


if __name__ == "__main__":
    main()
