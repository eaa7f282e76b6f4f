"""Which jobs have a sweep's cells: those that Slurm has already, and new ones for the rest, none submitted twice.

What sbatch is about to be asked for is written down first, by a name that no other array has, and Slurm's answer as
soon as it is there. A process that is killed in between leaves a name, by which the next one finds the array.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fit.errors import UserError
from scaling_runs.holder import Held
from scaling_runs.locks import holding
from scaling_runs.numbers import number
from scaling_runs.plan import together
from scaling_runs.report import say
from scaling_runs.slurm.lanes import Lane, Share, handed_on, lanes
from scaling_runs.slurm.options import SlurmOptions
from scaling_runs.slurm.queue import (
    ANSWERS_WITHIN_S,
    JobKey,
    NoAnswer,
    allow_at_once,
    array_named,
    living,
    most_jobs_of_an_array,
    submit,
)
from scaling_runs.slurm.record import Array, Job, logs_of, read_arrays, write_arrays
from scaling_runs.slurm.resources import Resources, resources_of
from scaling_runs.slurm.script import Command, Submission, script
from scaling_runs.spec import CellSpec
from scaling_runs.store import Store
from scaling_runs.sweep_record import PlannedCell, read_plan

LOOK_EVERY_S = 2.0
Commands = Mapping[str, Command]
"""By cell id."""
Group = tuple[Resources, tuple[tuple[str, ...], ...]]
"""What each job asks for, and the jobs' cells."""


