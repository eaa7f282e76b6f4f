"""`python -m scaling_runs bench`: measures a machine, writes its profile and its figure, prints the table."""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from collections.abc import Sequence

import torch

from fit.errors import UserError
from models.native.library import processor
from scaling_runs.bench.energy import EnergyMeter, cpu_meter, gpu_meter
from scaling_runs.bench.figure import draw_profile
from scaling_runs.bench.measure import NotMeasured, measure
from scaling_runs.bench.overheads import SWEEPS, NoSweep, measure_overheads
from scaling_runs.bench.profile import CPU, CUDA, Profile, Setting, read_profile, write_profile
from scaling_runs.bench.report import HEADER, line, summary
from scaling_runs.bench.settings import Asked, Machine, read_options, settings_of, spec_of
from scaling_runs.bench.worker import Task
from scaling_runs.hardware import peak_flops_per_s, workers
from scaling_runs.numbers import duration, number
from scaling_runs.placement import device_memory_bytes
from scaling_runs.stopping import Terminated
from scaling_runs.timing import torch_threads
from scaling_runs.trial_cache import machine_digest

TIMED_S = 1.0
"""Of steps of a row; energy counters move every millisecond (RAPL) to tenth of a second (NVML)."""


def bench(arguments: Sequence[str]) -> int:
    """Measure what the options ask for; the exit code. UserError where they can't be heeded.

    Each row is in the profile once it is measured: where the rest is interrupted, or fails, it stays, and so do rows of
    earlier runs of the same code that this one does not measure anew.
    """
    asked = read_options(arguments)
    machine = Machine(CUDA if torch.cuda.is_available() else CPU, workers())
    settings, left_out = settings_of(asked, machine)
    profile = _begun(asked, machine)
    meter = _meter(machine)
    if not meter.counters:
        left_out.append(f"joules: {meter.reason}")
    print(f"{profile.machine}, torch {profile.torch}, {number(len(settings), 'row')}\n{HEADER}", flush=True)
    started = time.monotonic()
    measured = 0
    try:
        for setting in settings:
            try:
                row = measure(setting, _task(setting, asked, machine), meter)
            except NotMeasured as reason:
                left_out.append(f"{_told(setting)}: {reason}")
                continue
            profile = profile.with_row(row)
            measured += 1
            write_profile(asked.profile, profile)
            print(line(profile, row), flush=True)
        profile = _with_overheads(profile, asked, left_out)
        profile = dataclasses.replace(profile, left_out=tuple(left_out))
    except KeyboardInterrupt as interrupt:
        kept = f"; {number(measured, 'row')} of {len(settings)} {'is' if measured == 1 else 'are'} in {asked.profile}"
        print(
            f"interrupted{kept * bool(measured)}; run the same command again to measure all", file=sys.stderr
        )
        return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)
    if not profile.rows:
        raise UserError(f"nothing could be measured: {'; '.join(left_out)}")
    write_profile(asked.profile, profile)
    figure = asked.profile.with_suffix(".png")
    draw_profile(profile, figure)
    print(summary(profile))
    print(f"{duration(time.monotonic() - started)}; files: {asked.profile}, {figure}")
    return 0


def _told(setting: Setting) -> str:
    return (
        f"{setting.shape.name}, batch {setting.batch}, {setting.precision}, "
        f"{'compiled' if setting.compile else 'not compiled'}, {number(setting.devices, 'device')}"
    )


def _begun(asked: Asked, machine: Machine) -> Profile:
    """What is known of this machine already, or a profile without rows.

    UserError where the file to write is of another machine, or no profile.
    """
    name = torch.cuda.get_device_name(0) if machine.device == CUDA else _processor_name()
    code = machine_digest()
    with torch_threads(asked.config.threads):
        device = "cuda:0" if machine.device == CUDA else CPU
        peaks = {precision: peak_flops_per_s(device, precision) for precision in asked.precisions}
    empty = Profile(
        name,
        machine.device,
        machine.devices,
        device_memory_bytes(device),
        torch.__version__,
        code,
        peaks,
        None,
        None,
        (),
    )
    if not asked.profile.exists():
        return empty
    held = read_profile(asked.profile)
    if held.machine != name:
        raise UserError(
            f"profile={asked.profile} is of '{held.machine}', and this machine is '{name}'; name another file"
        )
    if held.code != code:
        print(
            f"{asked.profile} is of other code or another torch ({held.torch}): its {number(len(held.rows), 'row')} go"
        )
        return empty
    return dataclasses.replace(held, peak_flops_per_s=held.peak_flops_per_s | peaks)


def _processor_name() -> str:
    """By /proc/cpuinfo where that is."""
    names = [text for text in processor().splitlines() if text.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else " ".join(processor().split("\n")[:3])


def _meter(machine: Machine) -> EnergyMeter:
    if machine.device == CPU:
        return cpu_meter()
    return gpu_meter(
        [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(machine.devices)]
    )


def _task(setting: Setting, asked: Asked, machine: Machine) -> Task:
    spec = spec_of(setting, asked.config)
    return Task(spec, machine.device, setting.compile, setting.threads, TIMED_S)


def _with_overheads(profile: Profile, asked: Asked, left_out: list[str]) -> Profile:
    """With what a sweep takes beside its steps, which the plans of this machine need its profile for."""
    print(f"{SWEEPS} small sweeps, for what one takes beside its steps", flush=True)
    try:
        found = measure_overheads(asked.config, list(asked.data_options))
    except NoSweep as reason:
        left_out.append(f"start_s and beside_s: {reason}")
        return profile
    return dataclasses.replace(profile, start_s=found.start_s, beside_s=found.beside_s)
