"""The stacked optimiser, against torch's own."""

import pytest
import torch

from models.native import optimizers as native_optimizers
from scaling_runs.muon import StackedMuon, orthogonalise

SHAPES = [(16, 16), (48, 16), (16, 48), (16, 16), (80, 80), (240, 80)]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_updates_are_those_of_torchs_muon_to_rounding(
    weight_decay: float, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: torch.optim.Muon, which orthogonalises in bf16; ten steps on the same gradients."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1 if native else 2)
    assert (native_optimizers.bound(None, []) is not None) == native
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    start = [p.detach().clone() for p in ours]
    optimizers = [
        StackedMuon(ours, lr=0.01, weight_decay=weight_decay),
        torch.optim.Muon(theirs, lr=0.01, weight_decay=weight_decay),
    ]
    for _ in range(10):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, before in zip(ours, theirs, start, strict=True):
        moved = (other - before).norm()
        assert (mine - other).norm() < 0.02 * moved


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    """Truth: the singular value decomposition; the quintic iteration ends between 0.7 and 1.2 (Jordan et al., 2024)."""
    torch.manual_seed(0)
    stack = orthogonalise(torch.randn(5, 24, 40), (3.4445, -4.775, 2.0315), 5, 1e-7)
    singular = torch.linalg.svdvals(stack.float())
    assert 0.6 < singular.min() <= singular.max() < 1.3


def test_matrices_without_a_gradient_stay() -> None:
    still, moving = torch.nn.Parameter(torch.ones(8, 8)), torch.nn.Parameter(torch.ones(8, 8))
    moving.grad = torch.randn(8, 8)
    StackedMuon([still, moving], lr=0.1).step()
    assert torch.equal(still, torch.ones(8, 8))
    assert not torch.equal(moving, torch.ones(8, 8))
