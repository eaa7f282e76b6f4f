"""Memory of a training step. `benchmarks/memory.py` does the same at every size, for minutes."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.memory import LLAMA3, SEQ_LEN, estimated_bytes, spec_of, tracked_bytes
from models.flops import params
from models.shapes import Shape
from scaling_runs.memory import CUDA_BYTES, PROCESS_BYTES, host_memory, step_memory, usable

FEW = 3
"""Blocks: a block's share shows in so many."""
MEASURED = Shape("llama", 256, 4, 2, 2, 768, 257)


@pytest.mark.parametrize(
    ("width", "ranks", "sharded", "checkpointing", "seq_len"),
    [
        (256, 1, False, False, SEQ_LEN),
        (1280, 1, False, True, SEQ_LEN),
        (2048, 8, True, False, SEQ_LEN),
        (5376, 8, True, True, SEQ_LEN),
        (5376, 8, True, True, 1024),  # the end of the backward pass is the peak
        (2048, 1, False, False, 512),  # the optimiser is
    ],
)
def test_a_steps_peak_is_what_torchs_tracker_sees(
    width: int, ranks: int, sharded: bool, checkpointing: bool, seq_len: int
) -> None:
    """Truth: torch's memory tracker on fake tensors and a fake process group, at the widths of 40M to 16B."""
    shape = dataclasses.replace(LLAMA3.shape(width), depth=FEW)
    tracked = tracked_bytes(shape, ranks, sharded, checkpointing, 1, seq_len)
    estimated = estimated_bytes(shape, ranks, sharded, checkpointing, 1, seq_len)
    assert estimated == pytest.approx(tracked, rel=0.02)


def test_what_is_held_between_steps_is_16_bytes_a_parameter_shared_by_the_ranks() -> None:
    """Truth: fp32 weight, gradient and AdamW's two moments (arXiv 1910.02054, figure 1), all shared by ZeRO 3."""
    shape = LLAMA3.shape(5376)
    for ranks in (8, 64):
        held = step_memory(spec_of(shape, 4 * ranks), ranks, sharded=True, checkpointing=True)
        state = held.weights + held.moments + held.gradients
        assert state == pytest.approx(16 * params(shape, SEQ_LEN, "all") / ranks)


def test_checkpointing_and_sharding_and_smaller_micro_batches_save_memory() -> None:
    """Truth: what each is for."""

    def total(**how: int) -> float:
        options = {"ranks": 8, "sharded": True, "checkpointing": False, "micro_batch": 2} | how
        ranks = options.pop("ranks")
        return step_memory(spec_of(LLAMA3.shape(2048), 64), ranks, **options).total  # type: ignore[arg-type]

    plain = total()
    assert total(checkpointing=True) < plain
    assert total(micro_batch=1) < plain
    assert total(ranks=16) < plain < total(sharded=False)
    assert usable(80e9) == pytest.approx(72e9)


def test_muon_has_one_moment_of_a_matrix_and_works_on_its_updates() -> None:
    """Truth: torch.optim.Muon's state, one momentum buffer; the head and the embedding keep AdamW's two."""
    spec = spec_of(LLAMA3.shape(1024), 8)
    muon = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, optimizer="muon", muon_lr=0.01))
    adamw, found = (step_memory(one, 1, sharded=False, checkpointing=True) for one in (spec, muon))
    body = params(spec.shape, SEQ_LEN, "body")
    assert adamw.moments - found.moments == pytest.approx(4 * body, rel=0.001)


def test_a_machines_own_memory_is_that_of_the_step_on_its_cpu_and_of_the_checkpoint_beside_gpus() -> None:
    """Truth: measured peaks of a cell of width 256 and depth 4 on a CPU, 256 sequences of 64 tokens at once in fp32:
    2.25 GB by autograd, 0.50 in native code. Beside GPUs 12 bytes a parameter, and a process each."""
    small = dataclasses.replace(spec_of(MEASURED, 256, seq_len=64), precision="fp32")
    found = host_memory(small, 0)
    assert 2.25e9 < found < 1.25 * 2.25e9
    large = spec_of(LLAMA3.shape(5376), 512)
    beside_eight = host_memory(large, 8)
    assert beside_eight == 8 * (PROCESS_BYTES + CUDA_BYTES) + 12 * params(large.shape, SEQ_LEN, "all")
