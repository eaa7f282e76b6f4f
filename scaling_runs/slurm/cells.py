"""Cells as jobs of a Slurm cluster, by sbatch and squeue alone.

Hydra's own plugin (hydra-submitit-launcher 1.2) is not used: it sizes all jobs alike, waits for a pickle of each, which
a job that is killed never writes, and knows nothing of the jobs of a run before, whose cells it would train twice. Here
the store says what is done, squeue which jobs there are, and `record.py` which cells are theirs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from fit.errors import UserError
from scaling_runs.config import Config
from scaling_runs.errors import WorkersDied
from scaling_runs.numbers import number
from scaling_runs.places import VIEWS_AGREE_S
from scaling_runs.report import say
from scaling_runs.slurm.options import SlurmOptions
from scaling_runs.slurm.queue import JobKey, ends_of, jobs_of, require_slurm
from scaling_runs.slurm.record import Job
from scaling_runs.slurm.stuck import stuck_lines
from scaling_runs.slurm.submission import LOOK_EVERY_S, Submitter
from scaling_runs.store import CellBusy, CellFolder, Store

ASK_AGAIN_S, PATIENCE_S = 30.0, 3600.0
"""Of a Slurm that does not say which jobs it has, while a sweep only waits."""
FROM_OUTSIDE = ("BOOT_FAIL", "CANCELLED", "PREEMPTED", "REVOKED")
"""States of jobs whose end is no fault of theirs."""
MOST_NAMED, MOST_WORDS = 3, 200
LAUNCH = Path(__file__).parents[2] / "launch.py"
OF_THE_LAUNCHER = ("hydra/launcher=", "hydra.launcher.", "detach=")
"""Options that a job, which trains by itself, would not understand."""


class SlurmCells:
    """Submits cells, and waits for them."""

    def __init__(self, options: SlurmOptions, config: Config) -> None:
        assert config.sweep is not None
        require_slurm()
        self.config = config
        self.store = Store.at(config.store)
        self.submitter = Submitter(self.store, config.sweep.name, options, config.threads)

    def train(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Train each cell in a job of its own, or with those of its trunk; how each ended.

        Cells that a job of an earlier run has are left to it. WorkersDied where jobs are gone and their cells neither
        finished nor failed, once all others have ended: the sweep then launches what is left from its checkpoints.
        """
        commands = {_cell_of(overrides): _command(overrides) for overrides in job_overrides}
        failed_before = self.store.of_each(list(commands), CellFolder.failed_at)
        jobs = self.submitter.jobs_of(commands)
        if self.config.detach:
            return [JobReturn(status=JobStatus.COMPLETED) for _ in commands]
        try:
            _wait(jobs, self.submitter.hand_on)
        except KeyboardInterrupt:
            ids = " ".join(str(array) for array in sorted({job.array for job in jobs}))
            say(f"the jobs go on, and the same command finds them; to end them: scancel {ids}")
            raise
        ends = _ends(jobs)
        of_cell = {cell_id: job for job in jobs for cell_id in job.cells}
        until = time.monotonic() + VIEWS_AGREE_S
        returns = {
            cell_id: self._ended(cell_id, ends.get(of_cell[cell_id].key), failed_before[cell_id], until)
            for cell_id in commands
        }
        if left := {cell_id: of_cell[cell_id] for cell_id, ended in returns.items() if ended is None}:
            told_to = [cell_id for cell_id, job in left.items() if ends.get(job.key) in FROM_OUTSIDE]
            raise WorkersDied(self._told(left, ends), told_to)
        return [ended for ended in returns.values() if ended is not None]

    def _ended(
        self, cell_id: str, state: str | None, failed_before: int | None, until: float
    ) -> JobReturn | None:
        """How, by what its folder has; a failure of an earlier run is none of this one. None where it has nothing."""
        folder = self.store.cell(cell_id)
        # this machine may see an older state of the folder than the job's
        while state == "COMPLETED" and not folder.finished() and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)
        if folder.finished():
            return JobReturn(status=JobStatus.COMPLETED)
        if folder.failed_at() != failed_before and (reason := folder.failure()) is not None:
            return JobReturn(status=JobStatus.FAILED, _return_value=RuntimeError(reason))
        if folder.kept():
            busy = CellBusy(f"cell '{cell_id}' is being trained by {folder.holder()}")
            return JobReturn(status=JobStatus.FAILED, _return_value=busy)
        return None

    def _told(self, left: Mapping[str, Job], ends: Mapping[JobKey, str]) -> str:
        """Jobs that have ended and left these cells, each once."""
        jobs = list(dict.fromkeys(left.values()))
        told = []
        for job in jobs[:MOST_NAMED]:
            log = self.submitter.logs / f"{job.name}.log"
            told.append(f"{job.name} {ends.get(job.key, 'is gone')}, whose log {log} {_last_words(log)}")
        more = f", and {len(jobs) - MOST_NAMED} more" if len(jobs) > MOST_NAMED else ""
        return f"Slurm has ended {number(len(jobs), 'job')} before {number(len(left), 'cell')}: {'; '.join(told)}{more}"


def _command(overrides: Sequence[str]) -> list[str]:
    options = [one for one in overrides if not one.startswith(OF_THE_LAUNCHER)]
    return [sys.executable, str(LAUNCH), *options, "hydra.mode=RUN", "hydra/launcher=basic"]


def _cell_of(overrides: Sequence[str]) -> str:
    """The id that the sweep's `cell='…'` names."""
    return overrides[-1].partition("=")[2].strip("'")


def _wait(jobs: Sequence[Job], hand_on: Callable[[], bool]) -> None:
    """Until Slurm has none of them any more. What it holds for good is said, once for each of its reasons.

    hand_on: called at first, and where no job of some array is left, until it says that it is done.
    """
    arrays = {job.array for job in jobs}
    shared_by: int | None = None
    waited_for = {job.key for job in jobs}
    told: set[str] = set()
    silent_since: float | None = None
    while True:
        try:
            held = jobs_of(arrays)
        except UserError as error:  # a controller that is started anew, or has too much to do
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > PATIENCE_S:
                raise
            if str(error) not in told:
                say(f"warning: {error}; it is asked again for up to {PATIENCE_S / 60:.0f} minutes")
                told.add(str(error))
            time.sleep(ASK_AGAIN_S)
            continue
        silent_since = None
        alive = {key for key in waited_for if key in held and held[key].living}
        if not alive:
            return
        if (left := len({array for array, _ in alive})) != shared_by:
            try:
                shared_by = left if hand_on() else None
            except UserError as error:  # jobs run as they did until it is tried again
                if str(error) not in told:
                    say(f"warning: {error}")
                    told.add(str(error))
        for reason, line in stuck_lines(alive, held).items():
            if reason not in told:
                say(f"warning: {line}")
                told.add(reason)
        time.sleep(LOOK_EVERY_S)


def _ends(jobs: Sequence[Job]) -> dict[JobKey, str]:
    """How those that are over ended; of none where Slurm does not say, for the store knows what is done."""
    try:
        return ends_of([job.key for job in jobs], jobs_of({job.array for job in jobs}))
    except UserError as error:
        say(f"warning: {error}")
        return {}


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return "can't be read"
    last = next((line.strip() for line in reversed(lines) if line.strip()), None)
    return "is empty" if last is None else f"ends with '{last[:MOST_WORDS]}'"
