"""One cell by 1, 2 and 4 ranks, data-parallel or sharded, and from any of these to any other half-way."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from shutil import copytree

import pytest

from tests.configs import ROOT
from tests.launching import Ran, launch, launch_ranks, one_cell, side_by_side, torchrun

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


DYING = """
import os, runpy, signal, sys
sys.path.insert(0, {root!r})
from scaling_runs import checkpoint, train
checkpoint.SAVE_EVERY_S = checkpoint.MAX_BETWEEN_SAVES_S = 0.0
step = train.TrainStep.__call__
def dying(self, windows, at):
    if at == {at} and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, windows, at)
train.TrainStep.__call__ = dying
sys.argv[0] = {root!r} + "/launch.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""launch.py, whose second rank is killed in mid-cell, and which saves at each record."""
DIES_AT = 30


@pytest.mark.parametrize("sharding", ["never", "always"])
def test_a_killed_rank_ends_the_others_and_any_number_of_ranks_goes_on(
    base: Path, tmp_path: Path, trained: dict[str, tuple[list[Ran], dict[str, object]]], sharding: str
) -> None:
    """Truth: SIGKILL under torchrun itself; then the loss of the cell that nothing disturbed, within 1e-4."""
    program, store = tmp_path / "dying.py", tmp_path / "killed"
    program.write_text(DYING.format(root=str(ROOT), at=DIES_AT))
    died = launch(
        *one_cell(base, store), *ADAMW, f"sharding={sharding}", program=[*torchrun(2)[:-1], str(program)]
    )
    assert died.code == 1
    sentence = (
        r"^(error: rank 0 has lost another rank|interrupted, as torchrun does to every rank).* run the same"
    )
    assert len(re.findall(sentence, died.err, re.M)) == 1, died.err
    assert "Signal 9 (SIGKILL)" in died.err
    (cell,) = store.glob("cells/*")
    assert (cell / "checkpoint.pt").exists()
    assert not (cell / "failure.json").exists()
    ways = {"1": [], "2": ["sharding=always"], "4": []}
    calls = []
    for ranks, options in ways.items():
        copytree(store, tmp_path / ranks)
        calls.append(partial(launch_ranks, int(ranks), *one_cell(base, tmp_path / ranks), *ADAMW, *options))
    alone = trained["1"][1]
    for ranks, ran in zip(ways, side_by_side(*calls), strict=True):
        assert [one.code for one in ran] == [0] * len(ran), ran
        result = json.loads((tmp_path / ranks / "cells" / cell.name / "result.json").read_text())
        assert (result["ranks"], result["tokens"]) == (int(ranks), alone["tokens"])
        assert result["loss"] == pytest.approx(alone["loss"], abs=1e-4)
        curve = [
            json.loads(line) for line in (tmp_path / ranks / "cells" / cell.name / "metrics.jsonl").open()
        ]
        assert [row["step"] for row in curve] == sorted(row["step"] for row in curve)
