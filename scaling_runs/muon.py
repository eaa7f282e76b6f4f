"""torch.optim.Muon, its matrices orthogonalised in native code or in stacks of one shape, not one by one."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.optim import Muon

from models.native import optimizers
from scaling_runs.sharding import shared_as, whole


class StackedMuon(Muon):
    """The same update as `torch.optim.Muon`, to rounding, in a fraction of its time at widths to 256 on a CPU.

    Native code does it where it can (`models/native/optimizers.py`). Elsewhere equal matrices are stacked: a small
    model has a dozen of two shapes, and on matrices this small the calls cost more than the products. On a CPU the
    iteration runs in fp32: bf16, torch's choice, is a fiftieth as fast on a processor that has no instructions for
    it, and a result should not depend on the processor's.
    """

    def __init__(self, matrices: list[torch.nn.Parameter], **options: Any) -> None:
        super().__init__(matrices, **options)
        self.bound: list[optimizers.Tensors | None] = [None] * len(self.param_groups)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step over all matrices that have a gradient."""
        for i, group in enumerate(self.param_groups):
            parameters = [p for p in group["params"] if p.grad is not None]
            momenta = [self._momentum_of(p) for p in parameters]
            tensors = self.bound[i] = optimizers.bound(self.bound[i], parameters, momenta)
            if tensors is not None:
                optimizers.muon_step(
                    tensors,
                    lr=group["lr"],
                    momentum=group["momentum"],
                    weight_decay=group["weight_decay"],
                    nesterov=group["nesterov"],
                    coefficients=group["ns_coefficients"],
                    ns_steps=group["ns_steps"],
                    eps=group["eps"],
                )
            elif parameters:
                _step_in_stacks(group, parameters, momenta)

    def _momentum_of(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def _step_in_stacks(group: dict[str, Any], parameters: list[Tensor], momenta: list[Tensor]) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
    updates = torch._foreach_lerp(gradients, momenta, group["momentum"]) if group["nesterov"] else momenta
    if group["weight_decay"]:
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
    for members in _by_shape(parameters).values():
        stack = orthogonalise(
            torch.stack([_wide(whole(updates[i])) for i in members]),
            group["ns_coefficients"],
            group["ns_steps"],
            group["eps"],
        )
        for i, update in zip(members, stack.unbind(), strict=True):
            parameter = parameters[i]
            rows, columns = parameter.shape
            scale = max(1.0, rows / columns) ** 0.5
            parameter.add_(
                shared_as(_like(update, parameter).contiguous(), parameter), alpha=-group["lr"] * scale
            )


def orthogonalise(
    stack_KRC: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Newton-Schulz iteration on each of K matrices with R <= C (Jordan et al., the Muon post, 2024)."""
    a, b, c = coefficients
    x = stack_KRC if stack_KRC.device.type == "cpu" else stack_KRC.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x


def _by_shape(parameters: list[Tensor]) -> dict[tuple[int, int], list[int]]:
    """Places of the matrices that fit into one stack: same sides, whichever is the longer."""
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, parameter in enumerate(parameters):
        rows, columns = parameter.shape
        places[min(rows, columns), max(rows, columns)].append(i)
    return places


def _wide(matrix: Tensor) -> Tensor:
    """No more rows than columns."""
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _like(update: Tensor, parameter: Tensor) -> Tensor:
    return update.T if parameter.shape[0] > parameter.shape[1] else update
