"""What the fit loads: little to say how it is used, and never the training side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulated import parabolas, rows_of, write_csv

ROOT = Path(__file__).parents[2]


def modules_after(code: str) -> set[str]:
    """Top-level modules that are loaded once `code` has run in a process of its own."""
    code = f"import sys\n{code}\nprint('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split("MODULES")[1].split()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["isoflop", "--help"],
        ["budget", "--help"],
        ["advise", "--help"],
        ["check", "--help"],
        ["compare", "--help"],
        ["power-law", "--help"],
        ["references", "--help"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"from fit.cli import main\ntry:\n    main({arguments})\nexcept SystemExit as end:\n    assert not end.code"
    loaded = modules_after(code)
    assert "fit" in loaded
    assert not loaded & {"torch", "numpy", "pandas", "scipy", "matplotlib", "scaling_runs", "models"}


def test_no_verb_ever_loads_torch_or_the_training_side(tmp_path: Path) -> None:
    runs = write_csv(tmp_path / "runs.csv", rows_of(parabolas()))
    outputs = ["--predict", "1e21", "--json", str(tmp_path / "f.json"), "--figure", str(tmp_path / "f.png")]
    code = f"from fit.cli import main\nassert main({['isoflop', str(runs), *outputs]}) == 0"
    assert not modules_after(code) & {"torch", "transformers", "scaling_runs", "models", "hydra", "wandb"}
