"""torch.optim.AdamW, whose step is one call where the parameters are small and on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from models.native import optimizers

STATE = ("exp_avg", "exp_avg_sq", "step")
"""As torch names it, in the order of `optimizers.adamw_step`."""


class OneCallAdamW(AdamW):
    """The same update to rounding and the same state, so that a checkpoint of either goes on with the other."""

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(groups, **options)
        self.bound: list[optimizers.Tensors | None] = [None] * len(self.param_groups)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step over all parameters that have a gradient."""
        self.bound = [
            self._bound(group, known) for group, known in zip(self.param_groups, self.bound, strict=True)
        ]
        if None in self.bound:
            super().step()
            return
        for group, tensors in zip(self.param_groups, self.bound, strict=True):
            assert tensors is not None
            optimizers.adamw_step(
                tensors,
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
            )

    def _bound(self, group: dict[str, Any], known: optimizers.Tensors | None) -> optimizers.Tensors | None:
        parameters = [p for p in group["params"] if p.grad is not None]
        states = [self._state_of(p) for p in parameters]
        return optimizers.bound(known, parameters, *([state[name] for state in states] for name in STATE))

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state
