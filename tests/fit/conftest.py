"""Llama 3's own points, where they are, and the command line as a user types it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fit.cli import main

POINTS = Path(__file__).parents[3] / "shared" / "data" / "llama3_isoflops.csv"
ROWS = 133


@pytest.fixture(scope="session")
def llama3_points() -> Path:
    """The digitised points of Llama 3's figure 2; the test is skipped where that table is not to be had."""
    if not POINTS.exists():
        pytest.skip(f"Llama 3's points are not at {POINTS}")
    header, *rows = POINTS.read_text().splitlines()
    if header != "flops,tokens,loss" or len(rows) != ROWS:
        pytest.skip(f"{POINTS} is not the table of {ROWS} points that its README describes; restore it")
    return POINTS


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    error: str


Run = Callable[..., Said]


@pytest.fixture
def fit(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Said:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
