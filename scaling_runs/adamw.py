"""torch.optim.AdamW, whose step is one call where the parameters are small and on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import AdamW

from models.native import optimizers


class OneCallAdamW(AdamW):
    """The same update to rounding and the same state, so that a checkpoint of either goes on with the other."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step over all parameters that have a gradient."""
        of_group = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
        if not optimizers.applies([p for parameters in of_group for p in parameters]):
            super().step()
            return
        for group, parameters in zip(self.param_groups, of_group, strict=True):
            states = [self._state_of(p) for p in parameters]
            optimizers.adamw_step(
                parameters,
                *([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")),
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
            )

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state
