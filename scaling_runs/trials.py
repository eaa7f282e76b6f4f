"""Seconds of a cell on this machine: a short timed trial of its shape, or what the machine's own profile says."""

from __future__ import annotations

from pathlib import Path

import torch

from fit.errors import UserError
from models.flops import params, train_flops_per_token
from scaling_runs.bench.profile import CPU, CUDA, Profile, read_profile
from scaling_runs.bench.rates import Rates, Told
from scaling_runs.bench.settings import PROFILE
from scaling_runs.cell import Cell
from scaling_runs.hardware import mfu, peak_flops_per_s
from scaling_runs.layout import cell_flops, evaluated_tokens
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.timing import StepTimer, torch_threads
from scaling_runs.trial_cache import TrialCache, machine_digest

TRIALS = "trials.json"
"""In the folder of prepared data."""
START_S, BESIDE_S = 3.6, 0.37
"""What the bench found of a sweep and of a cell beside their steps on two cores of a Zen 5 (docs/hardware.md): taken
where this machine has no profile that says its own."""
TRIAL_MAX_STEP_FLOPS = 3e10
"""Larger steps would make a dry run slow; they are estimated from the profile, or the peak."""


def seconds_of(cell: Cell, step_s: float, eval_token_s: float) -> float:
    """Of training and evaluations."""
    return cell.trained_steps * step_s + evaluated_tokens(cell.spec) * eval_token_s


def own_profile(cache_dir: Path) -> tuple[Profile | None, str]:
    """What `python -m scaling_runs bench` measured here with this code, if it did; and what a plan says of it."""
    path = cache_dir / PROFILE
    if not path.exists():
        return None, ""
    try:
        found = read_profile(path)
    except UserError:  # a plan can do without, and bench says what is wrong
        return None, f", without its profile: {path} can't be read"
    device = CUDA if torch.cuda.is_available() else CPU
    if found.device == device and found.code == machine_digest():
        return found, " and its profile"
    return None, f", without its profile: {path} is of other code, another torch or another machine"


class Trials:
    """Times a few steps of each (shape, batch) once a machine, `at_once` of which it will train side by side."""

    def __init__(self, cache_dir: Path, threads: int, at_once: int) -> None:
        self.threads, self.at_once = threads, at_once
        self.known = TrialCache(cache_dir / TRIALS, threads)
        self.profile, self.of_profile = own_profile(cache_dir)

    def __call__(self, cell: Cell) -> float:
        """Seconds of the cell beside others, its start included."""
        own = None if self.profile is None else self.profile.beside_s
        return self.steps_s(cell) + (BESIDE_S if own is None else own)

    @property
    def start_s(self) -> float:
        """Seconds of a sweep beside its cells."""
        own = None if self.profile is None else self.profile.start_s
        return START_S if own is None else own

    def steps_s(self, cell: Cell) -> float:
        """Of its steps and evaluations."""
        spec = cell.spec
        step_flops = spec.batch_tokens * train_flops_per_token(spec.shape, spec.seq_len, "exact")
        if step_flops <= TRIAL_MAX_STEP_FLOPS and not torch.cuda.is_available():
            return self._slower(spec) * seconds_of(cell, *self.trial(spec))
        told = self._told(spec, self.at_once)
        if told is not None:
            return seconds_of(cell, told.step_s, told.eval_token_s)
        device = "cuda:0" if torch.cuda.is_available() else CPU
        with torch_threads(self.threads):
            rate = peak_flops_per_s(device, spec.precision) * mfu(params(spec.shape, spec.seq_len, "all"))
            return cell_flops(spec, cell.trained_steps) / rate

    def trial(self, spec: CellSpec) -> tuple[float, float]:
        """(seconds a step, seconds an evaluated token) on this CPU, with no other cell beside it."""
        seconds = self.known.get(spec)
        if seconds is None:
            with torch_threads(self.threads):
                timer = StepTimer(spec, Runtime(precision=spec.precision))
                seconds = timer.steps().seconds, timer.eval_token_s()
            self.known.put(spec, seconds)
        return seconds

    def _slower(self, spec: CellSpec) -> float:
        """By how much a step takes longer where others train beside it, by the profile; 1 without."""
        alone, beside = self._told(spec, 1), self._told(spec, self.at_once)
        return 1.0 if alone is None or beside is None else max(1.0, beside.step_s / alone.step_s)

    def _told(self, spec: CellSpec, at_once: int) -> Told | None:
        if self.profile is None or all(row.setting.precision != spec.precision for row in self.profile.rows):
            return None
        return Rates(self.profile, at_once, self.threads).told(spec)
