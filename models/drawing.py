"""The weights of a model drawn one tensor at a time, so that no process need hold them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DRAWS = (aten.normal_.default, aten.uniform_.default)
"""What fills a tensor by chance, and so in an order that matters."""
FILLS = (*DRAWS, aten.fill_.Scalar, aten.zero_.default)


@dataclass(frozen=True)
class Fill:
    """One call that gives a tensor all of its values."""

    tensor: Tensor
    """On the meta device. It is held, so that no other takes its identity."""
    function: Any
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    def values(self, generator: torch.Generator) -> Tensor:
        """What the call would have filled the tensor with."""
        by_chance = {"generator": generator} if self.function in DRAWS else {}
        values = torch.empty(self.tensor.shape, dtype=self.tensor.dtype)
        self.function(values, *self.arguments, **{**self.options, **by_chance})
        return values


class Drawing(TorchDispatchMode):
    """While it is entered, tensors that are made empty hold nothing, and what would fill them is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.fills: list[Fill] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if function is aten.empty.memory_format:
            return function(*args, **{**options, "device": "meta"})
        if function in FILLS and args[0].is_meta:
            self.fills.append(Fill(args[0], function, args[1:], options))
            return args[0]
        return function(*args, **options)

    def draw(self, seed: int, keep: Callable[[Tensor, Tensor], None]) -> None:
        """Give to `keep` each tensor that was noted and its values, as they are after `torch.manual_seed(seed)`.

        Constructors draw most tensors twice. The first draw is made too, for the second one's numbers depend on it.
        """
        generator = torch.Generator().manual_seed(seed)
        last = {id(fill.tensor): fill for fill in self.fills}
        for fill in self.fills:
            values = fill.values(generator)
            if last[id(fill.tensor)] is fill:
                keep(fill.tensor, values)
            del values  # before the next one is made
