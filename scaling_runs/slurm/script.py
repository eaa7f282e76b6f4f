"""The batch script of an array: each of its jobs trains some cells, one after another, by the very command of one cell.

A job is told before its time is up (`--signal=B:USR2`), passes it on to the cell in the works, which saves its
checkpoint and ends with `stopping.EXIT_CODE`, and puts itself back into the queue. A job that Slurm itself requeues or
kills goes on from the last checkpoint.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from scaling_runs.slurm.options import SlurmOptions, header
from scaling_runs.stopping import EXIT_CODE

LISTEN = """\
told=
child=
trap 'told=1; [ -n "$child" ] && kill -USR2 "$child" 2>/dev/null' USR2
echo "$(date -Is) $(hostname): attempt $((${SLURM_RESTART_COUNT:-0} + 1))"
"""
RUN = """\
ended=0
train() {
    [ -n "$told" ] && return
    "$@" &
    child=$!
    while wait "$child"; code=$?; kill -0 "$child" 2>/dev/null; do :; done
    if [ "$code" -eq %(exit_code)d ]; then told=1; elif [ "$code" -ne 0 ]; then ended=$code; fi
}
"""
REQUEUE = """\
if [ -n "$told" ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" && sleep 600
fi
exit "$ended"
"""


def script(
    name: str,
    log: str,
    jobs: Sequence[Sequence[Sequence[str]]],
    minutes: int,
    threads: int,
    options: SlurmOptions,
) -> str:
    """jobs: of each, the commands that it runs one after another."""
    lines = ["#!/bin/bash", *header(name, log, len(jobs), minutes, threads, options), LISTEN, *options.setup]
    lines.append(RUN % {"exit_code": EXIT_CODE} + 'case "$SLURM_ARRAY_TASK_ID" in')
    for number, commands in enumerate(jobs):
        lines.append(f"{number})")
        lines += [f"    train {shlex.join(command)}" for command in commands]
        lines.append("    ;;")
    return "\n".join([*lines, "esac", REQUEUE])
