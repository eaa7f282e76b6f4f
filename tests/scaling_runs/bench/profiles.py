"""Profiles whose speeds are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from models.flops import forward_flops_per_token
from scaling_runs.bench.profile import Profile, Row, Setting
from tests.configs import config_of

PEAK_FLOPS_PER_S = 1e11


def setting_of(width: int = 32, batch: int = 8, **changes: object) -> Setting:
    shape = config_of().model.ladder(257).shape(width)
    setting = Setting(shape, 64, batch, "fp32", False, 1, 1, "muon")
    return dataclasses.replace(setting, **changes)  # type: ignore[arg-type]


def row_of(setting: Setting, flops_per_s: float = 1e10) -> Row:
    """A step and an evaluated token at this speed."""
    return Row(
        setting,
        setting.batch_tokens * setting.flops_per_token / flops_per_s,
        forward_flops_per_token(setting.shape, setting.seq_len) / flops_per_s,
        5e6,
        None,
    )


def profile_of(rows: Sequence[Row], **changes: object) -> Profile:
    peaks = {"fp32": PEAK_FLOPS_PER_S, "bf16": 2 * PEAK_FLOPS_PER_S}
    profile = Profile("a machine", "cpu", 2, None, "2.13", "code", peaks, None, None, tuple(rows))
    return dataclasses.replace(profile, **changes)  # type: ignore[arg-type]


def grid_of(speed: Callable[[Setting], float], **changes: object) -> Profile:
    """Widths 16 to 64 by batches of 4 to 64 sequences, each at `speed` FLOPs a second."""
    settings = [setting_of(width, batch, **changes) for width in (16, 32, 64) for batch in (4, 16, 64)]
    return profile_of([row_of(setting, speed(setting)) for setting in settings])
