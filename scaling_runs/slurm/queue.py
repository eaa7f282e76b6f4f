"""Slurm's own commands: what is submitted, and which jobs it has. No accounting (sacct) is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fit.errors import UserError

ANSWERS_WITHIN_S = 60
UNHEARD = re.compile(
    r"timed out|Zero Bytes were transmitted|Unable to contact slurm controller|Transport endpoint|Broken pipe|"
    r"[Cc]onnect(ion)? (failure|refused|reset)|Unexpected message|temporarily unable|temporarily unavailable"
)
"""Words of Slurm's commands where the controller may have done what it was asked for (MessageTimeout is 10 s)."""
ENDED = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
)
"""States in which a job is over. For some minutes (MinJobAge) Slurm knows it still."""
JobKey = tuple[int, int]
"""Array and number."""


class NoAnswer(UserError):
    """Slurm may have done what it was asked for, and did not say so."""


@dataclass(frozen=True)
class QueuedJob:
    """What Slurm says of a job."""

    state: str
    """Such as PENDING or RUNNING."""
    reason: str
    """Why it does not run, such as Resources."""

    @property
    def living(self) -> bool:
        return self.state not in ENDED


def require_slurm() -> None:
    """UserError where this machine can submit nothing."""
    if missing := [name for name in ("sbatch", "squeue", "scontrol") if shutil.which(name) is None]:
        raise UserError(
            f"hydra/launcher=slurm needs {', '.join(missing)} on the PATH, which are not there; start it on a login "
            f"node of the cluster, or leave hydra/launcher out"
        )


def submit(script: str) -> int:
    """The array's job id. UserError, with Slurm's words, where it is refused; NoAnswer where it may not be."""
    done = _asked(["sbatch", "--parsable"], given=script)
    if done.returncode != 0:
        _require_heard(done)
        raise UserError(
            f"Slurm refuses the jobs: {_words(done.stderr)}; check hydra.launcher.partition and the like"
        )
    return int(done.stdout.strip().partition(";")[0])


def most_jobs_of_an_array() -> int:
    """The cluster's MaxArraySize, 1001 where nobody has changed it, or a max_array_tasks below that."""
    done = _asked(["scontrol", "show", "config"])
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    if found is None:
        raise UserError(
            f"Slurm does not say how it is configured: {_words(done.stderr)}; start it on a login node, where Slurm "
            f"answers"
        )
    tasks = re.search(r"^SchedulerParameters\s*=.*\bmax_array_tasks=(\d+)", done.stdout, re.MULTILINE)
    limits = [int(one.group(1)) for one in (found, tasks) if one is not None]
    return max(1, min(limits))  # 0 where arrays are off, which sbatch says better


def allow_at_once(array: int, jobs: int) -> None:
    """Let so many of its jobs run at the same time. UserError where Slurm does not."""
    done = _asked(["scontrol", "update", f"JobId={array}", f"ArrayTaskThrottle={jobs}"])
    if done.returncode != 0:
        _require_heard(done)
        raise UserError(
            f"Slurm does not let array {array} run {jobs} jobs at once: {_words(done.stderr)}; it goes on as it was"
        )


def array_named(name: str) -> int | None:
    """The id of the array that was submitted by this name; None where Slurm has none, or no longer."""
    rows = _squeue(f"--name={name}", "--format=%F")
    return int(rows[0]) if rows else None


def jobs_of(arrays: Collection[int]) -> dict[JobKey, QueuedJob]:
    """Of these arrays, the jobs that Slurm has or had some minutes ago."""
    if not arrays:
        return {}
    rows = _squeue("--array", "--format=%F|%K|%T|%r", f"--jobs={','.join(map(str, sorted(arrays)))}")
    fields = (row.split("|", 3) for row in rows)
    return {
        (int(array), int(number)): QueuedJob(state, reason)
        for array, number, state, reason in fields
        if number.isdecimal()
    }


def living(arrays: Collection[int]) -> set[JobKey]:
    """Of these arrays, the jobs that wait, run or end at this moment."""
    return {key for key, job in jobs_of(arrays).items() if job.living}


def ends_of(jobs: Collection[JobKey], held: Mapping[JobKey, QueuedJob]) -> dict[JobKey, str]:
    """The last state of each of `jobs` that is over: what Slurm still holds of it, else what its accounting says.

    None of those that it has forgotten, where there is no accounting.
    """
    known = {key: held[key].state for key in jobs if key in held and not held[key].living}
    forgotten = {key for key in jobs if key not in held}
    accounts = _accounts({array for array, _ in forgotten})
    return known | {key: accounts[key] for key in forgotten if key in accounts}


def _accounts(arrays: Collection[int]) -> dict[JobKey, str]:
    if not arrays or shutil.which("sacct") is None:
        return {}
    ids = ",".join(map(str, sorted(arrays)))
    done = _asked(
        ["sacct", "--allocations", "--noheader", "--parsable2", "--format=JobID,State", f"--jobs={ids}"]
    )
    ends: dict[JobKey, str] = {}
    for row in done.stdout.splitlines():
        job, _, words = row.partition("|")
        array, _, numbers = job.partition("_")
        state = words.partition(" ")[0]  # CANCELLED by 1000
        if array.isdecimal() and state in ENDED:
            ends |= {(int(array), number): state for number in _numbers(numbers)}
    return ends


def _numbers(text: str) -> list[int]:
    """Of an array's jobs, as Slurm writes one, `3`, or all that have never begun together: `[0-2,5,8-12:2%4]`."""
    found: list[int] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        if range_ := re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part):
            first, last, step = range_.groups()
            found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


def _squeue(*options: str) -> list[str]:
    """Its rows. UserError where it has none to give."""
    done = _asked(["squeue", "--noheader", "--states=all", *options])
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise UserError(
            f"Slurm does not say which jobs it has: {_words(done.stderr)}; run the same command again"
        )
    return done.stdout.splitlines()


def _asked(command: list[str], given: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=ANSWERS_WITHIN_S, env=_environment()
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(
            f"Slurm's {command[0]} has not answered within {ANSWERS_WITHIN_S} s; run the same command again, which "
            f"submits no job twice"
        ) from None


def _require_heard(done: subprocess.CompletedProcess[str]) -> None:
    """NoAnswer where what failed is that Slurm was not heard."""
    if UNHEARD.search(done.stderr):
        raise NoAnswer(
            f"Slurm's {done.args[0]} does not say whether it was done: {_words(done.stderr)}; run the same command "
            f"again, which submits no job twice"
        )


def _environment() -> dict[str, str]:
    """This process's, but that Slurm lists an array's jobs in full, not in 64 bytes."""
    return {**os.environ, "SLURM_BITSTR_LEN": "0"}


def _words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return "; ".join(line.removeprefix("sbatch: error: ") for line in lines) or "it does not say why"
