"""Sharded models, by a fake process group. What real ranks train is tested by `tests/test_torchrun_sharded.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from models.factory import build_model, build_undrawn
from models.loss import NextTokenLoss
from models.shapes import Shape
from scaling_runs.runtime import Runtime
from scaling_runs.sharding import blocks, checkpoint_activations, fill, is_sharded, shard
from tests.configs import ROOT

SEQ_LEN = 32


@pytest.fixture
def mesh() -> Iterator[dist.DeviceMesh]:
    """Of four ranks, of which this process is the first and the others are not."""
    with fake_ranks(0, 4) as found:
        yield found


def network_of(family: str) -> NextTokenLoss:
    shape = Shape(family, 64, 2, 4, 4, 128, 256)  # type: ignore[arg-type]
    return NextTokenLoss(build_model(shape, seq_len=SEQ_LEN, seed=0, init_std=0.02))


@contextmanager
def fake_ranks(rank: int, count: int) -> Iterator[dist.DeviceMesh]:
    """This process as one of `count` ranks, of which no other exists."""
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=count)
    try:
        yield dist.device_mesh.init_device_mesh("cpu", (count,))
    finally:
        dist.destroy_process_group()


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


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("tied", [False, True])
def test_each_rank_has_its_share_of_the_weights_that_one_process_would_have(family: str, tied: bool) -> None:
    """Truth: the unsharded build with the same seed, to the bit, cut as torch.chunk does; 257 rows go in no halves."""
    shape = Shape(family, 64, 2, 4, 4, 128, 257, tied)  # type: ignore[arg-type]
    whole = build_model(shape, seq_len=SEQ_LEN, seed=5, init_std=0.02)
    for rank in range(2):
        model, draw = build_undrawn(shape, seq_len=SEQ_LEN, seed=5, init_std=0.02)
        with fake_ranks(rank, 2) as mesh:
            network = NextTokenLoss(model)
            checkpoint_activations(network)
            shard(network, mesh, "fp32")
            fill(network, draw, "cpu")
            mine = model.state_dict()
        assert set(mine) == set(whole.state_dict())
        for name, tensor in whole.state_dict().items():
            share = mine[name]
            assert isinstance(share, DTensor)
            assert torch.equal(share.to_local(), tensor.chunk(2)[rank]), name
        assert len(list(network.parameters())) == len(list(whole.parameters()))
        for name, buffer in whole.named_buffers():
            assert torch.equal(model.get_buffer(name), buffer), name


BUILDING = """
import resource, sys
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from models.factory import build_undrawn
from models.flops import params
from models.loss import NextTokenLoss
from models.shapes import Shape
from scaling_runs.sharding import fill, shard

dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=8)
mesh = dist.device_mesh.init_device_mesh("cpu", (8,))

def built(shape):
    model, draw = build_undrawn(shape, seq_len=32, seed=0, init_std=0.02)
    network = NextTokenLoss(model)
    shard(network, mesh, "fp32")
    fill(network, draw, "cpu")
    return network

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
kept = built(Shape("llama", 64, 2, 4, 4, 128, 256))
before = peak()
kept = built(SHAPE := Shape("llama", 1024, 8, 8, 8, 3584, 1024))
print(peak() - before, 4 * params(SHAPE, 32, "all"))
"""


def test_no_rank_has_the_whole_model_in_memory_when_it_is_built() -> None:
    """Truth: the kernel's own peak of a process that is one rank of eight: its eighth, and a tensor or two."""
    ran = subprocess.run(
        [sys.executable, "-c", BUILDING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    grown, whole = (int(word) for word in ran.stdout.split())
    assert whole > 4e8
    assert grown < 0.35 * whole
