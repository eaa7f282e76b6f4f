"""How many cells a launcher starts at once."""

from __future__ import annotations

import os

import pytest
from joblib import effective_n_jobs
from omegaconf import OmegaConf

from fit.errors import UserError
from scaling_runs.launchers import ONE_BY_ONE, SideBySide, cells_at_once, side_by_side


@pytest.mark.parametrize("jobs", [1, 2, 7, -1, -2, -1000, None])
def test_cells_at_once_are_joblibs_own_count(jobs: int | None) -> None:
    """Truth: joblib, where it counts the cores that the machine has."""
    counted = effective_n_jobs(jobs) if jobs is None or jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)
    assert cells_at_once(OmegaConf.create({"n_jobs": jobs})) == counted


def test_hydras_basic_launcher_runs_one_cell_after_another() -> None:
    """Truth: its config, which has a name and no number."""
    assert cells_at_once(OmegaConf.create({"_target_": "hydra._internal.core_plugins.basic_launcher"})) == 1


@pytest.mark.parametrize("at_once", [None, 16])
def test_a_queue_has_a_number_of_its_own(at_once: int | None) -> None:
    """Truth: the launcher's option; any other launcher trains on this machine."""
    assert side_by_side(OmegaConf.create({"at_once": at_once})) == SideBySide(at_once, here=False)
    assert side_by_side(OmegaConf.create({"n_jobs": 2})) == SideBySide(2)
    assert side_by_side(OmegaConf.create({})) == ONE_BY_ONE


def test_no_cell_at_once_is_refused() -> None:
    """Truth: joblib's own refusal, as a sentence that names the option."""
    with pytest.raises(ValueError, match="n_jobs"):
        effective_n_jobs(0)
    with pytest.raises(UserError, match=r"hydra\.launcher\.n_jobs is 0"):
        cells_at_once(OmegaConf.create({"n_jobs": 0}))
