"""From a profile to the seconds of any cell: FLOPs a second, even in log of params and of a step's tokens. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fit.errors import UserError
from models.flops import forward_flops_per_token, params, train_flops_per_token
from scaling_runs.bench.profile import CUDA, Profile, Row, Setting
from scaling_runs.spec import CellSpec

SAME = 1e-9
"""Relative: what rounding may add to the end of a range."""


@dataclass(frozen=True)
class Told:
    """What a profile says of a cell."""

    step_s: float
    eval_token_s: float
    beyond: frozenset[str]
    """In what the cell lies beyond the profile: `sizes`, `batches`, `windows`, `cells at once`. It is then timed by the
    nearest that the profile has."""


@dataclass(frozen=True)
class Rates:
    """How quick one device of a profile is while `at_once` of them train."""

    profile: Profile
    at_once: int
    threads: int = 1

    def told(self, spec: CellSpec, gpus: int = 1) -> Told:
        """Of a cell on `gpus` devices that share its batch evenly, as if they lost nothing by it.

        UserError where the profile has nothing in the cell's precision.
        """
        rows = self._rows(spec)
        size, tokens = params(spec.shape, spec.seq_len, "all"), spec.batch_tokens / gpus
        beyond = set()
        if not _within(size, [row.setting.params for row in rows]):
            beyond.add("sizes")
        near = _neighbours(size, {row.setting.params for row in rows})
        if not all(
            _within(tokens, [row.setting.batch_tokens for row in rows if row.setting.params == one])
            for one in near
        ):
            beyond.add("batches")
        if all(row.setting.seq_len != spec.seq_len for row in rows):
            beyond.add("windows")
        if all(row.setting.devices != self.at_once for row in rows):
            beyond.add("cells at once")
        step_rate = _interpolated(rows, size, tokens, [row.flops_per_s for row in rows])
        eval_rate = _interpolated(rows, size, tokens, [_eval_flops_per_s(row) for row in rows])
        step_flops = tokens * train_flops_per_token(spec.shape, spec.seq_len, "exact")
        eval_flops = forward_flops_per_token(spec.shape, spec.seq_len) / gpus
        return Told(step_flops / step_rate, eval_flops / eval_rate, frozenset(beyond))

    def _rows(self, spec: CellSpec) -> list[Row]:
        """One of each size and batch: in the cell's precision, and otherwise as near to how it trains as there is."""
        points: dict[tuple[int, int], list[Row]] = defaultdict(list)
        for row in self.profile.rows:
            if row.setting.precision == spec.precision:
                points[row.setting.params, row.setting.batch_tokens].append(row)
        if not points:
            held = ", ".join(sorted({row.setting.precision for row in self.profile.rows})) or "nothing"
            raise UserError(
                f"the profile of '{self.profile.machine}' has no rows in {spec.precision} (it has {held}); measure "
                f"them there by python -m scaling_runs bench precision={spec.precision}, or give another precision"
            )
        return [min(rows, key=lambda row: self._distance(row.setting, spec)) for rows in points.values()]

    def _distance(self, setting: Setting, spec: CellSpec) -> tuple[float, ...]:
        return (
            setting.compile != (self.profile.device == CUDA),  # as cells train there
            setting.threads != self.threads,
            setting.optimizer != spec.recipe.optimizer,
            abs(math.log(setting.devices / self.at_once)),
            abs(math.log(setting.seq_len / spec.seq_len)),
        )


def _eval_flops_per_s(row: Row) -> float:
    return forward_flops_per_token(row.setting.shape, row.setting.seq_len) / row.eval_token_s


def _interpolated(rows: list[Row], size: float, tokens: float, rates: list[float]) -> float:
    """Along the batch at each size, then along the size; held beyond the ends."""
    of_size: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row, rate in zip(rows, rates, strict=True):
        of_size[row.setting.params].append((math.log(row.setting.batch_tokens), math.log(rate)))
    sizes = sorted(of_size)
    at_tokens = []
    for one in sizes:
        places, logs = zip(*sorted(of_size[one]), strict=True)
        at_tokens.append(float(np.interp(math.log(tokens), places, logs)))
    return math.exp(float(np.interp(math.log(size), np.log(sizes), at_tokens)))


def _neighbours(size: float, sizes: Iterable[int]) -> set[int]:
    """Those of `sizes` between which `size` lies, or the one at the end."""
    below = [one for one in sizes if one <= size]
    above = [one for one in sizes if one >= size]
    return {max(below)} if not above else {min(above)} if not below else {max(below), min(above)}


def _within(value: float, held: Iterable[float]) -> bool:
    known = list(held)
    return min(known) * (1 - SAME) <= value <= max(known) * (1 + SAME)
