"""`arrays.json` in a sweep's folder: what was submitted to Slurm, for whoever waits for it or asks how it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from scaling_runs.files import read_json, write_json
from scaling_runs.places import is_local
from scaling_runs.slurm.queue import JobKey

RECORD = "arrays.json"
LOGS = "logs"
"""Folder of the jobs' output, below the sweep's."""
HERE = Path("results")
"""Where logs are kept of a sweep whose store is a URL, to which Slurm can't write."""


def logs_of(folder: Path) -> Path:
    """Of the sweep of this folder: always a folder, for Slurm itself writes there."""
    return (folder if is_local(folder) else HERE / folder.name) / LOGS


@dataclass(frozen=True)
class Job:
    """One job of an array, and the cells that it trains one after another."""

    array: int
    number: int
    cells: tuple[str, ...]

    @property
    def name(self) -> str:
        """As Slurm writes it."""
        return f"{self.array}_{self.number}"

    @property
    def key(self) -> JobKey:
        return self.array, self.number


@dataclass(frozen=True)
class Array:
    """Jobs that were submitted by one sbatch."""

    name: str
    """In Slurm, where no other has it."""
    cells: tuple[tuple[str, ...], ...]
    """Of each job, by its number."""
    at_once: int | None
    """Of its jobs; None for no limit."""
    after: tuple[int, ...]
    """Arrays that it waits for."""
    asked_at: float
    """When sbatch was begun, in seconds since 1970."""
    job_id: int | None = None
    """Slurm's; None where sbatch had not answered when its process ended."""

    @property
    def jobs(self) -> list[Job]:
        assert self.job_id is not None
        return [Job(self.job_id, number, cells) for number, cells in enumerate(self.cells)]


def read_arrays(folder: Path) -> list[Array]:
    """In the order in which they were submitted; none where nothing was."""
    try:
        found = read_json(folder / RECORD)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [
        Array(**{**one, "cells": tuple(map(tuple, one["cells"])), "after": tuple(one["after"])})
        for one in found
    ]


def write_arrays(folder: Path, arrays: Iterable[Array]) -> None:
    write_json(folder / RECORD, [asdict(array) for array in arrays])
