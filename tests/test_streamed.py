"""`data=stream` and `data=mixture` from the command line: what is not on disk is read as it is trained on."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest

from tests.launching import (
    ALONE,
    Ran,
    Sweep,
    grid,
    launch_ranks,
    launch_warm,
    one_cell,
    side_by_side,
    text_options,
    untimed,
)
from tests.scaling_runs.data.streams import write_data_set
from tests.test_torchrun_sharded import ADAMW


def _stream(base: Path, options: list[str]) -> list[str]:
    """The options with the same text as a data set of four files, streamed."""
    folder = base / "streamed-text"
    on_disk = set(text_options(base))
    if not folder.exists():
        lines = (base / "launch-text" / "sources.jsonl").open()
        rows = [json.loads(line)["text"] for line in lines]
        write_data_set(folder, [rows[first::4] for first in range(4)])
    return [
        *(option for option in options if option not in on_disk),
        "data=stream",
        f"data.hf_path={folder}",
        "data.train_tokens=1_000_000",
        "data.tokenizer=bytes",
        "data.val_fraction=0.1",
        f"data.cache_dir={base / 'streamed-cache'}",
        f"val_tokens={32 * 64}",
    ]


@pytest.fixture(scope="module")
def by_ranks(base: Path) -> dict[int, tuple[list[Ran], dict[str, object]]]:
    """One cell by one, two and four ranks: what they said, and its result."""
    stores = {ranks: base / f"streamed-{ranks}" for ranks in (1, 2, 4)}
    calls = [
        partial(launch_ranks, ranks, *_stream(base, one_cell(base, store)), *ADAMW)
        for ranks, store in stores.items()
    ]
    found = {}
    for (ranks, store), ran in zip(stores.items(), side_by_side(*calls), strict=True):
        assert [one.code for one in ran] == [0] * ranks, ran
        (path,) = store.glob("cells/*/result.json")
        found[ranks] = ran, json.loads(path.read_text())
    return found


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_streamed_cell_does_not_depend_on_the_ranks(
    by_ranks: dict[int, tuple[list[Ran], dict[str, object]]], ranks: int
) -> None:
    """Truth: the cell of one process: the same id and tokens, its loss within 1e-4."""
    alone, result = by_ranks[1][1], by_ranks[ranks][1]
    assert (result["run_id"], result["tokens"], result["ranks"]) == (alone["run_id"], alone["tokens"], ranks)
    assert result["loss"] == pytest.approx(alone["loss"], abs=1e-4)


def test_a_streamed_sweep_ends_in_a_law_and_runs_again_without_training(base: Path) -> None:
    """Truth: six finished rows, of as many unique tokens as were trained on; a second run changes no cell."""
    store = base / "streamed-sweep"
    options = _stream(base, grid(base, store))
    ran = launch_warm(*options, ALONE)
    assert ran.code == 0, ran
    sweep = Sweep(ran, store)
    rows = sweep.rows()
    assert len(rows) == 6
    assert all(row["status"] == "finished" and row["unique_tokens"] == row["tokens"] for row in rows)
    assert not list((base / "streamed-cache").rglob("train.bin"))
    again = launch_warm(*options, ALONE)
    assert again.code == 0, again
    assert untimed(Sweep(again, store).rows()) == untimed(rows)


def test_a_cell_on_a_mixture_has_the_loss_of_each_part_and_its_plan_the_epochs(base: Path) -> None:
    """Truth: an overall loss between those of the parts, whose 0.75 and 0.25 of the tokens the plan names; a dry run
    before anything is prepared goes by the sizes that are declared."""
    store = base / "mixture"
    streamed = _stream(base, one_cell(base, store))
    ours = ("data=", "data.hf_path", "data.train_tokens", "data.val_fraction", "data.cache_dir")
    folder = base / "streamed-text"
    texts = base / "launch-text" / "sources.jsonl"
    web = f"{{name: web, weight: 3, hf_path: {folder}, on_disk: false, train_tokens: 1000000}}"
    code = f"{{name: code, weight: 1, paths: [{texts}], train_tokens: 1000}}"
    options = [
        *(option for option in streamed if not option.startswith(ours)),
        "data=mixture",
        f"data.parts=[{web}, {code}]",
        "data.val_fraction=0.1",
        f"data.cache_dir={base / 'mixture-cache'}",
        "val_tokens=4096",
    ]
    planned = launch_warm(*options, ALONE, "dry_run=true")
    assert planned.code == 0, planned
    assert re.search(r"web +75\.0% of the tokens, 1M there: 0\.\d+ epochs of the longest cell", planned.out)
    assert re.search(r"passes \d\.\d times over part 'code', more than 4", planned.out)
    ran = launch_warm(*options, ALONE)
    assert ran.code == 0, ran
    (path,) = store.glob("cells/*/result.json")
    row = json.loads(path.read_text())
    parts = sorted([row["loss_web"], row["loss_code"]])
    assert parts[0] < row["loss"] < parts[1]
    of_code = round(0.25 * row["tokens"])
    assert row["unique_tokens"] == row["tokens"] - of_code + min(of_code, _training_tokens(base))


def _training_tokens(base: Path) -> int:
    """Of the part that is on disk."""
    (path,) = (base / "mixture-cache").rglob("train.bin")
    return path.stat().st_size // 2
