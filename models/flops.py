"""What a shape costs: parameters and FLOPs, by formula, under each published convention.

`exact` counts every matrix product of a step: the projections, attention scores and values over the whole T x T
square (what dense kernels do and what torch's FlopCounterMode counts), and the logits; not the embedding look-up,
norms, rotary angles or the optimiser. Training is three times the forward pass (Hoffmann et al., arXiv 2203.15556,
appendix F). `6nd` is 6·N·D with N all parameters (Kaplan et al., arXiv 2001.08361, section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from models.shapes import Shape

FlopConvention = Literal["exact", "6nd"]
FLOP_CONVENTIONS: tuple[str, ...] = get_args(FlopConvention)
PARAM_CONVENTION_OF: dict[str, str] = {"exact": "no_embedding", "6nd": "all"}
"""Which parameters go with which FLOPs: `exact` skips the look-up, so its N does too."""

TRAIN_OVER_FORWARD = 3


@dataclass(frozen=True)
class ParamGroups:
    """Parameters of a shape by named group; the groups sum to what the built model holds."""

    embedding: int
    positions: int
    attention: int
    mlp: int
    norms: int
    head: int
    """The output head's own weights: 0 where tied."""
    tied_head: int
    """The embedding doing a second job as the head: 0 where the head has weights of its own."""

    @property
    def all(self) -> int:
        return self.embedding + self.positions + self.body + self.head

    @property
    def no_embedding(self) -> int:
        """Input embedding (and learned positions) out, output head in."""
        return self.body + self.head + self.tied_head

    @property
    def body(self) -> int:
        """Both out, as Kaplan et al. count."""
        return self.attention + self.mlp + self.norms


def param_groups(shape: Shape, seq_len: int) -> ParamGroups:
    """Parameters of `shape`, whose position table (GPT-2 only) holds `seq_len` rows."""
    w, m, kv = shape.width, shape.mlp_width, shape.kv_heads * shape.head_width
    head = shape.vocab_size * w
    if shape.family == "llama":
        attention, mlp, norms = 2 * w * w + 2 * w * kv, 3 * w * m, 2 * w
        positions, final_norm = 0, w
    else:
        attention, mlp, norms = 4 * w * w + 4 * w, 2 * w * m + m + w, 4 * w
        positions, final_norm = seq_len * w, 2 * w
    return ParamGroups(
        embedding=head,
        positions=positions,
        attention=shape.depth * attention,
        mlp=shape.depth * mlp,
        norms=shape.depth * norms + final_norm,
        head=0 if shape.tied else head,
        tied_head=head if shape.tied else 0,
    )


def params(shape: Shape, seq_len: int, convention: str) -> int:
    """Parameters under `all`, `no_embedding` or `body`."""
    return int(getattr(param_groups(shape, seq_len), convention))


def forward_flops_per_token(shape: Shape, seq_len: int) -> int:
    """Exact FLOPs of one forward pass over a sequence of `seq_len` tokens, divided by `seq_len`."""
    w, kv = shape.width, shape.kv_heads * shape.head_width
    projections = 2 * w * w + 2 * w * kv
    mlp = (3 if shape.family == "llama" else 2) * w * shape.mlp_width
    scores_and_values = 2 * seq_len * w
    return 2 * (shape.depth * (projections + mlp + scores_and_values) + shape.vocab_size * w)


def train_flops_per_token(shape: Shape, seq_len: int, convention: FlopConvention = "exact") -> int:
    """FLOPs that training spends on one token of a sequence of `seq_len`, under `convention`."""
    if convention == "6nd":
        return 6 * params(shape, seq_len, "all")
    return TRAIN_OVER_FORWARD * forward_flops_per_token(shape, seq_len)
