"""The loss as one module of a model: what is wrapped, compiled and trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models import llama_cpu


class NextTokenLoss(torch.nn.Module):
    """Cross-entropy of each next token by a transformers model, by the quicker of two equal ways on this device."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, windows_BT: Tensor) -> Tensor:
        """Nats: windows (B, T+1) of token ids -> (B, T) in fp32."""
        if llama_cpu.applies(self.model, windows_BT.shape[1] - 1):
            return llama_cpu.next_token_losses(self.model, windows_BT)
        return self.through_transformers(windows_BT)

    def through_transformers(self, windows_BT: Tensor) -> Tensor:
        """The same, by the model's own forward pass on any device."""
        logits_BTV = self.model(input_ids=windows_BT[:, :-1]).logits
        targets_BT = windows_BT[:, 1:]
        losses_N = F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), reduction="none")
        return losses_N.view_as(targets_BT)
