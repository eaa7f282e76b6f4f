"""A cell's spec: everything that determines its result, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from models.flops import PARAM_CONVENTION_OF, FlopConvention, params, train_flops_per_token
from models.shapes import Shape
from scaling_runs.recipe import Recipe

Precision = Literal["fp32", "bf16"]
SPEC_VERSION = 1
"""Raised when the same spec would train to another result, so that old results are not taken for new ones."""


@dataclass(frozen=True)
class CellSpec:
    """One model to train. Two specs that are equal train to the same loss on the same machine."""

    shape: Shape
    seq_len: int
    steps: int
    recipe: Recipe
    seed: int
    corpus: str
    """Fingerprint of the corpus."""
    val_tokens: int
    """Size of the fixed validation set."""
    flop_convention: FlopConvention
    precision: Precision
    version: int = SPEC_VERSION

    @property
    def batch_tokens(self) -> int:
        return self.recipe.batch_size * self.seq_len

    @property
    def tokens(self) -> int:
        """Tokens trained on, repeats included."""
        return self.steps * self.batch_tokens

    @property
    def params(self) -> int:
        """Of the convention that goes with that of the FLOPs."""
        return params(self.shape, self.seq_len, PARAM_CONVENTION_OF[self.flop_convention])

    @property
    def flops(self) -> int:
        """FLOPs spent, under the spec's own convention."""
        return self.tokens * train_flops_per_token(self.shape, self.seq_len, self.flop_convention)

    @property
    def trunk_steps(self) -> int:
        """Steps that any cell of this trunk begins with: those before the cooldown; 0 where the rate always falls."""
        return 0 if self.recipe.cooldown_steps is None else self.steps - self.recipe.cooldown_steps

    @cached_property
    def trunk_id(self) -> str:
        """Names the trunk: a hash of all that determines training, and its curve, before the cooldown."""
        fields = _fields(self)
        del fields["steps"]
        for name in ("cooldown_steps", "decay", "final_lr_fraction"):
            fields["recipe"].pop(name, None)
        return _digest(fields)

    @cached_property
    def cell_id(self) -> str:
        """Names the cell's folder: a hash of the whole spec, which is asked for dozens of times and computed once."""
        return _digest(_fields(self))


def spec_json(spec: CellSpec) -> str:
    """The spec as canonical JSON: sorted keys, no spaces, so that equal specs give equal bytes."""
    return _canonical(_fields(spec))


def spec_from_dict(fields: dict[str, Any]) -> CellSpec:
    """The inverse of `dataclasses.asdict`."""
    return CellSpec(**{**fields, "shape": Shape(**fields["shape"]), "recipe": Recipe(**fields["recipe"])})


def _fields(spec: CellSpec) -> dict[str, Any]:
    """As a cell's file and its id have them: what has no cooldown says nothing of one, as before there were any."""
    fields = _flat(spec) | {"shape": _flat(spec.shape), "recipe": _flat(spec.recipe)}
    for name in ("cooldown_steps", "constant_steps"):
        if fields["recipe"][name] is None:
            del fields["recipe"][name]
    return fields


def _flat(record: CellSpec | Shape | Recipe) -> dict[str, Any]:
    """As `dataclasses.asdict`, which copies every number deeply, in a tenth of the time."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _canonical(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()[:12]
