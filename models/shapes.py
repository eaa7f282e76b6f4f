"""What a model is: its shape, and the ladder of shapes that a sweep picks sizes from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Family = Literal["llama", "gpt2"]
FAMILIES: tuple[str, ...] = get_args(Family)
ROPE_THETA = 500_000.0
"""Llama 3's rotary base, for windows of 8192 tokens (arXiv 2407.21783, table 3)."""


@dataclass(frozen=True)
class Shape:
    """One decoder-only transformer, complete but for its weights. `head_width * heads == width`."""

    family: Family
    width: int
    depth: int
    heads: int
    kv_heads: int
    mlp_width: int
    vocab_size: int
    tied: bool = False
    """The output head is the input embedding transposed."""
    rope_theta: float = ROPE_THETA
    """Base of the rotary positions, which GPT-2 does not have: a head's slowest pair turns once in
    2π·theta^(1-2/K) tokens."""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"model family '{self.family}' is unknown; choose one of {', '.join(FAMILIES)}")
        for name in ("width", "depth", "heads", "kv_heads", "mlp_width", "vocab_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"model {name} is {getattr(self, name)}; it must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of its {self.heads} heads")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} key-value heads evenly")
        if self.family == "gpt2" and self.kv_heads != self.heads:
            raise ValueError("GPT-2 has no shared key-value heads; set model.kv_heads to null")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def name(self) -> str:
        """A short label, as `w64-d4-h4`."""
        return f"w{self.width}-d{self.depth}-h{self.heads}"


@dataclass(frozen=True)
class Ladder:
    """A family of shapes in which one number, the width, sets everything else.

    Heads keep their width (`head_width`: their number grows, as in large models) or their number (`heads`: their
    width grows, which for the smallest models costs a third of the time, for softmax is paid by the head). Depth is
    `width / aspect`, at least `min_depth`; the MLP is a fixed multiple of the width. Nothing else moves, so
    neighbours differ smoothly and no size jumps out of its valley.
    """

    family: Family
    aspect: float
    """Width over depth, where depth is above its minimum (Llama 3 8B: 4096 / 32 = 128)."""
    min_depth: int
    mlp_ratio: float
    """MLP width over model width (Llama 3 8B: 14336 / 4096 = 3.5; GPT-2: 4)."""
    vocab_size: int
    head_width: int | None = None
    """Every rung has heads of this width; exactly one of this and `heads` is set."""
    heads: int | None = None
    """Every rung has this many heads."""
    width_step: int | None = None
    """Width between rungs; by default `head_width`."""
    kv_heads: int | None = None
    """Key-value heads shared by all heads where set (grouped-query attention); else one a head."""
    tied: bool = False
    rope_theta: float = ROPE_THETA
    """Of a Llama; no option of a GPT-2, whose cells do not depend on it."""

    def __post_init__(self) -> None:
        if (self.head_width is None) == (self.heads is None):
            raise ValueError(
                f"model.head_width is {self.head_width} and model.heads {self.heads}; set one and leave the other null"
            )
        if self.head_width is not None and (self.head_width < 2 or self.head_width % 2):
            raise ValueError(
                f"model.head_width is {self.head_width}; rotary positions need an even width of at least 2"
            )
        if self.heads is not None and self.heads < 1:
            raise ValueError(f"model.heads is {self.heads}; it must be at least 1")
        if self.step < 1 or self.step % self._even_heads:
            raise ValueError(
                f"model.width_step is {self.width_step}; it must be a multiple of {self._even_heads}, so that each "
                f"rung's heads have one even width"
            )
        if not 1 < self.rope_theta < math.inf:
            raise ValueError(
                f"model.rope_theta is {self.rope_theta}; it must be a number above 1, such as 100 or 500000"
            )
        if self.aspect <= 0 or self.mlp_ratio <= 0 or self.min_depth < 1:
            raise ValueError(
                "model.aspect and model.mlp_ratio must be positive and model.min_depth at least 1"
            )

    @property
    def step(self) -> int:
        """Width of the first rung, and between rungs."""
        return self.width_step or self.head_width or 0

    @property
    def _even_heads(self) -> int:
        """What every width is a multiple of."""
        return self.head_width or 2 * (self.heads or 1)

    def shape(self, width: int) -> Shape:
        """The rung of this width. ValueError names the nearest legal widths where it is none."""
        if width < self.step or width % self.step:
            below = max(self.step, width // self.step * self.step)
            raise ValueError(
                f"model.width is {width}; it must be a multiple of {self.step}, such as {below} or {below + self.step}"
            )
        heads = self.heads or width // (self.head_width or width)
        return Shape(
            family=self.family,
            width=width,
            depth=max(self.min_depth, round(width / self.aspect)),
            heads=heads,
            kv_heads=self._kv_heads(heads),
            mlp_width=max(1, round(self.mlp_ratio * width)),
            vocab_size=self.vocab_size,
            tied=self.tied,
            rope_theta=self.rope_theta if self.family == "llama" else ROPE_THETA,
        )

    def rungs(self) -> Iterator[Shape]:
        """Every shape, smallest first, without end."""
        return (self.shape(width) for width in itertools.count(self.step, self.step))

    def _kv_heads(self, heads: int) -> int:
        """The asked-for number, or the largest divisor of `heads` below it on rungs with fewer heads."""
        if self.kv_heads is None:
            return heads
        return max(k for k in range(1, min(self.kv_heads, heads) + 1) if heads % k == 0)
