"""The rules that set batch, learning rate and schedule for a cell. Sees sizes and tokens, never a layer.

What was tried before these rules were believed, and what each gave, is in docs/recipe.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from fit.errors import UserError

OPTIMIZERS = ("adamw", "muon")
Decay = Literal["linear", "cosine", "sqrt"]
DECAYS: tuple[str, ...] = get_args(Decay)
MAX_BATCH_TOKENS = 1e9
"""Sixty times the largest batch that Llama 3 trained with."""
MAX_EXPONENT = 10.0
"""Past every power law that was ever proposed, and small enough to compute with."""


@dataclass
class RecipeConfig:
    """The rules, as a user sets them (`configs/recipe/`)."""

    name: str = "adamw"
    """What the rules are called."""
    optimizer: str = "adamw"
    """adamw; muon: Muon for the blocks' matrices, AdamW for the rest."""
    lr: float = 3e-3
    """Peak learning rate of AdamW at `lr_params` parameters (all of a model's, without its embedding)."""
    lr_params: float = 1e5
    """The size that `lr` is about."""
    lr_exponent: float = 0.0
    """Peak learning rate goes as params^-lr_exponent."""
    muon_lr: float = 0.01
    """Peak learning rate of Muon's orthogonalised updates, the same at every size."""
    beta1: float = 0.9
    """Of AdamW: decay of the mean of gradients."""
    beta2: float = 0.95
    """Of AdamW: decay of the mean of their squares."""
    beta2_half_life_tokens: float | None = None
    """Where set, beta2 = 2^(-batch_tokens / half-life) instead (Marek et al., arXiv 2507.07101, section 3.2)."""
    weight_decay: float = 0.1
    """Decoupled: times the learning rate, of a weight at each step."""
    clip: float = 1.0
    """Gradient norm is clipped to this (Llama 3, arXiv 2407.21783, and most others)."""
    batch_tokens: float = 512
    """Tokens a step at a budget of `batch_flops`, rounded to 1, 2, 3, 4, 6, 8, 12, 16, … sequences."""
    batch_flops: float = 1e12
    """The budget that `batch_tokens` is about."""
    batch_exponent: float = 0.0
    """batch_tokens goes as C^batch_exponent, so that one valley has one batch (DeepSeek, arXiv 2401.02954,
    eq. 1: 0.3271; Llama 3's 250K tokens at 6e18 to 4M at 1e22: 0.374)."""
    max_batch_tokens: float = math.inf
    """No larger batch, whatever the rule says."""
    warmup_fraction: float = 0.1
    """Share of a cell's steps spent on linear warm-up."""
    max_warmup_steps: int | None = None
    """At most so many; null: no limit."""
    decay: str = "linear"
    """How the rate falls from its peak to `final_lr_fraction` of it: linear, cosine, or sqrt, which is 1 - sqrt(x) of
    the way x (Hägele et al., arXiv 2405.18392, section 3.2)."""
    cooldown_fraction: float | None = None
    """Share of a cell's steps, its last ones, in which the rate falls; before, it is constant (WSD). Cells that differ
    in their end alone then have the rest in common, their trunk. Null: it falls over all steps after warm-up."""
    constant_tokens: float | None = None
    """With a cooldown: past so many tokens the trunk's rate falls as 1/sqrt(tokens) (Zhai et al., arXiv 2106.04560,
    section 3.4), so that a model that trains for long ends its trunk at a rate that suits it. Null: it is constant."""
    final_lr_fraction: float = 0.0
    """Share of the peak rate at which a cell ends."""
    init_std: float = 0.02
    """Standard deviation of weights as they are drawn."""

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UserError(f"recipe.optimizer is '{self.optimizer}'; choose one of {', '.join(OPTIMIZERS)}")
        if self.decay not in DECAYS:
            raise UserError(f"recipe.decay is '{self.decay}'; choose one of {', '.join(DECAYS)}")
        for name in ("lr", "lr_params", "muon_lr", "batch_tokens", "batch_flops", "clip"):
            self._require(name, lambda value: 0 < value < math.inf, "a positive number")
        for name in ("beta1", "beta2", "warmup_fraction", "final_lr_fraction"):
            self._require(name, lambda value: 0 <= value < 1, "at least 0 and below 1")
        for name in ("lr_exponent", "batch_exponent"):
            self._require(
                name, lambda value: abs(value) <= MAX_EXPONENT, f"within {MAX_EXPONENT:g} of 0, such as 0.3"
            )
        self._require("weight_decay", lambda value: 0 <= value < math.inf, "a number from 0 up, such as 0.1")
        self._require("max_batch_tokens", lambda value: value > 0, "a positive number, or .inf for no limit")
        self._require("init_std", lambda value: 0 < value <= 1, "above 0 and at most 1, such as 0.02")
        self._require(
            "beta2_half_life_tokens",
            lambda value: 0 < value < math.inf,
            "a positive number, or null for recipe.beta2 itself",
        )
        self._require(
            "cooldown_fraction",
            lambda value: 0 < value < 1,
            "above 0 and below 1, such as 0.2, or null for a decay over all steps after warm-up",
        )
        self._require(
            "constant_tokens",
            lambda value: 0 < value < math.inf,
            "a positive number of tokens, or null for a rate that stays constant",
        )
        if self.constant_tokens is not None and self.cooldown_fraction is None:
            raise UserError(
                f"recipe.constant_tokens is {self.constant_tokens:g}, which only a schedule with a cooldown heeds; set "
                f"recipe.cooldown_fraction, such as 0.2, or leave it null"
            )
        self._require("max_warmup_steps", lambda value: value >= 0, "at least 0, or null for no limit")

    def _require(self, name: str, holds: Callable[[float], bool], expected: str) -> None:
        """UserError where the value is set and does not hold; NaN holds nowhere, for it compares with nothing."""
        value = getattr(self, name)
        if value is not None and not holds(value):
            raise UserError(f"recipe.{name} is {value}; it must be {expected}")


