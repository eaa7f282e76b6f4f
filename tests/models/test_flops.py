"""Parameters and FLOPs, against the built model and torch's own counter."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.factory import build_model
from models.flops import forward_flops_per_token, param_groups, params, train_flops_per_token
from models.shapes import Shape
from tests.configs import SWEEPS, planned_shapes

CASES = [(sweep, "llama") for sweep in SWEEPS] + [("isoflop_small", "gpt2"), ("isoflop_gpu", "gpt2")]
"""Llama 3's own ladder is of no other family; GPT-2's formulas see small and large shapes in two sweeps."""


def blocks_counted(shape: Shape, seq_len: int) -> tuple[int, int]:
    """As `counted_flops`, in the time of three layers at any depth: blocks are equal, so one and two are counted."""
    one, two = (counted_flops(replace(shape, depth=depth), seq_len) for depth in (1, 2))
    more = shape.depth - 1
    return one[0] + more * (two[0] - one[0]), one[1] + more * (two[1] - one[1])


@cache
def counted_flops(shape: Shape, seq_len: int) -> tuple[int, int]:
    """(forward, forward and backward) of one sequence by FlopCounterMode, on the meta device, without rotary angles.

    Attention is spelt out: fused kernels recompute the scores on the way back, which is not the model's work.
    The rotary angles are an outer product that is counted as a matrix product; there is one for the whole model.
    """
    model = build_model(shape, seq_len=seq_len, seed=0, init_std=0.02, attention="spelt-out", device="meta")
    tokens = torch.zeros(1, seq_len, dtype=torch.long, device="meta")
    counter = FlopCounterMode(display=False)
    with counter:
        loss = model(input_ids=tokens).logits.sum()
        forward = counter.get_total_flops()
        loss.backward()
    rotary = sum(
        sum(counts.values())
        for module, counts in counter.get_flop_counts().items()
        if module.endswith("rotary_emb")
    )
    return forward - rotary, counter.get_total_flops() - rotary


@pytest.mark.parametrize(("sweep", "family"), CASES)
def test_exact_flops_are_those_that_torch_counts_on_every_planned_shape(sweep: str, family: str) -> None:
    """Truth: torch.utils.flop_counter, on every shape that a sweep in configs/ plans, to the last FLOP."""
    for shape, seq_len in planned_shapes(sweep, family):
        forward, both = blocks_counted(shape, seq_len)
        assert forward == seq_len * forward_flops_per_token(shape, seq_len)
        assert both == seq_len * train_flops_per_token(shape, seq_len)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_deep_model_costs_what_its_blocks_cost(family: str) -> None:
    """Truth: the counter on all twelve layers at once."""
    shape = Shape(family, 64, 12, 4, 4, 192, 257)  # type: ignore[arg-type]
    assert counted_flops(shape, 32) == blocks_counted(shape, 32)


@pytest.mark.parametrize(("sweep", "family"), CASES)
def test_parameter_groups_sum_to_what_the_model_holds(sweep: str, family: str) -> None:
    """Truth: the parameters of the transformers model."""
    for shape, seq_len in planned_shapes(sweep, family):
        model = build_model(shape, seq_len=seq_len, seed=0, init_std=0.02, device="meta")
        assert params(shape, seq_len, "all") == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("tied", [False, True])
def test_conventions_differ_by_embedding_and_head_alone(family: str, tied: bool) -> None:
    """Truth: the model's own modules."""
    shape = Shape(family, 32, 2, 4, 4, 96, 257, tied=tied)  # type: ignore[arg-type]
    model = build_model(shape, seq_len=16, seed=0, init_std=0.02)
    assert params(shape, 16, "all") == sum(p.numel() for p in model.parameters())
    head = model.get_output_embeddings().weight.numel()
    groups = param_groups(shape, 16)
    assert params(shape, 16, "no_embedding") - params(shape, 16, "body") == head
    embedding = groups.embedding + groups.positions
    assert params(shape, 16, "all") - params(shape, 16, "body") == embedding + (0 if tied else head)


def test_six_nd_is_six_times_all_parameters() -> None:
    """Truth: Kaplan et al., section 2.1."""
    shape = Shape("llama", 32, 2, 4, 4, 96, 257)
    assert train_flops_per_token(shape, 64, "6nd") == 6 * params(shape, 64, "all")


def test_llama_3_8b_has_the_parameters_that_are_published() -> None:
    """Truth: arXiv 2407.21783, table 3, and the 8.03B that the model card prints."""
    shape = Shape("llama", 4096, 32, 32, 8, 14336, 128256)
    assert params(shape, 8192, "all") == 8_030_261_248


def test_flop_formulas_start_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys, models.flops, models.shapes; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode
        == 0
    )
