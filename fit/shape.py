"""From a size to a model that can be built: a rung of a ladder of shapes, and tokens as whole steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.tradeoff import FLOPS_PER_PARAM_TOKEN
from models.flops import params as params_of
from models.flops import train_flops_per_token
from models.shapes import Ladder, Shape

CONFIGS = Path(__file__).parents[1] / "configs"
"""Whose `model/` has the ladders, and whose `recipe/deepseek.yaml` the rule of the batch."""
DEFAULT_LADDER = "llama3"
DEFAULT_VOCABULARY = 128_256
"""Llama 3's (arXiv 2407.21783, table 3)."""
LARGEST_PARAMS = 1e15
"""A thousand times the largest models there are; past it no ladder is climbed."""


@dataclass(frozen=True)
class Sizes:
    """A ladder of shapes, and the window that they train in."""

    name: str
    ladder: Ladder
    seq_len: int


@dataclass(frozen=True)
class Build:
    """A model, and the steps that train it."""

    sizes: Sizes
    shape: Shape
    wanted: float
    """Params that were asked for."""
    params: int
    """As the law counts them."""
    convention: str
    """Which of the parameters those are: all, no_embedding or body."""
    all_params: int
    sequences: int
    """A step."""
    steps: int
    exact: bool
    """Whether FLOPs are counted product by product, as such a law counts them, and not by 6·N·D."""

    @property
    def tokens(self) -> int:
        return self.steps * self.sequences * self.sizes.seq_len

    @property
    def flops(self) -> float:
        return float(self.tokens) * _flops_a_token(self.shape, self.sizes.seq_len, self.params, self.exact)


def load_sizes(name: str, vocabulary: int) -> Sizes:
    """A ladder by its name in `configs/model`, or from a YAML file of the same form. UserError where there is none."""
    own = name.endswith((".yaml", ".yml"))
    path = Path(name) if own else CONFIGS / "model" / f"{name}.yaml"
    if not own and not path.is_file():
        there = sorted(one.stem for one in path.parent.glob("*.yaml"))
        raise UserError(
            f"--model '{name}' is unknown; choose one of {', '.join(there)}, or a YAML file of that form"
        )
    content = _read(path)
    known = {field.name for field in fields(Ladder)}
    numbers = {key: value for key, value in content.items() if key in known and value is not None}
    try:
        ladder = Ladder(**{**numbers, "vocab_size": vocabulary})
        ladder.shape(ladder.step)
        return Sizes(str(content.get("name", name)), ladder, int(content["seq_len"]))
    except KeyError:
        raise UserError(
            f"--model '{name}' has no seq_len; write it as configs/model/llama3.yaml is written"
        ) from None
    except (TypeError, ValueError) as error:
        raise UserError(f"--model '{name}' can't be built: {error}") from None


def build(
    sizes: Sizes,
    params: float,
    convention: str,
    flops: float,
    inference_flops_a_param: float = 0.0,
    batch_tokens: float | None = None,
    *,
    exact: bool = False,
    most_params: float = math.inf,
) -> Build:
    """The rung nearest to `params` (in ratio), for as many whole steps as `flops` pays for.

    inference_flops_a_param: taken off first. batch_tokens: of a step, to whole sequences; by DeepSeek's rule where
    None. exact: how FLOPs are counted, as `Build` says. most_params: that the shape may have in all. UserError where
    the ladder has no such size, or the budget pays for no step.
    """
    if params > LARGEST_PARAMS:
        raise UserError(f"{params:.3g} params are more than any ladder is climbed to, {LARGEST_PARAMS:.0e}")
    shape = _nearest(sizes, params, convention, most_params)
    counted = params_of(shape, sizes.seq_len, convention)
    wanted = deepseek_batch_tokens(flops) if batch_tokens is None else batch_tokens
    sequences = max(1, round(wanted / sizes.seq_len))
    if batch_tokens is None:
        sequences = 2 ** round(math.log2(max(1.0, wanted / sizes.seq_len)))
    a_step = float(sequences * sizes.seq_len) * _flops_a_token(shape, sizes.seq_len, counted, exact)
    steps = math.floor((flops - inference_flops_a_param * counted) / a_step * (1 + 1e-12))
    if steps < 1:
        raise UserError(
            f"one step of {sequences} sequences costs {a_step:.3g} FLOPs for {shape.name}, more than the budget "
            f"leaves; give a smaller --batch-tokens, or a --model with smaller rungs or windows"
        )
    everything = params_of(shape, sizes.seq_len, "all")
    return Build(sizes, shape, params, counted, convention, everything, sequences, steps, exact)


def _flops_a_token(shape: Shape, seq_len: int, params: int, exact: bool) -> int:
    return train_flops_per_token(shape, seq_len, "exact") if exact else FLOPS_PER_PARAM_TOKEN * params


def deepseek_batch_tokens(flops: float) -> float:
    """Tokens a step, as a power of compute (DeepSeek, arXiv 2401.02954, eq. 1)."""
    rule = _read(CONFIGS / "recipe" / "deepseek.yaml")
    at, flops_at, exponent = (float(rule[key]) for key in ("batch_tokens", "batch_flops", "batch_exponent"))
    return at * (flops / flops_at) ** exponent


def _nearest(sizes: Sizes, params: float, convention: str, most_params: float) -> Shape:
    """In ratio, of those of at most `most_params` in all. UserError where the smallest has more."""
    below = None
    for rung in sizes.ladder.rungs():
        if params_of(rung, sizes.seq_len, "all") > most_params:
            if below is None:
                raise UserError(
                    f"the smallest rung of '{sizes.name}', {rung.name}, has more than the {most_params:.3g} params "
                    f"that memory holds; choose another --model or --vocab"
                )
            return below
        size = params_of(rung, sizes.seq_len, convention)
        if size >= params:
            if below is None or size / params < params / params_of(below, sizes.seq_len, convention):
                return rung
            return below
        below = rung
    raise AssertionError("a ladder has no end")


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"model file '{path}' can't be read: {error.strerror}; give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UserError(
            f"model file '{path}' is no YAML; write it as configs/model/llama3.yaml is written"
        ) from None
    if not isinstance(content, dict):
        raise UserError(
            f"model file '{path}' holds no fields; write it as configs/model/llama3.yaml is written"
        )
    return content
