"""Of a table of several experiments, the rows of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fit.errors import UserError
from fit.sources import SourceOptions
from fit.table import load_runs
from tests.simulated import parabolas, rows_of, write_csv


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Two experiments in one table, of which the second's losses are worse, and a third of a single run."""
    rows = [row | {"experiment": "ours", "width": 64} for row in rows_of(parabolas())]
    rows += [
        row | {"experiment": "theirs", "width": 64.0, "loss": float(row["loss"]) + 1, "run_id": f"other-{i}"}
        for i, row in enumerate(rows_of(parabolas()))
    ]
    rows.append(rows[0] | {"experiment": "one run", "run_id": "alone", "loss": "no number"})
    return write_csv(tmp_path / "several.csv", rows)


def test_rows_of_one_experiment_are_read_as_if_the_others_were_not_there(several: Path) -> None:
    """Truth: the simulated runs themselves; several values of a column are any of them, several columns all."""
    runs = load_runs(several, options=SourceOptions(where={"experiment": ["ours"], "width": ["64"]}))
    assert np.array_equal(runs.loss, parabolas().loss)
    count = len(runs)
    assert f"{count} of {2 * count + 1} rows, where experiment is ours and width is 64" in runs.notes
    both = load_runs(several, options=SourceOptions(where={"experiment": ["ours", "theirs"]}))
    assert len(both) == 2 * count


def test_a_row_that_was_chosen_is_named_as_in_its_file(several: Path) -> None:
    """Truth: its line, counted in the file."""
    last = len(several.read_text().splitlines())
    with pytest.raises(UserError, match=rf"line {last}: loss is 'no number'"):
        load_runs(several, options=SourceOptions(where={"experiment": ["one run"]}))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            {"experiment": ["our"]},
            r"--where experiment=our leaves no row of .*; 'experiment' is ours, theirs, one run",
        ),
        (
            {"experment": ["ours"]},
            r"--where experment=ours: .* has no column 'experment', or several; its columns are",
        ),
        ({"experiment": ["ours"], "width": ["65"]}, r"--where width=65 leaves no row"),
    ],
)
def test_a_choice_that_leaves_nothing_is_told(several: Path, where: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_runs(several, options=SourceOptions(where=where))


def test_a_column_that_is_mapped_is_not_taken_for_what_it_is_named_too(tmp_path: Path) -> None:
    """Truth: the simulated runs; as in public tables whose `budget` is all that they say of FLOPs."""
    named = ("experiment", "budget", "tokens", "loss")
    rows = [
        {name: (row | {"experiment": "one"})[name] for name in named}
        for row in rows_of(parabolas(budgets=[1e18, 1e19, 1e20]))
    ]
    source = write_csv(tmp_path / "public.csv", rows)
    runs = load_runs(source, {"flops": "budget"}, SourceOptions(where={"experiment": ["one"]}))
    assert np.array_equal(runs.flops, [float(row["budget"]) for row in rows])
    assert np.array_equal(runs.budgets, [1e18, 1e19, 1e20])
