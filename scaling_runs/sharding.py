"""A model made to fit a device: sharded over ranks (FSDP2), or with its activations computed a second time.

Nothing here asks where it runs, so that it does the same on the meta device under a fake process group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

if TYPE_CHECKING:
    from models.factory import Draw
    from models.loss import NextTokenLoss  # loads transformers


def blocks(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The transformer blocks of a model of `models.factory`, in order."""
    inner = model.get_submodule("model" if hasattr(model, "model") else "transformer")
    found = inner.get_submodule("layers" if hasattr(inner, "layers") else "h")
    assert isinstance(found, torch.nn.ModuleList)
    return found


def checkpoint_activations(network: NextTokenLoss) -> None:
    """In place: of each block the input alone is kept, and the way back computes the rest anew. Before `shard`."""
    layers = blocks(network.model)
    for i, block in enumerate(layers):
        layers[i] = checkpoint_wrapper(block)  # without re-entering autograd, which is its default


def shard(network: NextTokenLoss, mesh: DeviceMesh, precision: str) -> None:
    """In place: weights, and so gradients and moments, are shared out over `mesh`, and gathered block by block.

    Optimisers are made afterwards, for the parameters are other objects then. In bf16 a gathered block computes in
    bf16 throughout, where autocast leaves sums of blocks and norms in fp32; gradients are added up in fp32.
    """
    policy = MixedPrecisionPolicy()
    if precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in blocks(network.model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(network, mesh=mesh, mp_policy=policy)


def is_sharded(network: torch.nn.Module) -> bool:
    """Whether `shard` was called on it."""
    return isinstance(network, FSDPModule)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that ranks share out, on each; every rank calls this for the same tensors in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_as(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Of a whole `tensor`, which each rank has, this rank's share, as ranks share out `like`."""
    if not isinstance(like, DTensor):
        return tensor
    assert tensor.shape == like.shape
    return DTensor.from_local(
        _own_rows(tensor, like).to(like.device, copy=True),  # else it is a view of the whole
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )


def _own_rows(tensor: torch.Tensor, like: DTensor) -> torch.Tensor:
    """A view of this rank's share of `tensor`, wherever that lies: the others' are neither read nor moved."""
    assert like.placements == (Shard(0),), "fully_shard's own way"
    rows = tensor.chunk(like.device_mesh.size())
    rank = like.device_mesh.get_local_rank()
    return rows[rank] if rank < len(rows) else tensor[:0]


@torch.no_grad()
def fill(network: torch.nn.Module, draw: Draw, device: str) -> None:
    """In place, of a model that was sharded before it had weights: each rank keeps its share of what `draw` draws."""
    network._apply(lambda t: torch.empty_like(t, device=device) if t.device.type == "meta" else t)
    mine = network.get_submodule("model").state_dict()

    def keep(name: str, values: torch.Tensor) -> None:
        share = mine[name]
        assert isinstance(share, DTensor)
        share.to_local().copy_(_own_rows(values, share))

    draw(keep)
