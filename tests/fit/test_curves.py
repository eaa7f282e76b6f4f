"""Learning curves, as they were recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fit.curves import load_curves
from fit.errors import UserError
from tests.simulated import write_csv

Records = list[dict[str, Any]]


def records(factor: float = 1.0) -> Records:
    """As a cell writes them: training losses, evaluations on the way, and both losses at the end."""
    evaluations = [
        {"step": s, "tokens": 10 * s, "flops": 60 * s, "val_loss_probe": factor * 5 / s} for s in (2, 4)
    ]
    training = {"step": 4, "tokens": 40, "flops": 240, "train_loss": 9.0, "lr": 0.1}
    end = {"step": 6, "tokens": 60, "flops": 360, "val_loss_probe": factor, "val_loss": factor * 1.1}
    return [*evaluations, training, end]


def sweep(tmp_path: Path, cells: dict[str, Records]) -> Path:
    folder = tmp_path / "results" / "isoflop_tiny"
    folder.mkdir(parents=True)
    rows = [
        {"run_id": name, "params": i + 1, "flops": 1, "tokens": 1, "loss": 1} for i, name in enumerate(cells)
    ]
    write_csv(folder / "runs.csv", rows)
    for name, lines in cells.items():
        cell = tmp_path / "results" / "cells" / name
        cell.mkdir(parents=True)
        (cell / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_sweeps_cells_have_the_curves_that_they_recorded(tmp_path: Path) -> None:
    """Truth: the records; the last loss is that of the windows that the others are of, not of the whole set."""
    one, two = load_curves(sweep(tmp_path, {"5e1": records(), "b": records(2)}))
    assert (one.run_id, one.params, two.run_id, two.params) == ("5e1", 1, "b", 2)
    assert list(one.flops) == [120, 240, 360]
    assert list(one.tokens) == [20, 40, 60]
    assert list(one.loss) == [2.5, 1.25, 1.0]
    assert np.array_equal(two.loss, 2 * one.loss)


def test_a_cell_that_failed_has_a_curve_as_far_as_it_came(tmp_path: Path) -> None:
    """A line that a kill cut short is none; a cell without evaluations has no curve."""
    folder = sweep(tmp_path, {"a": records(), "b": records()[2:3], "c": records()[:2]})
    with (tmp_path / "results" / "cells" / "c" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "tok')
    a, c = load_curves(folder)
    assert (a.run_id, c.run_id) == ("a", "c")
    assert list(c.flops) == [120, 240]


def test_a_table_of_records_says_the_same(tmp_path: Path) -> None:
    """Truth: the rows; flops follow from C = 6·N·D, rows without a loss are no evaluations, a later record replaces."""
    rows = [
        {"run_id": run, "step": step, "size": size, "tokens": size * step, "nll": loss}
        for run, size in (("a", 1e6), ("b", 2e6))
        for step, loss in ((4, 2.0), (1, 9.0), (2, ""), (1, 4.0))
    ]
    a, b = load_curves(write_csv(tmp_path / "c.csv", rows), {"params": "size", "loss": "nll"})
    assert (a.run_id, a.params, b.run_id, b.params) == ("a", 1e6, "b", 2e6)
    for curve, size in ((a, 1e6), (b, 2e6)):
        assert list(curve.tokens) == [size, 4 * size]
        assert list(curve.loss) == [4, 2]
        np.testing.assert_allclose(curve.flops, 6 * size * curve.tokens)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no cell of .* has a record of validation losses"),
        ([{"step": 1, "val_loss": 2.0}], "metrics.jsonl' line 1 is no record of a cell .*'flops'"),
        ([{"tokens": 1, "flops": 0, "val_loss": 2.0}], "run a: flops is 0, where a positive number"),
    ],
)
def test_cells_that_have_no_curve_are_refused(tmp_path: Path, lines: Records, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_curves(sweep(tmp_path, {"a": lines}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flops,tokens,loss\n1,2,3\n", "has no column run_id, .* with --curves-column run_id=NAME"),
        ("run_id,flops,tokens,loss\na,1,2,\n", "has no record with a loss"),
        ("run_id,flops,tokens,loss\na,1,2,many\n", "line 2: loss is 'many'"),
        ("run_id,flops,loss\na,1,2\n", "lacks columns"),
        ("", "is empty"),
    ],
)
def test_a_table_without_curves_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        load_curves(tmp_path / "c.csv")
