"""The precision that a plan's cells train in, where the config leaves it open."""

from __future__ import annotations

from collections.abc import Callable

from models.native.library import kernels
from scaling_runs.bench.profile import Profile, named_profile
from scaling_runs.config import Config
from scaling_runs.estimate import estimate_plan
from scaling_runs.hardware import measured_matmul_flops_per_s
from scaling_runs.launchers import SideBySide
from scaling_runs.plan import Plan
from scaling_runs.ranks import world_size
from scaling_runs.runtime import default_precision
from scaling_runs.spec import Precision
from scaling_runs.store import Store

MIN_GAIN = 1.5
"""bf16 is worth its rounding from this much speed on (docs/performance.md: it trains as well)."""
MIN_PEAK_GAIN = 1.5
"""Products that gain less make no step that gains MIN_GAIN; where bf16 is slower by far, a trial would take long."""


def chosen_precision(
    config: Config, plan_in: Callable[[Precision], Plan], side_by_side: SideBySide
) -> Precision:
    """One precision for all cells of a plan, so that no valley has a step in it.

    bf16 on a GPU. On a CPU, this one or that of a profile, fp32, or bf16 where trials say that the whole plan takes
    1/1.5 of the time in it at most. What was begun goes on: a plan that has cells in the store in one precision alone
    keeps that.
    """
    profile = named_profile(config.hardware)
    if default_precision() == "bf16" and profile is None:
        return "bf16"
    plans = {precision: plan_in(precision) for precision in ("fp32", "bf16")}
    begun = [precision for precision, plan in plans.items() if _begun(plan, Store.at(config.store))]
    if begun:
        return begun[0]  # type: ignore[return-value]
    if world_size() > 1 or config.threads > 1 or not _can_gain(profile):
        return "fp32"
    seconds = {name: estimate_plan(plan, config, side_by_side).total_s for name, plan in plans.items()}
    return "bf16" if seconds["fp32"] > MIN_GAIN * seconds["bf16"] else "fp32"


def _can_gain(profile: Profile | None) -> bool:
    """Whether bf16 can be quicker: by the profile that the plan is for, or by what this machine multiplies in it."""
    if profile is not None:
        return {"fp32", "bf16"} <= {row.setting.precision for row in profile.rows}
    return _has_bf16_products() and kernels("bf16") is not None


def _begun(plan: Plan, store: Store) -> bool:
    return any(store.cell(cell.cell_id).path.exists() for cell in plan.cells)


def _has_bf16_products() -> bool:
    size, repeats = 256, 3
    speeds = [measured_matmul_flops_per_s("cpu", name, size, repeats) for name in ("fp32", "bf16")]
    return speeds[1] > MIN_PEAK_GAIN * speeds[0]
