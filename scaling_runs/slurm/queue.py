"""Slurm's own commands: what is submitted, and which jobs it still has. No accounting (sacct) is needed."""

from __future__ import annotations

import shutil
import subprocess

from fit.errors import UserError

ANSWERS_WITHIN_S = 60


def require_slurm() -> None:
    """UserError where this machine can submit nothing."""
    if missing := [name for name in ("sbatch", "squeue", "scontrol") if shutil.which(name) is None]:
        raise UserError(
            f"hydra/launcher=slurm needs {', '.join(missing)} on the PATH, which are not there; start it on a login "
            f"node of the cluster, or leave hydra/launcher out"
        )


def submit(script: str) -> int:
    """The array's job id. UserError, with Slurm's words, where it is refused."""
    done = subprocess.run(
        ["sbatch", "--parsable"], input=script, capture_output=True, text=True, timeout=ANSWERS_WITHIN_S
    )
    if done.returncode != 0:
        raise UserError(
            f"Slurm refuses the jobs: {_words(done.stderr)}; check hydra.launcher.partition and the like"
        )
    return int(done.stdout.strip().partition(";")[0])


def living(job_ids: set[int]) -> dict[tuple[int, int], str]:
    """Of these arrays, the jobs that Slurm still has: (array, number) -> state, such as PENDING or RUNNING."""
    if not job_ids:
        return {}
    done = subprocess.run(
        [
            "squeue",
            "--noheader",
            "--array",
            "--format=%F %K %T",
            "--jobs",
            ",".join(map(str, sorted(job_ids))),
        ],
        capture_output=True,
        text=True,
        timeout=ANSWERS_WITHIN_S,
    )
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise UserError(
            f"Slurm does not say which jobs it has: {_words(done.stderr)}; run the same command again"
        )
    rows = (line.split() for line in done.stdout.splitlines())
    return {(int(array), int(number)): state for array, number, state in rows if number.isdecimal()}


def _words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return "; ".join(line.removeprefix("sbatch: error: ") for line in lines) or "it does not say why"
