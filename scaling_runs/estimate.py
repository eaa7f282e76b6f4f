"""How long a plan will take: a short timed trial of each shape here, or a peak and a utilisation elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fit.errors import UserError
from models.flops import params, train_flops_per_token
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.hardware import gpu, mfu, peak_flops_per_s, workers
from scaling_runs.launchers import SideBySide
from scaling_runs.layout import Layout, cell_flops, evaluated_tokens, layout
from scaling_runs.numbers import number
from scaling_runs.optim import build_optimizers
from scaling_runs.packing import ends_s, packed_s
from scaling_runs.plan import Plan, together
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.train import TrainStep, next_token_loss
from scaling_runs.trial_cache import TrialCache

TRIALS = "trials.json"
"""In the folder of prepared data."""
TRIAL_S = 0.12
"""Seconds of steps that a trial times, after one to warm up."""
TRIAL_MIN_STEPS, TRIAL_MAX_STEPS = 3, 50
TRIAL_MAX_STEP_FLOPS = 3e10
"""Larger steps would make a dry run slow; they are estimated from the peak."""


@dataclass(frozen=True)
class Cluster:
    """The GPUs that a plan is for, and how its cells lie on them, by cell id."""

    hardware: str
    gpus: int
    hour_price: float
    """US dollars of a GPU."""
    layouts: dict[str, Layout]

    @property
    def gpu_hours(self) -> float:
        return sum(layout.gpu_hours for layout in self.layouts.values())

    @property
    def cost(self) -> float:
        """US dollars."""
        return self.gpu_hours * self.hour_price


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

    Cells make headway side by side on as many GPUs or cores as this machine has; jobs of a queue, where a trunk's cells
    are one, as many as it runs at once.
    """
    if config.hardware is not None:
        return _on_cluster(plan, config, side_by_side)
    seconds_a_cell = _Trials(config.threads, Path(config.data.cache_dir) / TRIALS)
    cell_s = {cell.cell_id: seconds_a_cell(cell) for cell in plan.cells}
    precisions = " and ".join(sorted({cell.spec.precision for cell in plan.cells}))
    basis = f"a trial on this machine in {precisions}"
    if side_by_side.here:
        at_once = max(1, min(side_by_side.cells or workers(), len(plan.cells), workers()))
        total_s = max(sum(cell_s.values()) / at_once, max(cell_s.values(), default=0.0))
        return Estimate(cell_s, total_s, at_once, f"{basis}, {at_once} side by side")
    job_s = sorted((sum(cell_s[spec.cell_id] for spec in job) for job in _jobs(plan)), reverse=True)
    at_once = max(1, min(side_by_side.cells or len(job_s), len(job_s)))
    return Estimate(
        cell_s, ends_s(job_s, at_once), at_once, f"{basis}, {number(at_once, 'job')} side by side"
    )


def _jobs(plan: Plan) -> list[list[CellSpec]]:
    """Those of a queue: cells of a trunk in one."""
    return together({cell.cell_id: cell.spec for cell in plan.cells}.values())


def _on_cluster(plan: Plan, config: Config, side_by_side: SideBySide) -> Estimate:
    """Each cell on as many GPUs as it takes, packed side by side; a queue's jobs, no more at once than it runs."""
    assert config.hardware is not None
    hardware, gpus, hour_price = config.hardware, config.gpus, config.gpu_hour_price
    one = gpu(hardware)
    price = one.hour_price if hour_price is None else hour_price
    if price is None:
        raise UserError(
            f"no price an hour is known of hardware='{hardware}'; give gpu_hour_price, such as 2.5"
        )
    layouts = {cell.cell_id: layout(cell.spec, one, gpus, cell.trained_steps) for cell in plan.cells}
    cluster = Cluster(hardware, gpus, price, layouts)
    packed, at_once, limit = list(layouts.values()), None, ""
    if not side_by_side.here:
        packed = [_one_after_another([layouts[spec.cell_id] for spec in job]) for job in _jobs(plan)]
        at_once = side_by_side.cells
        limit = f", {number(at_once, 'job')} at once" if at_once is not None else ""
    shares = [mfu(params(cell.spec.shape, cell.spec.seq_len, "all"), one.mfu) for cell in plan.cells]
    return Estimate(
        {cell_id: found.seconds for cell_id, found in layouts.items()},
        packed_s(packed, gpus, at_once),
        1,
        f"{gpus} x {hardware} at {min(shares):.0%} to {max(shares):.0%} of its bf16 peak by size, packed side by "
        f"side{limit}",
        cluster,
    )


