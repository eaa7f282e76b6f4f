"""Cells as jobs of a Slurm cluster, by sbatch and squeue alone.

Hydra's own plugin (hydra-submitit-launcher 1.2) is not used: it sizes all jobs alike, waits for a pickle of each, which
a job that is killed never writes, and knows nothing of the jobs of a run before, whose cells it would train twice. Here
the store says what is done, squeue which jobs there are, and `slurm.json` in the sweep's folder which cells are theirs.
"""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from scaling_runs.config import Config
from scaling_runs.files import read_json, write_json
from scaling_runs.locks import Held, holding
from scaling_runs.numbers import number
from scaling_runs.report import say
from scaling_runs.slurm.options import SlurmOptions, minutes_for
from scaling_runs.slurm.queue import living, require_slurm, submit
from scaling_runs.slurm.script import script
from scaling_runs.store import Store
from scaling_runs.sweep_record import seconds_of

LAUNCH = Path(__file__).parents[2] / "launch.py"
RECORD, LOGS = "slurm.json", "logs"
LOOK_EVERY_S = 2.0
OF_THE_LAUNCHER = ("hydra/launcher=", "hydra.launcher.", "detach=")
"""Options that a job, which trains by itself, would not understand."""


@dataclass(frozen=True)
class Job:
    """One job of an array, and the cells that it trains one after another."""

    array: int
    number: int
    cells: tuple[str, ...]


class SlurmCells:
    """Submits cells, and waits for them."""

    def __init__(self, options: SlurmOptions, config: Config) -> None:
        assert config.sweep is not None
        require_slurm()
        self.options, self.config = options, config
        self.store = Store.at(config.store)
        self.folder = self.store.sweep_folder(config.sweep.name)
        self.name = config.sweep.name

    def train(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Train each cell in a job of its own, or with those of its trunk; how each ended.

        Cells that a job of an earlier run has are left to it. Raises where a job is gone and its cell neither finished
        nor failed, once all others have ended: the sweep then launches what is left from its checkpoints.
        """
        commands = {_cell_of(overrides): self._command(overrides) for overrides in job_overrides}
        jobs = self._submitted(commands)
        if self.config.detach:
            return [JobReturn(status=JobStatus.COMPLETED) for _ in commands]
        try:
            self._wait(jobs)
        except KeyboardInterrupt:
            ids = " ".join(str(array) for array in sorted({job.array for job in jobs}))
            say(f"the jobs go on, and the same command finds them; to end them: scancel {ids}")
            raise
        return [self._ended(cell_id) for cell_id in commands]

    def _command(self, overrides: Sequence[str]) -> list[str]:
        ranks = self.options.gpus
        by_torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        options = [one for one in overrides if not one.startswith(OF_THE_LAUNCHER)]
        program = [sys.executable, *(by_torchrun if ranks > 1 else []), str(LAUNCH)]
        return [*program, *options, "hydra.mode=RUN", "hydra/launcher=basic"]

    def _submitted(self, commands: dict[str, list[str]]) -> list[Job]:
        """The living jobs that have these cells; those that no job has are submitted first."""
        while True:
            try:
                with holding(self.folder / ".slurm.lock"):
                    recorded = _recorded(self.folder)
                    alive = living({job.array for job in recorded})
                    jobs = [job for job in recorded if (job.array, job.number) in alive]
                    taken = {cell_id for job in jobs for cell_id in job.cells}
                    new = self._submit({one: commands[one] for one in commands if one not in taken})
                    write_json(self.folder / RECORD, [vars(job) for job in [*jobs, *new]])
            except Held:
                time.sleep(LOOK_EVERY_S)
                continue
            found = [job for job in jobs if not set(job.cells).isdisjoint(commands)]
            if found:
                say(f"{number(len(found), 'job')} of an earlier run found in Slurm")
            return [*found, *new]

    def _submit(self, commands: dict[str, list[str]]) -> list[Job]:
        seconds = seconds_of(self.folder)
        by_minutes: dict[int, list[tuple[str, ...]]] = defaultdict(list)
        for cells in self._together(commands):
            minutes = minutes_for([seconds.get(cell_id, 0.0) for cell_id in cells], self.options)
            # few arrays: times of one power of two ask for the same
            by_minutes[min(2 ** math.ceil(math.log2(minutes)), self.options.max_minutes)].append(cells)
        jobs: list[Job] = []
        for minutes, groups in by_minutes.items():
            (self.folder / LOGS).mkdir(parents=True, exist_ok=True)
            log = str((self.folder / LOGS / "%A_%a.log").resolve())
            runs = [[commands[cell_id] for cell_id in cells] for cells in groups]
            text = script(f"isoflop-{self.name}", log, runs, minutes, self.config.threads, self.options)
            array = submit(text)
            jobs += [Job(array, place, cells) for place, cells in enumerate(groups)]
            say(
                f"Slurm array {array}: {number(len(groups), 'job')} of up to {minutes} minutes, logs in "
                f"{self.folder / LOGS}"
            )
        return jobs

    def _together(self, cell_ids: Iterable[str]) -> list[tuple[str, ...]]:
        """Cells of one trunk in one job, so that none waits in an allocation for another's state."""
        groups: dict[str, list[str]] = defaultdict(list)
        for cell_id in cell_ids:
            spec = self.store.cell(cell_id).spec()
            groups[spec.trunk_id if spec.trunk_steps else cell_id].append(cell_id)
        return [tuple(cells) for cells in groups.values()]

    def _wait(self, jobs: Sequence[Job]) -> None:
        """Until Slurm has none of them any more."""
        arrays = {job.array for job in jobs}
        waited_for = {(job.array, job.number) for job in jobs}
        while waited_for & living(arrays).keys():
            time.sleep(LOOK_EVERY_S)

    def _ended(self, cell_id: str) -> JobReturn:
        folder = self.store.cell(cell_id)
        if folder.finished():
            return JobReturn(status=JobStatus.COMPLETED)
        reason = folder.failure()
        if reason is None:
            raise RuntimeError(
                f"Slurm has ended the job of cell {cell_id}; its log is in {self.folder / LOGS}"
            )
        return JobReturn(status=JobStatus.FAILED, _return_value=RuntimeError(reason))


def _cell_of(overrides: Sequence[str]) -> str:
    """The id that the sweep's `cell='…'` names."""
    return overrides[-1].partition("=")[2].strip("'")


def _recorded(folder: Path) -> list[Job]:
    try:
        found: list[dict[str, Any]] = read_json(folder / RECORD)
    except FileNotFoundError:
        return []
    return [Job(one["array"], one["number"], tuple(one["cells"])) for one in found]