@dataclass(frozen=True)
class Recipe:
    """The rules worked out for one cell: plain numbers, nothing left to decide."""

    optimizer: Literal["adamw", "muon"]
    lr: float
    muon_lr: float | None
    beta1: float
    beta2: float
    weight_decay: float
    clip: float
    batch_size: int
    """Sequences a step."""
    warmup_steps: int
    decay: Decay
    final_lr_fraction: float
    init_std: float
    cooldown_steps: int | None = None
    """The last steps, in which the rate falls to its end; None: all after warm-up."""
    constant_steps: int | None = None
    """Steps after which the rate falls as 1/sqrt(steps) until the cooldown; None: it does not."""


def batch_size(config: RecipeConfig, *, budget_flops: float, seq_len: int) -> int:
    """Sequences a step at this budget: the rule's tokens, rounded to 1, 2, 3, 4, 6, 8, 12, 16, … sequences.

    These divide over 2, 4 and 8 ranks from 8, 16 and 32 on, and no batch is more than 20% off the rule. UserError
    where the rule gives no batch at all.
    """
    ratio = budget_flops / config.batch_flops
    tokens = _by_power_law("batch", config.batch_tokens, ratio, config.batch_exponent)
    tokens = min(tokens, config.max_batch_tokens)
    if tokens > MAX_BATCH_TOKENS:
        raise UserError(
            f"a budget of {budget_flops:.3g} FLOPs asks for batches of {tokens:.3g} tokens, more than "
            f"{MAX_BATCH_TOKENS:.0e}; lower recipe.batch_tokens or recipe.batch_exponent, or set "
            f"recipe.max_batch_tokens"
        )
    sequences = tokens / seq_len
    power = math.floor(math.log2(max(1.0, sequences)))
    choices = sorted({2**power, max(1, 3 * 2 ** (power - 1)) if power else 1, 2 ** (power + 1)})
    return int(min(choices, key=lambda choice: abs(math.log(choice / max(1.0, sequences)))))


def resolve(config: RecipeConfig, *, params: int, batch: int, seq_len: int, steps: int) -> Recipe:
    """The recipe of a cell with `params` (without embedding), `batch` sequences of `seq_len` a step, `steps` steps.

    UserError where the rule gives no learning rate.
    """
    beta2 = config.beta2
    if config.beta2_half_life_tokens is not None:
        beta2 = 2 ** (-batch * seq_len / config.beta2_half_life_tokens)
    warmup = max(1, round(config.warmup_fraction * steps))
    if config.max_warmup_steps is not None:
        warmup = min(warmup, config.max_warmup_steps)
    cooldown, constant = None, None
    if config.constant_tokens is not None:
        constant = max(1, warmup, round(config.constant_tokens / (batch * seq_len)))
    if config.cooldown_fraction is not None:
        cooldown = min(max(1, round(config.cooldown_fraction * steps)), steps - warmup)
    return Recipe(
        optimizer=config.optimizer,  # type: ignore[arg-type]  # checked in __post_init__
        lr=_by_power_law("lr", config.lr, params / config.lr_params, -config.lr_exponent),
        muon_lr=config.muon_lr if config.optimizer == "muon" else None,
        beta1=config.beta1,
        beta2=beta2,
        weight_decay=config.weight_decay,
        clip=config.clip,
        batch_size=batch,
        warmup_steps=warmup,
        decay=config.decay,  # type: ignore[arg-type]  # checked in __post_init__
        final_lr_fraction=config.final_lr_fraction,
        init_std=config.init_std,
        cooldown_steps=cooldown,
        constant_steps=constant,
    )


def _by_power_law(rule: str, value: float, ratio: float, exponent: float) -> float:
    """value·ratio^exponent. UserError where that is past what a float holds."""
    try:
        scaled = value * ratio**exponent
    except (OverflowError, ZeroDivisionError):
        scaled = math.inf
    if not 0 < scaled < math.inf:
        raise UserError(
            f"recipe.{rule}_exponent is {abs(exponent):g}, which over a ratio of {ratio:.3g} leads to no number; "
            f"bring it closer to 0, or set {'recipe.lr_params' if rule == 'lr' else 'recipe.batch_flops'} closer by"
        )
    return scaled


def lr_factor(recipe: Recipe, step: int, steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0) of `steps`.

    Linear warm-up, the trunk (at the peak, or falling as 1/sqrt(step)) until the cooldown begins, then a decay that
    would reach `final_lr_fraction` of the trunk's last rate one step past the end.
    """
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    after_warmup = steps - recipe.warmup_steps
    falling = after_warmup if recipe.cooldown_steps is None else recipe.cooldown_steps
    fork = steps - falling
    progress = max(0, step - fork) / max(1, falling)
    left = recipe.final_lr_fraction + (1 - recipe.final_lr_fraction) * _left(recipe.decay, progress)
    if recipe.constant_steps is None:
        return left
    return left * math.sqrt(recipe.constant_steps / max(recipe.constant_steps, min(step, fork)))


def _left(decay: Decay, progress: float) -> float:
    """Share of the fall that is yet to come."""
    if decay == "linear":
        return 1 - progress
    if decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - math.sqrt(progress)