@dataclass(frozen=True)
class Submitter:
    """Of one sweep's cells."""

    store: Store
    sweep: str
    options: SlurmOptions
    threads: int
    """Of a rank."""

    @property
    def folder(self) -> Path:
        return self.store.sweep_folder(self.sweep)

    @property
    def logs(self) -> Path:
        """Where Slurm writes what jobs print."""
        return logs_of(self.folder)

    def jobs_of(self, commands: Commands) -> list[Job]:
        """The living jobs that have these cells; those that no job has are submitted first."""
        while True:
            try:
                with holding(self.folder / ".slurm.lock"):
                    return self._jobs_of(commands)
            except Held:
                time.sleep(LOOK_EVERY_S)

    def hand_on(self) -> bool:
        """Give living arrays what others, which have ended, had of the limit of jobs at once; whether that is done.

        Not done where another process has the record for the moment. UserError where Slurm does not answer, or does not
        let them.
        """
        if self.options.at_once is None:
            return True
        try:
            with holding(self.folder / ".slurm.lock"):
                self._hand_on(self.options.at_once)
        except Held:
            return False
        return True

    def _hand_on(self, at_once: int) -> None:
        arrays = [array for array in map(self._answered, read_arrays(self.folder)) if array is not None]
        named = {array.job_id: array for array in arrays if array.job_id is not None}
        alive = living(named)
        jobs = {job_id: len(_living_jobs(array, alive)) for job_id, array in named.items()}
        open_ = {job_id: array for job_id, array in named.items() if jobs[job_id]}
        if any(array.at_once is None for array in open_.values()):
            return  # of a run without a limit
        shares = [
            Share(array.at_once or 1, jobs[job_id], any(one in open_ for one in array.after))
            for job_id, array in open_.items()
        ]
        for job_id, limit in zip(open_, handed_on(shares, at_once), strict=True):
            if limit != open_[job_id].at_once:
                before = arrays
                arrays = [replace(one, at_once=limit) if one.job_id == job_id else one for one in arrays]
                # first, for whoever reads too little of it there would let too many run
                write_arrays(self.folder, arrays)
                try:
                    allow_at_once(job_id, limit)
                except UserError as error:
                    if not isinstance(error, NoAnswer):  # else it may be so by now
                        write_arrays(self.folder, before)
                    raise

    def _jobs_of(self, commands: Commands) -> list[Job]:
        recorded = [array for array in map(self._answered, read_arrays(self.folder)) if array is not None]
        alive = living({array.job_id for array in recorded if array.job_id is not None})
        kept = [array for array in recorded if _living_jobs(array, alive)]
        jobs = [job for array in kept for job in _living_jobs(array, alive)]
        taken = {cell_id for job in jobs for cell_id in job.cells}
        found = [job for job in jobs if not set(job.cells).isdisjoint(commands)]
        if found:
            say(f"{number(len(found), 'job')} of an earlier run found in Slurm")
        missing = {cell_id: command for cell_id, command in commands.items() if cell_id not in taken}
        if missing:
            found += [job for array in self._submit(missing, kept, alive) for job in array.jobs]
        else:
            write_arrays(self.folder, recorded)
        return found

    def _answered(self, array: Array) -> Array | None:
        """With Slurm's id; None where Slurm has no array of that name, and no sbatch can still be asking for it."""
        if array.job_id is not None:
            return array
        until = min(array.asked_at, time.time()) + ANSWERS_WITHIN_S
        while (job_id := array_named(array.name)) is None and time.time() < until:
            time.sleep(LOOK_EVERY_S)
        return None if job_id is None else replace(array, job_id=job_id)

    def _submit(self, commands: Commands, kept: Sequence[Array], alive: Collection[JobKey]) -> list[Array]:
        """One array for each kind of resources, or several where that is too many jobs for one; `kept`: living arrays,
        which share the limit of jobs at once."""
        groups = self._grouped(commands, most_jobs_of_an_array())
        new: list[Array] = []
        for lane, first_after in self._lanes(groups, kept, alive):
            after = first_after
            for place in lane.arrays:
                limit = None if self.options.at_once is None else lane.at_once
                kind, cells = groups[place]
                array = self._ask(commands, cells, kind, limit, after, [*kept, *new])
                new.append(array)
                assert array.job_id is not None
                after = (array.job_id,)
        return new

    def _lanes(
        self,
        groups: Sequence[Group],
        kept: Sequence[Array],
        alive: Collection[JobKey],
    ) -> list[tuple[Lane, tuple[int, ...]]]:
        """How the new arrays share what living ones leave of the limit, and which arrays each lane waits for: all that
        live, where they leave nothing, or where one of them has yet to begin, with a share of what others give back."""
        if self.options.at_once is None:
            return [(Lane(len(jobs), (i,)), ()) for i, (_, jobs) in enumerate(groups)]
        jobs = [len(cells) for _, cells in groups]
        work_s = [60.0 * kind.minutes * len(cells) for kind, cells in groups]
        ids = tuple(array.job_id for array in kept if array.job_id is not None)
        of_kept = [(array.at_once, len(_living_jobs(array, alive))) for array in kept]
        left = self.options.at_once - sum(min(limit or jobs, jobs) for limit, jobs in of_kept)
        if left < 1 or any(set(ids).intersection(array.after) for array in kept):
            return [(lane, ids) for lane in lanes(jobs, work_s, self.options.at_once)]
        return [(lane, ()) for lane in lanes(jobs, work_s, left)]

    def _grouped(self, commands: Commands, most_jobs: int) -> list[Group]:
        """Jobs by what they ask for, at most so many together. Cells of one trunk are in one job, so that none holds
        nodes while it waits for another's state."""
        planned = {cell.cell_id: cell for cell in read_plan(self.folder)}
        specs = {cell_id: self.store.cell(cell_id).spec() for cell_id in commands}
        kinds: dict[Resources, list[tuple[str, ...]]] = defaultdict(list)
        for of_one in together(specs.values()):
            cells = tuple(spec.cell_id for spec in of_one)
            kinds[self._resources([planned[cell_id] for cell_id in cells], of_one)].append(cells)
        return [
            (kind, tuple(jobs[first : first + most_jobs]))
            for kind, jobs in kinds.items()
            for first in range(0, len(jobs), most_jobs)
        ]

    def _resources(self, cells: Sequence[PlannedCell], specs: Sequence[CellSpec]) -> Resources:
        """UserError where a batch does not divide over the ranks."""
        resources = resources_of(cells, specs, self.options)
        for spec in specs:
            if spec.recipe.batch_size % resources.ranks:
                raise UserError(
                    f"hydra.launcher.gpus is {self.options.gpus}, and a batch of {spec.recipe.batch_size} sequences "
                    f"({spec.shape.name}, {spec.flops:.2g} FLOPs) does not divide over them; give a number that does"
                )
        return resources

    def _ask(
        self,
        commands: Commands,
        cells: tuple[tuple[str, ...], ...],
        resources: Resources,
        at_once: int | None,
        after: tuple[int, ...],
        before: Sequence[Array],
    ) -> Array:
        """Submit one array, recorded beside those `before` it."""
        logs = self.logs
        logs.mkdir(parents=True, exist_ok=True)
        array = Array(f"isoflop-{self.sweep}-{uuid.uuid4().hex[:8]}", cells, at_once, after, time.time())
        write_arrays(self.folder, [*before, array])
        runs = [[commands[cell_id] for cell_id in of_one] for of_one in cells]
        log = str(logs.resolve()).replace("%", "%%") + "/%A_%a.log"
        submission = Submission(array.name, log, runs, resources, at_once, after)
        try:
            array = replace(array, job_id=submit(script(submission, self.threads, self.options)))
        except NoAnswer:  # it may have come to something
            # the next run, too, looks for it for as long from now on
            array = replace(array, asked_at=time.time())
            write_arrays(self.folder, [*before, array])
            answered = self._answered(array)
            if answered is None:
                raise  # and may still, which the next run finds by its name
            array = answered
        except UserError:
            write_arrays(self.folder, before)
            raise
        write_arrays(self.folder, [*before, array])
        limit = f", {at_once} at once" if at_once is not None else ""
        limit += f", after {', '.join(map(str, after))}" if after else ""
        say(f"Slurm array {array.job_id}: {number(len(cells), 'job')} of {resources}{limit}; logs in {logs}")
        return array


def _living_jobs(array: Array, alive: Collection[JobKey]) -> list[Job]:
    return [job for job in array.jobs if job.key in alive]
