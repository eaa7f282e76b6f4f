"""A real Slurm of this machine (slurm.sh), once for all tests; and one that keeps accounts, for a test that asks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.slurm import slurm

SCRIPT = Path(__file__).with_name("slurm.sh")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find the cluster."""
    with started(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """As `cluster`, of another one, beside it."""
    settings = {"SLURM_TEST_ACCOUNTING": "yes", "SLURM_TEST_PORT": "26837"}
    with started(tmp_path_factory.mktemp("accounts"), **settings) as environment:
        yield environment


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("a Slurm of its own needs root on Debian")
    environment = {**os.environ, "SLURM_TEST_FOLDER": str(folder), **settings}
    begun = subprocess.run(["bash", str(SCRIPT), "start"], env=environment, capture_output=True, text=True)
    if begun.returncode == 3:
        pytest.skip(f"Slurm can't be installed here: {begun.stderr.strip().splitlines()[-1]}")
    assert begun.returncode == 0, begun.stderr
    try:
        yield {"SLURM_CONF": begun.stdout.strip().partition("=")[2]}
    finally:
        slurm("scancel", "--full", "--user=root", cluster={"SLURM_CONF": f"{folder}/slurm.conf"})
        subprocess.run(["bash", str(SCRIPT), "stop"], env=environment, check=True)
