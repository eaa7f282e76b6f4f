"""Sharded models, by a fake process group. What real ranks train is tested by `tests/test_torchrun_sharded.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from models.factory import build_model
from models.loss import NextTokenLoss
from models.shapes import Shape
from scaling_runs.runtime import Runtime
from scaling_runs.sharding import blocks, checkpoint_activations, is_sharded, shard

SEQ_LEN = 32


@pytest.fixture
def mesh() -> Iterator[dist.DeviceMesh]:
    """Of four ranks, of which this process is the first and the others are not."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    try:
        yield dist.device_mesh.init_device_mesh("cpu", (4,))
    finally:
        dist.destroy_process_group()


def network_of(family: str) -> NextTokenLoss:
    shape = Shape(family, 64, 2, 4, 4, 128, 256)  # type: ignore[arg-type]
    return NextTokenLoss(build_model(shape, seq_len=SEQ_LEN, seed=0, init_std=0.02))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_each_rank_has_its_share_of_weights_and_gradients(mesh: dist.DeviceMesh, family: str) -> None:
    """Truth: four ranks, whose number divides every first side: a quarter of each parameter, named as before."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = network_of(family)
        whole = {name: p.numel() for name, p in network.named_parameters()}
        assert not is_sharded(network)
        checkpoint_activations(network)
        shard(network, mesh, "bf16")
        network(torch.zeros(2, SEQ_LEN + 1, dtype=torch.long)).mean().backward()
    assert is_sharded(network)
    assert set(network.state_dict()) >= set(whole)
    mine = 0
    for p in network.parameters():
        assert isinstance(p, DTensor)
        assert isinstance(p.grad, DTensor)
        assert p.dtype == p.grad.dtype == torch.float32
        assert p.to_local().numel() == p.grad.to_local().numel() == p.numel() // 4
        mine += p.to_local().numel()
    assert mine == sum(whole.values()) // 4


def test_from_micro_batch_to_micro_batch_each_rank_keeps_its_share_of_the_gradients(
    mesh: dist.DeviceMesh,
) -> None:
    """Truth: a quarter of each, as `memory.step_memory` counts; gradients of the whole model fit no device."""
    runtime = Runtime(world_size=4, sharded=True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = network_of("llama")
        shard(network, mesh, "bf16")
        for _ in range(2):
            with runtime.sync_gradients(network, last=False):
                network(torch.zeros(2, SEQ_LEN + 1, dtype=torch.long)).mean().backward()
            for p in network.parameters():
                assert isinstance(p.grad, DTensor)
                assert p.grad.to_local().numel() == p.numel() // 4


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_activations_computed_anew_give_the_same_gradients(family: str) -> None:
    """Truth: the gradients of the pass that keeps them, to rounding."""
    torch.manual_seed(0)
    windows = torch.randint(256, (2, SEQ_LEN + 1))
    kept, anew = network_of(family), network_of(family)
    checkpoint_activations(anew)
    assert len(blocks(anew.model)) == 2
    kept.through_transformers(windows).mean().backward()
    anew.through_transformers(windows).mean().backward()
    for one, other in zip(kept.parameters(), anew.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
