"""Jobs that Slurm holds for a reason that no waiting mends; it takes them all the same without EnforcePartLimits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from scaling_runs.numbers import number
from scaling_runs.slurm.queue import JobKey, QueuedJob

MOST_NAMED = 3
STAYS = re.compile(
    r"AccountNotAllowed|BadConstraints|DependencyNeverSatisfied|Invalid\w+|JobHeld(User|Admin)|MaxMemPerLimit|"
    r"Partition(Config|NodeLimit|TimeLimit|Inactive|Down)|QOS(NotAllowed|Min\w+)|(Assoc|QOS)Max\w+Per(Job|Node)\w*"
)
"""Slurm's documentation, "Job Reason Codes" (slurm.schedmd.com/job_reason_codes.html): of the request itself, or of
what somebody has set, not of what other jobs hold now."""


def stuck_lines(jobs: Collection[JobKey], held: Mapping[JobKey, QueuedJob]) -> dict[str, str]:
    """A line for each reason for which jobs stay pending."""
    of_reason: dict[str, list[JobKey]] = defaultdict(list)
    for key in sorted(jobs):
        job = held.get(key)
        if job is not None and job.state == "PENDING" and STAYS.fullmatch(job.reason):
            of_reason[job.reason].append(key)
    return {reason: _line(reason, keys) for reason, keys in of_reason.items()}


def _line(reason: str, keys: Sequence[JobKey]) -> str:
    named = ", ".join(f"{array}_{place}" for array, place in keys[:MOST_NAMED])
    more = ", …" if len(keys) > MOST_NAMED else ""
    arrays = " ".join(map(str, sorted({array for array, _ in keys})))
    holds = "stays" if len(keys) == 1 else "stay"
    return (
        f"{number(len(keys), 'job')} ({named}{more}) {holds} pending for {reason}, which no waiting mends; "
        f"scancel {arrays}, and start the same command with other options of hydra.launcher (partition, gpus, "
        f"gpus_a_node, memory_gb, max_minutes, qos, account, flags)"
    )
