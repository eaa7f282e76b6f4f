"""One cell by 1, 2 and 4 ranks, data-parallel or sharded, and from any of these to any other half-way."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from tests.launching import Ran, launch_ranks, one_cell, side_by_side

ADAMW = ["recipe=adamw", "recipe.max_warmup_steps=null", "recipe.lr=2e-2", "model.min_depth=2"]
"""Muon makes rounding errors of the narrowest models thousands of times larger (`tests/test_torchrun.py`)."""
WAYS = {
    "1": (1, []),
    "2": (2, []),
    "4": (4, []),
    "2 sharded": (2, ["sharding=always"]),
    "2 sharded, Muon": (2, ["sharding=always", "recipe=wsd"]),
    "1, Muon": (1, ["recipe=wsd"]),
}


@pytest.fixture(scope="module")
def trained(base: Path) -> dict[str, tuple[list[Ran], dict[str, object]]]:
    """What each way said, and the cell's result."""
    calls = []
    for name, (ranks, options) in WAYS.items():
        store = base / "ways" / name.replace(" ", "-").replace(",", "")
        calls.append(partial(launch_ranks, ranks, *one_cell(base, store), *ADAMW, *options))
    found = {}
    for name, ran in zip(WAYS, side_by_side(*calls), strict=True):
        store = base / "ways" / name.replace(" ", "-").replace(",", "")
        assert [one.code for one in ran] == [0] * len(ran), ran
        (path,) = store.glob("cells/*/result.json")
        found[name] = ran, json.loads(path.read_text())
    return found


@pytest.mark.parametrize("way", ["2", "4", "2 sharded", "2 sharded, Muon"])
def test_a_result_does_not_depend_on_the_ranks(
    trained: dict[str, tuple[list[Ran], dict[str, object]]], way: str
) -> None:
    """Truth: the cell of one process: the same id and tokens, its loss within 1e-4."""
    alone = trained["1, Muon" if "Muon" in way else "1"][1]
    result = trained[way][1]
    assert result["ranks"] == WAYS[way][0]
    assert (result["run_id"], result["tokens"]) == (alone["run_id"], alone["tokens"])
    assert result["loss"] == pytest.approx(alone["loss"], abs=1e-4)