def _one_after_another(layouts: Sequence[Layout]) -> Layout:
    """Of a job of several cells: the most GPUs that one has, and the seconds of all on them."""
    widest = max(layouts, key=lambda one: one.gpus)
    return replace(widest, seconds=sum(one.gpus * one.seconds for one in layouts) / widest.gpus)


class _Trials:
    """Times a few steps of each (shape, batch) once a machine."""

    def __init__(self, threads: int, kept_in: Path) -> None:
        self.threads, self.known = threads, TrialCache(kept_in, threads)

    def __call__(self, cell: Cell) -> float:
        spec = cell.spec
        step_flops = spec.batch_tokens * train_flops_per_token(spec.shape, spec.seq_len, "exact")
        if step_flops > TRIAL_MAX_STEP_FLOPS or torch.cuda.is_available():
            device = "cuda:0" if torch.cuda.is_available() else "cpu"
            with _threads(self.threads):
                rate = peak_flops_per_s(device, spec.precision) * mfu(params(spec.shape, spec.seq_len, "all"))
                return cell_flops(spec, cell.trained_steps) / rate
        seconds = self.known.get(spec)
        if seconds is None:
            seconds = _trial(spec, self.threads)
            self.known.put(spec, seconds)
        step_s, eval_token_s = seconds
        return cell.trained_steps * step_s + evaluated_tokens(spec) * eval_token_s


def _trial(spec: CellSpec, threads: int) -> tuple[float, float]:
    """(seconds a step, seconds an evaluated token) on this CPU."""
    from models.factory import build_model  # loads transformers, for whose seconds only a trial need wait
    from models.loss import NextTokenLoss

    with _threads(threads):
        runtime = Runtime(precision=spec.precision)
        model = build_model(spec.shape, seq_len=spec.seq_len, seed=0, init_std=spec.recipe.init_std)
        network = NextTokenLoss(model)
        step = TrainStep(
            network, build_optimizers(model, spec.recipe), replace(spec, steps=TRIAL_MAX_STEPS), runtime
        )
        windows = _windows(spec, spec.recipe.batch_size)
        rows = torch.from_numpy(_windows(spec, max(1, runtime.eval_tokens // spec.seq_len)))
        step_s = _steady_s(lambda: step(windows, 1))
        with torch.no_grad():
            eval_s = _steady_s(lambda: next_token_loss(network, rows, spec, runtime), at_least=1, for_s=0)
    return step_s, eval_s / (len(rows) * spec.seq_len)


def _windows(spec: CellSpec, rows: int) -> np.ndarray:
    return np.random.default_rng(0).integers(spec.shape.vocab_size, size=(rows, spec.seq_len + 1))


def _steady_s(act: Callable[[], object], at_least: int = TRIAL_MIN_STEPS, for_s: float = TRIAL_S) -> float:
    """Seconds of one call on a core of its own: the lower quartile of `at_least` or as many as `for_s` seconds hold.

    The clock is that of this thread's work, so that it stands still while another process has the core.
    """
    act()
    times: list[float] = []
    until = time.monotonic() + for_s
    while len(times) < at_least or (time.monotonic() < until and len(times) < TRIAL_MAX_STEPS):
        started = time.thread_time()
        act()
        times.append(time.thread_time() - started)
    return sorted(times)[len(times) // 4]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch computes with `count` threads inside, and after it with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
