"""How long a plan will take: by a timed trial of each shape here; elsewhere by a profile, or peak and utilisation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fit.errors import UserError
from models.flops import params
from scaling_runs.bench.profile import CPU, Profile, named_profile
from scaling_runs.bench.rates import Rates
from scaling_runs.config import Config
from scaling_runs.hardware import Gpu, gpu, measured_gpu, mfu, workers
from scaling_runs.launchers import ONE_BY_ONE, SideBySide
from scaling_runs.layout import Layout, layout
from scaling_runs.numbers import number
from scaling_runs.packing import ends_s, packed_s
from scaling_runs.plan import Plan, together
from scaling_runs.spec import CellSpec
from scaling_runs.trials import Trials, seconds_of


@dataclass(frozen=True)
class Cluster:
    """The GPUs that a plan is for, and how its cells lie on them, by cell id."""

    hardware: str
    gpus: int
    hour_price: float | None
    """US dollars of a GPU, where that is known."""
    layouts: dict[str, Layout]

    @property
    def gpu_hours(self) -> float:
        return sum(layout.gpu_hours for layout in self.layouts.values())

    @property
    def cost(self) -> float | None:
        """US dollars."""
        return None if self.hour_price is None else self.gpu_hours * self.hour_price


@dataclass(frozen=True)
class Estimate:
    """Seconds a cell, by cell id, and of the whole plan with cells side by side."""

    cell_s: dict[str, float]
    total_s: float
    side_by_side: int
    basis: str
    cluster: Cluster | None = None
    """Where hardware is named."""

    @property
    def gpus(self) -> dict[str, int]:
        """Of each cell, by cell id, where hardware is named; of none elsewhere."""
        layouts = {} if self.cluster is None else self.cluster.layouts
        return {cell_id: layout.gpus for cell_id, layout in layouts.items()}

    @property
    def one_device_s(self) -> dict[str, float]:
        """Seconds of each cell on one device: `cell_s` is on as many as its layout has, where hardware is named."""
        if self.cluster is None:
            return self.cell_s
        return {cell_id: layout.gpus * layout.seconds for cell_id, layout in self.cluster.layouts.items()}


def estimate_plan(plan: Plan, config: Config, side_by_side: SideBySide) -> Estimate:
    """Seconds that each cell and the whole plan will take, evaluations included.

    Cells make headway side by side on as many GPUs or cores as the machine has; jobs of a queue, where a trunk's cells
    are one, as many as it runs at once. The machine is this one, or that of `hardware=`: a card, or a profile.
    """
    profile = named_profile(config.hardware)
    if profile is not None and profile.device == CPU:
        return _on_profiled_cpu(plan, config, side_by_side, profile)
    if config.hardware is not None:
        return _on_cluster(plan, config, side_by_side, profile)
    at_once = _at_once(plan, side_by_side, workers())
    seconds_a_cell = Trials(Path(config.data.cache_dir), config.threads, min(at_once, workers()))
    cell_s = {cell.cell_id: seconds_a_cell(cell) for cell in plan.cells}
    precisions = " and ".join(sorted({cell.spec.precision for cell in plan.cells}))
    basis = f"a trial on this machine in {precisions}{seconds_a_cell.of_profile}"
    return _timed(plan, cell_s, at_once, side_by_side, basis, seconds_a_cell.start_s)


def _at_once(plan: Plan, side_by_side: SideBySide, devices: int) -> int:
    """Cells or jobs in training at the same time, on a machine of so many devices or a queue of such."""
    if side_by_side.here:
        return max(1, min(side_by_side.cells or devices, len(plan.cells), devices))
    jobs = len(_jobs(plan))
    return max(1, min(side_by_side.cells or jobs, jobs))


def _timed(
    plan: Plan,
    cell_s: dict[str, float],
    at_once: int,
    side_by_side: SideBySide,
    basis: str,
    start_s: float,
) -> Estimate:
    """The whole of a plan on one machine, or as jobs of a queue of its like. start_s: beside its cells."""
    if not side_by_side.here:
        job_s = sorted((sum(cell_s[spec.cell_id] for spec in job) for job in _jobs(plan)), reverse=True)
        basis += f", {number(at_once, 'job')} side by side"
        return Estimate(cell_s, ends_s(job_s, at_once), at_once, basis)
    total_s = max(sum(cell_s.values()) / at_once, max(cell_s.values(), default=0.0))
    if side_by_side != ONE_BY_ONE and cell_s:
        total_s += start_s
    return Estimate(cell_s, total_s, at_once, f"{basis}, {at_once} side by side")


def _on_profiled_cpu(plan: Plan, config: Config, side_by_side: SideBySide, profile: Profile) -> Estimate:
    """On another machine's cores, as `python -m scaling_runs bench` measured them there."""
    if config.gpus > 1 or config.gpu_hour_price is not None:
        raise UserError(
            f"gpus and gpu_hour_price are of GPUs, and hardware={config.hardware} is the profile of a CPU of "
            f"{number(profile.devices, 'core')}; leave them out"
        )
    at_once = _at_once(plan, side_by_side, profile.devices)
    rates = Rates(profile, min(at_once, profile.devices), config.threads)
    told = {cell.cell_id: rates.told(cell.spec) for cell in plan.cells}
    cell_s = {
        cell.cell_id: seconds_of(cell, told[cell.cell_id].step_s, told[cell.cell_id].eval_token_s)
        + (profile.beside_s or 0.0)
        for cell in plan.cells
    }
    basis = f"the profile of {profile.machine}{_beyond([one.beyond for one in told.values()])}"
    return _timed(plan, cell_s, at_once, side_by_side, basis, profile.start_s or 0.0)


