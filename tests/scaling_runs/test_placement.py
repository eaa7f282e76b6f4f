"""Whether a cell is sharded, by cases that can be worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest

from fit.errors import UserError
from models.flops import params
from models.shapes import Shape
from scaling_runs import placement
from scaling_runs.placement import chosen_way, placed
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from tests.scaling_runs.test_spec import a_spec

GB = 1e9


def large() -> CellSpec:
    """A billion parameters in fp32: 16 GB of weights, gradients and AdamW's moments, before any activation."""
    spec = a_spec()
    recipe = dataclasses.replace(spec.recipe, batch_size=64, optimizer="adamw", muon_lr=None)
    shape = Shape("llama", 2048, 18, 16, 16, 6144, 8192)
    spec = dataclasses.replace(spec, recipe=recipe, shape=shape, seq_len=128, precision="bf16")
    assert params(shape, 128, "all") == pytest.approx(1e9, rel=0.1)
    return spec


@pytest.mark.parametrize(
    ("ranks", "memory_bytes", "sharded"),
    [(1, 80 * GB, False), (8, 80 * GB, False), (8, 12 * GB, True), (8, None, False)],
)
def test_a_cell_is_sharded_where_it_fits_no_device_whole(
    ranks: int, memory_bytes: float | None, sharded: bool
) -> None:
    """Truth: 16 bytes a parameter fit into 80 GB and not into 12; an eighth of them does. A CPU is never full."""
    assert chosen_way(large(), ranks, memory_bytes, "auto")[0] is sharded


def test_sharding_can_be_forced_and_forbidden() -> None:
    """Truth: the option's word, on devices where either way fits; one rank has nobody to share with."""
    for memory_bytes in (80 * GB, None):
        assert chosen_way(large(), 8, memory_bytes, "always")[0]
        assert not chosen_way(large(), 8, memory_bytes, "never")[0]
        assert not chosen_way(large(), 1, memory_bytes, "always")[0]
    assert placed(Runtime(world_size=2), large(), "always").sharded


def test_ranks_whose_gpus_differ_do_as_the_smallest_of_them_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: 16 GB fit into 80 and not into 12: one that shared nothing out would wait for the other for ever."""
    monkeypatch.setattr(placement, "device_memory_bytes", lambda device: 80 * GB)
    monkeypatch.setattr(placement, "of_all_ranks", lambda mine: [mine, 12 * GB])
    assert placed(Runtime(world_size=2), large(), "auto").sharded
    monkeypatch.setattr(placement, "of_all_ranks", lambda mine: [mine, mine])
    assert not placed(Runtime(world_size=2), large(), "auto").sharded


@pytest.mark.parametrize(("ranks", "sharding"), [(1, "auto"), (8, "never")])
def test_a_cell_that_fits_no_way_is_refused_in_one_sentence(ranks: int, sharding: str) -> None:
    """Truth: 16 GB do not fit into 12."""
    with pytest.raises(UserError, match=r"llama|w2048.* does not fit .* of 12 GB .*start more ranks"):
        chosen_way(large(), ranks, 12 * GB, sharding)
