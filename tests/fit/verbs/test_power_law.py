"""`python -m fit power-law`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fit.conftest import Run
from tests.simulated import write_csv

X = np.geomspace(1, 1e4, 9)


def table(path: Path, y: np.ndarray) -> Path:
    return write_csv(path / "t.csv", [{"x": float(a), "err": float(b)} for a, b in zip(X, y, strict=True)])


def test_a_plain_law_is_printed_with_its_checks_and_predictions(fit: Run, tmp_path: Path) -> None:
    """Truth: err = 2·x^-0.25 with 1% of noise; 0.0632 at 1e6."""
    y = 2 * X**-0.25 * np.exp(0.01 * np.random.default_rng(0).standard_normal(9))
    said = fit("power-law", table(tmp_path, y), "--x", "x", "--y", "err", "--predict", "1e6")
    assert (said.code, said.error) == (0, "")
    for part in (
        "err = 2.003·x^-0.2498, 9 points",
        "hold-out: the law without the largest x",
        "no break is seen",
    ):
        assert part in said.out
    assert "x = 1e+06: err = 0.06" in said.out
    assert "2.0 decades beyond the points" in said.out


def test_a_floor_is_printed_with_its_interval_and_test(fit: Run, tmp_path: Path) -> None:
    """Truth: err = 1.7 + 2·x^-0.25 with noise of 0.003."""
    path = table(tmp_path, 1.7 + 2 * X**-0.25 + 0.003 * np.random.default_rng(1).standard_normal(9))
    said = fit("power-law", path, "--x", "x", "--y", "err", "--offset", "--space", "linear")
    assert "the points support a floor: E = 1.7" in said.out
    assert "try --offset" in fit("power-law", path, "--x", "x", "--y", "err").out


def test_a_floor_that_is_not_shown_is_said_so(fit: Run, tmp_path: Path) -> None:
    """Truth: a plain law."""
    path = table(tmp_path, 2 * X**-0.25 * np.exp(0.02 * np.random.default_rng(2).standard_normal(9)))
    said = fit("power-law", path, "--x", "x", "--y", "err", "--offset")
    assert "do not tell a floor from none" in said.out
    rising = table(tmp_path, X**0.5)
    assert "does not fall as x grows" in fit("power-law", rising, "--x", "x", "--y", "err", "--offset").out


@pytest.mark.parametrize("space", ["log", "linear"])
def test_points_on_their_law_to_rounding_are_said_to_be(fit: Run, tmp_path: Path, space: str) -> None:
    path = table(tmp_path, np.full(9, 2.0))
    said = fit("power-law", path, "--x", "x", "--y", "err", "--space", space).out
    assert "the points lie on the law to rounding" in said
    noisy = table(tmp_path, 2 * X**-0.25 * np.exp(1e-6 * np.random.default_rng(0).standard_normal(9)))
    assert "to rounding" not in fit("power-law", noisy, "--x", "x", "--y", "err", "--space", space).out


def test_how_a_table_was_read_is_said_below_its_law(fit: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x;y\n1;2,5\n10;5\n100;10,1\n")
    said = fit("power-law", tmp_path / "t.csv", "--x", "x", "--y", "y")
    assert "Note: a comma is taken for the decimal sign" in said.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--x", "x"], "required: --y"),
        (["--x", "x", "--y", "loss"], "has no column 'loss' for --y"),
        (["--x", "x", "--y", "err", "--space", "square"], "invalid choice: 'square'"),
        (["--x", "x", "--y", "err", "--predict", "0"], "'0' must be positive"),
    ],
)
def test_a_mistake_is_one_sentence(fit: Run, tmp_path: Path, options: list[str], message: str) -> None:
    said = fit("power-law", table(tmp_path, X**0.5), *options)
    assert (said.code, said.out, said.error.count("\n")) == (2, "", 1)
    assert message in said.error or "'square' is unknown" in said.error
