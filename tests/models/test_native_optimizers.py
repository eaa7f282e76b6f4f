"""Optimisers in native code: torch's own, and the iteration in double precision, are the truth."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.native import library, optimizers

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, library.COMPILERS)), reason="needs a C compiler; without one torch trains alone"
)

COEFFICIENTS = (3.4445, -4.775, 2.0315)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def muon(parameter: torch.Tensor, momentum_of: torch.Tensor, momentum: float, nesterov: bool = True) -> None:
    tensors = optimizers.bound(None, [parameter], [momentum_of])
    assert tensors is not None
    optimizers.muon_step(
        tensors,
        lr=0.1,
        momentum=momentum,
        weight_decay=0.5,
        nesterov=nesterov,
        coefficients=COEFFICIENTS,
        ns_steps=5,
        eps=1e-7,
    )


def iterated(matrix: torch.Tensor) -> torch.Tensor:
    """Newton-Schulz as it is written down (Jordan et al., 2024), in double precision."""
    a, b, c = COEFFICIENTS
    x = matrix.double() / matrix.double().norm()
    x = x if x.shape[0] <= x.shape[1] else x.T
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 70), columns=st.integers(1, 70), decades=st.integers(0, 6), nesterov=st.booleans())
def test_muon_is_the_iteration_in_double_precision_to_half_a_percent(
    rows: int, columns: int, decades: int, nesterov: bool
) -> None:
    """Truth: the definition; singular values over up to six decades. bf16, torch's choice, is off by a percent."""
    random = torch.Generator().manual_seed(rows * 100 + columns)
    left, values, right = torch.linalg.svd(torch.randn(rows, columns, generator=random), full_matrices=False)
    gradient = (left * torch.logspace(0, -decades, len(values))) @ right
    parameter, momentum = torch.randn(rows, columns, generator=random), torch.randn(rows, columns) * 0
    before = parameter.clone()
    parameter.grad = gradient.clone()
    muon(parameter, momentum, 0.9, nesterov)
    torch.testing.assert_close(momentum, 0.1 * gradient)
    expected = iterated(gradient) * max(1.0, rows / columns) ** 0.5
    update = (0.95 * before.double() - parameter) / 0.1
    assert (update - expected).norm() < 5e-3 * expected.norm() + 1e-5 * before.norm()


def one_call(parameters: list[torch.Tensor], state: list[list[torch.Tensor]], decay: float) -> None:
    tensors = optimizers.bound(None, parameters, *state)
    assert tensors is not None
    optimizers.adamw_step(tensors, lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=decay)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw_is_torchs_to_rounding(decay: float) -> None:
    """Truth: torch.optim.AdamW over ten steps."""
    random = torch.Generator().manual_seed(0)
    theirs = [
        torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in [(7, 5), (33,), (1,), (64, 3)]
    ]
    ours = [p.detach().clone() for p in theirs]
    state = [
        [torch.zeros_like(p) for p in ours],
        [torch.zeros_like(p) for p in ours],
        [torch.zeros(()) for _ in ours],
    ]
    adamw = torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.95), weight_decay=decay)
    for _ in range(10):
        for mine, other in zip(ours, theirs, strict=True):
            other.grad = torch.randn(other.shape, generator=random)
            mine.grad = other.grad.clone()
        adamw.step()
        one_call(ours, state, decay)
    for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(mine, other.detach(), rtol=1e-5, atol=1e-6)
        for name, kept in zip(("exp_avg", "exp_avg_sq", "step"), state, strict=True):
            torch.testing.assert_close(kept[i], adamw.state[other][name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("parameter", "gradient"),
    [
        (torch.zeros(4, 3).double(), torch.zeros(4, 3).double()),
        (torch.zeros(4, 3), torch.zeros(3, 4).T),
        (torch.zeros(4, 3), None),
    ],
    ids=["another precision", "rows that are not whole", "no gradient"],
)
def test_other_parameters_are_torchs(parameter: torch.Tensor, gradient: torch.Tensor | None) -> None:
    """Truth: what the C code takes for granted of the memory behind an address."""
    plain = torch.zeros(4, 3)
    plain.grad = torch.zeros(4, 3)
    assert optimizers.bound(None, [plain]) is not None
    parameter.grad = gradient
    assert optimizers.bound(None, [plain, parameter]) is None


def test_addresses_are_looked_up_again_where_a_tensor_is_another_or_lies_elsewhere() -> None:
    """Truth: data_ptr: a checkpoint exchanges states, autograd gradients, and `NativeLlama` moves parameters."""
    parameter, state = torch.zeros(4, 3), torch.zeros(4, 3)
    parameter.grad = torch.zeros(4, 3)
    known = optimizers.bound(None, [parameter], [state])
    assert known is not None
    assert optimizers.bound(known, [parameter], [state]) is known
    another_state = optimizers.bound(known, [parameter], [torch.zeros(4, 3)])
    assert another_state is not known
    parameter.grad = torch.zeros(4, 3)
    another_gradient = optimizers.bound(known, [parameter], [state])
    assert another_gradient is not None
    assert another_gradient.addresses[1][0] == parameter.grad.data_ptr()
    parameter.data = torch.zeros(4, 3)
    moved = optimizers.bound(another_gradient, [parameter], [state])
    assert moved is not None
    assert moved.addresses[0][0] == parameter.data_ptr()
