"""A real Slurm of this machine (slurm.sh), once for all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import slurm

SCRIPT = Path(__file__).with_name("slurm.sh")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find the cluster."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("a Slurm of its own needs root on Debian")
    folder = str(tmp_path_factory.mktemp("slurm"))
    environment = {**os.environ, "SLURM_TEST_FOLDER": folder}
    started = subprocess.run(["bash", str(SCRIPT), "start"], env=environment, capture_output=True, text=True)
    if started.returncode == 3:
        pytest.skip(f"Slurm can't be installed here: {started.stderr.strip().splitlines()[-1]}")
    assert started.returncode == 0, started.stderr
    try:
        yield {"SLURM_CONF": started.stdout.strip().partition("=")[2]}
    finally:
        slurm("scancel", "--full", "--user=root", cluster={"SLURM_CONF": f"{folder}/slurm.conf"})
        subprocess.run(["bash", str(SCRIPT), "stop"], env=environment, check=True)
