"""Slurm's own commands, for tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping


def slurm(*command: str, cluster: Mapping[str, str]) -> str:
    """What the command prints."""
    return subprocess.run(command, env={**os.environ, **cluster}, capture_output=True, text=True).stdout


def jobs(cluster: Mapping[str, str]) -> dict[str, str]:
    """ARRAY_NUMBER -> state, of all that Slurm has."""
    lines = slurm("squeue", "--noheader", "--array", "--format=%i %T", cluster=cluster).splitlines()
    return dict(line.split() for line in lines)
