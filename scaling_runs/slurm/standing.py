"""What Slurm says of a sweep's jobs, for `python -m scaling_runs status`. Without torch and Hydra."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fit.errors import UserError
from scaling_runs.numbers import number
from scaling_runs.slurm.queue import JobKey, QueuedJob, ends_of, jobs_of
from scaling_runs.slurm.record import Job, logs_of, read_arrays
from scaling_runs.slurm.stuck import stuck_lines

MOST_LINES = 20
"""Of jobs that have ended."""
NO_REASON = "no reason yet"


@dataclass(frozen=True)
class Left:
    """A job that is over, and has left cells that are neither finished nor failed."""

    job: Job
    state: str | None
    """Such as TIMEOUT or OUT_OF_MEMORY; None where Slurm no longer knows, and has no accounting."""
    cells: tuple[str, ...]


def slurm_lines(folder: Path, open_cells: Mapping[str, str]) -> list[str]:
    """Of the jobs that `folder` has a record of; none where nothing was submitted to Slurm.

    open_cells: by id, what to call those that are neither finished nor failed.
    """
    jobs = [job for array in read_arrays(folder) if array.job_id is not None for job in array.jobs]
    if not jobs:
        return []
    if shutil.which("squeue") is None:
        return ["  Slurm was not asked: this machine has no squeue"]
    try:
        held = jobs_of({job.array for job in jobs})
        left = left_by(jobs, held, open_cells)
    except UserError as error:
        return [f"  {error}"]
    stuck = [f"  {line}" for line in stuck_lines([job.key for job in jobs], held).values()]
    return [_counted(jobs, held), *stuck, *_told(left, open_cells, folder)]


def left_by(
    jobs: Sequence[Job], held: Mapping[JobKey, QueuedJob], open_cells: Mapping[str, str]
) -> list[Left]:
    """Of `jobs`, those that are over with open cells; no other job that is to train the same cell lives."""
    alive = {job for job in jobs if job.key in held and held[job.key].living}
    taken = {cell_id for job in alive for cell_id in job.cells}
    over = {
        job: tuple(cell_id for cell_id in job.cells if cell_id in open_cells and cell_id not in taken)
        for job in jobs
        if job not in alive
    }
    ends = ends_of([job.key for job, cells in over.items() if cells], held)
    return [Left(job, ends.get(job.key), cells) for job, cells in over.items() if cells]


def _counted(jobs: Sequence[Job], held: Mapping[JobKey, QueuedJob]) -> str:
    alive = [held[job.key] for job in jobs if job.key in held and held[job.key].living]
    pending = [job for job in alive if job.state == "PENDING"]
    others = Counter(job.state.lower() for job in alive if job.state != "PENDING")
    running = others.pop("running", 0)
    parts = [f"{number(running, 'job')} running", f"{len(pending)} pending{_reasons(pending)}"]
    return "  Slurm: " + ", ".join([*parts, *(f"{count} {state}" for state, count in others.items())])


def _reasons(pending: list[QueuedJob]) -> str:
    if not pending:
        return ""
    counts = Counter(NO_REASON if job.reason in ("", "None") else job.reason for job in pending)
    return " (" + ", ".join(f"{count} {reason}" for reason, count in counts.most_common()) + ")"


def _told(left: list[Left], names: Mapping[str, str], folder: Path) -> list[str]:
    lines = []
    for one in left[:MOST_LINES]:
        job = one.job.name
        how = f"ended: {one.state}" if one.state else "gone, and Slurm no longer says how"
        cells = "; ".join(names[cell_id] for cell_id in one.cells)
        lines.append(f"  job {job} {how}; left {cells}; log {logs_of(folder) / f'{job}.log'}")
    if len(left) > MOST_LINES:
        lines.append(f"  and {len(left) - MOST_LINES} more jobs that left cells")
    if left:
        lines.append("  the same launch.py command submits what they left")
    return lines
