"""The batch script of an array: each of its jobs trains some cells, one after another, by the very command of one cell.

A job is told before its time is up (`--signal=B:USR2`), passes it on to the cell in the works, which saves its
checkpoint and ends with `stopping.EXIT_CODE`, and puts itself back into the queue. A job that Slurm itself requeues or
kills goes on from the last checkpoint.

A cell of several ranks is one torchrun a node, which srun starts and which meet at the job's first node. torchrun
would end by the signal, and its ranks with it: it has to ignore it, as they do until they listen; so they are told
again and again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaling_runs.slurm.options import SlurmOptions
from scaling_runs.slurm.resources import Resources
from scaling_runs.stopping import EXIT_CODE

FIRST_PORT, PORTS = 15_000, 15_000
"""Where a job's ranks meet, by its id: below the ports that a kernel gives away, from 32,768 on."""
MEET_WITHIN_S = 600
"""Nodes import torch from a cold file system; torchrun's own patience is a minute."""

LISTEN = """\
told=
child=
tell() { while kill -USR2 "$child" 2>/dev/null; do sleep 2; done; }
trap 'told=1; tell &' USR2
echo "$(date -Is) $(hostname): attempt $((${SLURM_RESTART_COUNT:-0} + 1))"
"""
RUN = """\
ended=0
train() {
    [ -n "$told" ] && return
    "$@" &
    child=$!
    [ -n "$told" ] && tell &
    while wait "$child"; code=$?; kill -0 "$child" 2>/dev/null; do :; done
    if [ "$code" -eq %(exit_code)d ]; then told=1; elif [ "$code" -ne 0 ]; then ended=$code; fi
}
"""
ON_RANKS = """\
meet_at=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):$((%(first_port)d + SLURM_JOB_ID %% %(ports)d))
on_ranks() {
    exec srun --nodes=%(nodes)d --ntasks=%(nodes)d --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
        --kill-on-bad-exit=1 bash -c '
            trap "" USR2
            [ "$SLURM_PROCID" -eq 0 ] && is_host=true || is_host=false
            python=$1
            shift
            exec "$python" -m torch.distributed.run --nnodes=%(nodes)d --nproc-per-node=%(ranks)d \\
                --rdzv-backend=c10d --rdzv-endpoint="$0" --rdzv-id="$SLURM_JOB_ID" \\
                --rdzv-conf="is_host=$is_host,read_timeout=%(patience_s)d" "$@"
        ' "$meet_at" "$@"
}
"""
REQUEUE = """\
if [ -n "$told" ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" && sleep 600
fi
exit "$ended"
"""

Command = Sequence[str]
"""Python, a program and its options."""


@dataclass(frozen=True)
class Submission:
    """An array of jobs that ask for the same."""

    name: str
    log: str
    """Path of a job's output, with sbatch's own %A and %a."""
    jobs: Sequence[Sequence[Command]]
    """Of each, the commands that it runs one after another."""
    resources: Resources
    at_once: int | None
    """Of the jobs; None for no limit."""
    after: Sequence[int] = ()
    """Arrays that have to end before the first job may begin."""


def script(submission: Submission, threads: int, options: SlurmOptions) -> str:
    """threads: of a rank."""
    resources = submission.resources
    lines = ["#!/bin/bash", *header(submission, threads, options), LISTEN, *options.setup]
    lines.append(RUN % {"exit_code": EXIT_CODE})
    if resources.ranks > 1:
        meeting = {"first_port": FIRST_PORT, "ports": PORTS, "patience_s": MEET_WITHIN_S}
        lines.append(ON_RANKS % {"nodes": resources.nodes, "ranks": max(1, resources.gpus), **meeting})
    lines.append('case "$SLURM_ARRAY_TASK_ID" in')
    train = "train on_ranks" if resources.ranks > 1 else "train"
    for number, commands in enumerate(submission.jobs):
        lines.append(f"{number})")
        lines += [f"    {train} {shlex.join(command)}" for command in commands]
        lines.append("    ;;")
    return "\n".join([*lines, "esac", REQUEUE])


def header(submission: Submission, threads: int, options: SlurmOptions) -> list[str]:
    """The #SBATCH lines."""
    resources, limit = submission.resources, submission.at_once
    of_type = f"{options.gpu_type}:" if options.gpu_type else ""
    after = ":".join(map(str, submission.after))
    values: Mapping[str, object] = {
        "job-name": submission.name,
        "output": submission.log,
        "open-mode": "append",
        "array": f"0-{len(submission.jobs) - 1}" + (f"%{limit}" if limit is not None else ""),
        "dependency": f"afterany:{after}" if after else None,
        "time": resources.minutes,
        "nodes": resources.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": threads * max(1, resources.gpus),
        "gpus-per-node": f"{of_type}{resources.gpus}" if resources.gpus else None,
        "mem": f"{resources.memory_gb}G" if resources.memory_gb is not None else None,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "signal": f"B:USR2@{resources.warn_s}",
    }
    lines = [
        f"#SBATCH --{key}={shlex.quote(str(value))}" for key, value in values.items() if value is not None
    ]
    return [*lines, "#SBATCH --requeue", *(f"#SBATCH {flag}" for flag in options.flags)]
