"""Profiles as tables."""

from __future__ import annotations

from scaling_runs.bench.profile import CUDA, Profile, Row, Setting
from scaling_runs.numbers import count

SETTING_HEADER = f"{'shape':>14} {'params':>7} {'batch':>5} {'tokens':>7} {'':>9} {'devices':>7}"
HEADER = f"{SETTING_HEADER} {'tokens/s':>9} {'MFU':>5} {'MB each':>8} {'J/Mtoken':>9}"


def line(profile: Profile, row: Row) -> str:
    """A row under HEADER."""
    return (
        f"{setting_columns(row.setting)} {count(row.tokens_per_s):>9} {profile.mfu(row):>5.0%} {memory(row):>8} "
        f"{joules(row):>9}"
    )


def memory(row: Row) -> str:
    """In MB."""
    return "-" if row.memory_bytes is None else f"{row.memory_bytes / 1e6:.1f}"


def joules(row: Row) -> str:
    """Of a million tokens."""
    return "-" if row.joules_per_token is None else f"{1e6 * row.joules_per_token:.3g}"


def setting_columns(setting: Setting) -> str:
    """Under SETTING_HEADER."""
    how = setting.precision + " c" * setting.compile
    return (
        f"{setting.shape.name:>14} {count(setting.params):>7} {setting.batch:>5} {setting.batch_tokens:>7} {how:>9} "
        f"{setting.devices:>7}"
    )


def summary(profile: Profile) -> str:
    """What stands below the table."""
    peaks = ", ".join(
        f"{peak / 1e9:,.0f} GFLOP/s in {name}" for name, peak in profile.peak_flops_per_s.items()
    )
    where = "the maker's peak" if profile.device == CUDA else "measured products of 1024 x 1024"
    grown = "its allocator held" if profile.device == CUDA else "a process grew by"
    lines = [
        f"tokens/s of all devices together, each with a model of its own; c compiled; MFU of {where} of a device",
        f"({peaks}); MB: what {grown} at most",
    ]
    if profile.start_s is not None and profile.beside_s is not None:
        lines.append(
            f"a sweep takes {profile.start_s:.1f} s to start and end, and {profile.beside_s:.2f} s a cell beside its "
            f"steps"
        )
    return "\n".join([*lines, *(f"left out: {reason}" for reason in profile.left_out)])