def _beyond(of_cells: Sequence[frozenset[str]]) -> str:
    """How many cells lie beyond what a profile measured; nothing where all lie within."""
    counts = Counter(what for beyond in of_cells for what in sorted(beyond))
    if not counts:
        return ""
    listed = " and ".join(f"{count} beyond its {what}" for what, count in sorted(counts.items()))
    return f" (of {number(len(of_cells), 'cell')} {listed}, timed by the nearest that it has)"


def _jobs(plan: Plan) -> list[list[CellSpec]]:
    """Those of a queue: cells of a trunk in one."""
    return together({cell.cell_id: cell.spec for cell in plan.cells}.values())


def _on_cluster(plan: Plan, config: Config, side_by_side: SideBySide, profile: Profile | None) -> Estimate:
    """Each cell on as many GPUs as it takes, packed side by side; a queue's jobs, no more at once than it runs."""
    assert config.hardware is not None
    hardware, gpus, hour_price = config.hardware, config.gpus, config.gpu_hour_price
    one = gpu(hardware) if profile is None else measured_gpu(profile, gpus)
    price = one.hour_price if hour_price is None else hour_price
    layouts = {cell.cell_id: layout(cell.spec, one, gpus, cell.trained_steps) for cell in plan.cells}
    cluster = Cluster(hardware, gpus, price, layouts)
    packed, at_once, limit = list(layouts.values()), None, ""
    if not side_by_side.here:
        packed = [_one_after_another([layouts[spec.cell_id] for spec in job]) for job in _jobs(plan)]
        at_once = side_by_side.cells
        limit = f", {number(at_once, 'job')} at once" if at_once is not None else ""
    return Estimate(
        {cell_id: found.seconds for cell_id, found in layouts.items()},
        packed_s(packed, gpus, at_once),
        1,
        f"{gpus} x {_how_quick(plan, one, hardware, layouts)}, packed side by side{limit}",
        cluster,
    )


def _how_quick(plan: Plan, one: Gpu, hardware: str, layouts: dict[str, Layout]) -> str:
    """A card, and by what its cells are timed."""
    if one.rates is None:
        shares = [mfu(params(cell.spec.shape, cell.spec.seq_len, "all"), one.mfu) for cell in plan.cells]
        return f"{hardware} at {min(shares):.0%} to {max(shares):.0%} of its bf16 peak by size"
    beyond = [one.rates.told(cell.spec, layouts[cell.cell_id].gpus).beyond for cell in plan.cells]
    return f"{one.rates.profile.machine} by its profile{_beyond(beyond)}"


def _one_after_another(layouts: Sequence[Layout]) -> Layout:
    """Of a job of several cells: the most GPUs that one has, and the seconds of all on them."""
    widest = max(layouts, key=lambda one: one.gpus)
    return replace(widest, seconds=sum(one.gpus * one.seconds for one in layouts) / widest.gpus)
