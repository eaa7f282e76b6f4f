"""Llama 3's own points, where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

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
