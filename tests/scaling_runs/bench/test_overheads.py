"""What a sweep takes beside its steps, where the sweep that is to say so fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_runs.bench.overheads import NoSweep, measure_overheads
from tests.configs import config_of
from tests.launching import text_options


def test_a_sweep_of_which_a_cell_fails_says_nothing_but_why(tmp_path: Path) -> None:
    """Truth: a real sweep whose rate makes every loss infinite: it has a record of its time, and no result to read."""
    data = [option for option in text_options(tmp_path) if option.startswith("data")]
    config = config_of("tracking=off", *data)
    with pytest.raises(NoSweep, match=r"sweep=isoflop_tiny ended with exit code 1: "):
        measure_overheads(config, [*data, "recipe.lr=1e30", "recipe.muon_lr=1e30", "tracking=off"])
