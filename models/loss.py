"""The loss as one module of a model: what is wrapped, compiled and trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models import llama_cpu
from models.native.llama import NativeLlama, applies


class NextTokenLoss(torch.nn.Module):
    """Cross-entropy of each next token by a transformers model, by the quickest of equal ways on this device."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.native: NativeLlama | None = None

    def made_native(self, seq_len: int, precision: str) -> NativeLlama | None:
        """Native code that trains the model on windows of `seq_len`, and evaluates it here; None where none can."""
        if applies(self.model, seq_len, precision):
            self.native = NativeLlama(self.model, seq_len, precision)
        return self.native

    def forward(self, windows_BT: Tensor) -> Tensor:
        """Nats: windows (B, T+1) of token ids -> (B, T) in fp32."""
        if self.native is not None and self.native.takes(windows_BT):
            return self.native.losses(windows_BT)
        if llama_cpu.applies(self.model, windows_BT.shape[1] - 1):
            return llama_cpu.next_token_losses(self.model, windows_BT)
        return self.through_transformers(windows_BT)

    def through_transformers(self, windows_BT: Tensor) -> Tensor:
        """The same, by the model's own forward pass on any device."""
        logits_BTV = self.model(input_ids=windows_BT[:, :-1]).logits
        targets_BT = windows_BT[:, 1:]
        losses_N = F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), reduction="none")
        return losses_N.view_as(targets_BT).clone()  # FSDP2 warns of a module that returns a view
