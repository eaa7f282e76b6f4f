"""One cell by 1, 2 and 4 ranks, data-parallel or sharded, and from any of these to any other half-way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from scaling_runs.data import load_corpus, validation_windows
from scaling_runs.store import CellFolder
from tests.launching import Ran, around, launch, launch_ranks, one_cell, side_by_side, torchrun

ADAMW = ["recipe=adamw", "recipe.max_warmup_steps=null", "recipe.lr=2e-2", "model.min_depth=2"]
"""Muon makes rounding errors of the narrowest models thousands of times larger (`tests/test_torchrun.py`)."""
SHARDED = "sharding=always"
TRUNK = ["recipe.cooldown_fraction=0.2", "recipe.max_warmup_steps=2"]


@dataclass(frozen=True)
class Way:
    """How the cell is trained."""

    ranks: int
    options: list[str] = field(default_factory=list)
    most_sequences: str = ""
    """Of one forward and backward pass, in place of what a GPU's memory says."""


WAYS = {
    "1": Way(1),
    "2": Way(2),
    "4": Way(4),
    "2 sharded": Way(2, [SHARDED]),
    "2 sharded, in micro-batches": Way(2, [SHARDED], most_sequences="1"),
    "2 sharded, Muon": Way(2, [SHARDED, "recipe=wsd"]),
    "1, Muon": Way(1, ["recipe=wsd"]),
    "1, on a trunk": Way(1, TRUNK),
}
WATCHED = """
import dataclasses, hashlib, json
from scaling_runs import job, train
placed, train_cell, step, loss = job.placed, job.train_cell, train.TrainStep.__call__, train.next_token_loss
passes, begun = 0, False
def placed_so(*arguments):
    most = os.environ["MOST_SEQUENCES"]
    found = placed(*arguments)
    return dataclasses.replace(found, most_sequences=int(most)) if most else found
def begun_cell(*arguments):
    global begun
    begun = True  # what the plan tries out comes before
    return train_cell(*arguments)
def counted_loss(*arguments):
    global passes
    passes += 1
    return loss(*arguments)
def watched(self, windows, at):
    global passes
    passes = 0
    done = step(self, windows, at)
    rows = [hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in windows]
    if begun:
        with open(os.environ["WATCHED"] + os.environ["RANK"], "a") as file:
            print(json.dumps({"step": at, "rows": rows, "passes": passes}), file=file)
    return done
job.placed, job.train_cell = placed_so, begun_cell
train.next_token_loss, train.TrainStep.__call__ = counted_loss, watched
"""
"""launch.py, each of whose ranks notes what it trains on at each step, and in how many passes."""


@dataclass(frozen=True)
class Trained:
    """What a way said, the cell's result, and what each rank noted of each step."""

    ran: list[Ran]
    result: dict[str, Any]
    steps: list[list[dict[str, Any]]]


@pytest.fixture(scope="module")
def trained(base: Path) -> dict[str, Trained]:
    folders = {name: base / "ways" / re.sub(r"\W+", "-", name) for name in WAYS}
    calls = []
    for name, way in WAYS.items():
        folders[name].mkdir(parents=True)
        program = around(folders[name] / "watched.py", WATCHED)
        watched = {"WATCHED": str(folders[name] / "rank-"), "MOST_SEQUENCES": way.most_sequences}
        options = [*one_cell(base, folders[name]), *ADAMW, *way.options]
        calls.append(partial(launch_ranks, way.ranks, *options, program=program, **watched))
    found = {}
    for name, ran in zip(WAYS, side_by_side(*calls), strict=True):
        assert [one.code for one in ran] == [0] * len(ran), ran
        (path,) = folders[name].glob("cells/*/result.json")
        noted = [folders[name] / f"rank-{rank}" for rank in range(WAYS[name].ranks)]
        steps = [[json.loads(line) for line in file.open()] for file in noted]
        found[name] = Trained(ran, json.loads(path.read_text()), steps)
    return found


@pytest.mark.parametrize("way", [way for way in WAYS if not way.startswith("1")])
def test_a_result_does_not_depend_on_the_ranks(trained: dict[str, Trained], way: str) -> None:
    """Truth: the cell of one process: the same id and tokens, its loss within 1e-4."""
    alone = trained["1, Muon" if "Muon" in way else "1"].result
    result = trained[way].result
    assert result["ranks"] == WAYS[way].ranks
    assert (result["run_id"], result["tokens"]) == (alone["run_id"], alone["tokens"])
    assert result["loss"] == pytest.approx(alone["loss"], abs=1e-4)


@pytest.mark.parametrize("way", ["2", "4", "2 sharded", "2 sharded, in micro-batches"])
def test_at_each_step_the_ranks_train_on_the_very_batch_of_one_process(
    trained: dict[str, Trained], way: str
) -> None:
    """Truth: digests of the windows of token ids of one process, step by step, in their order."""
    (alone,) = trained["1"].steps
    assert [one["step"] for one in alone] == list(range(len(alone)))
    assert len({row for one in alone for row in one["rows"]}) > len(alone), "windows differ"
    for one, *shares in zip(alone, *trained[way].steps, strict=True):
        assert {share["step"] for share in shares} == {one["step"]}
        assert [row for share in shares for row in share["rows"]] == one["rows"]


def test_ranks_add_up_the_gradients_of_their_micro_batches(trained: dict[str, Trained]) -> None:
    """Truth: a batch of four over two ranks, a sequence at a time, is two passes a step, and one where all go at once.

    That the result is that of one process is tested with the other ways.
    """
    for way, passes in {"2 sharded, in micro-batches": 2, "2 sharded": 1}.items():
        for steps in trained[way].steps:
            assert {(len(one["rows"]), one["passes"]) for one in steps} == {(2, passes)}


def test_a_sharded_cell_leaves_a_state_of_its_trunk_and_another_goes_on_from_it_sharded(
    base: Path, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """Truth: the step that the second says it began at, and the loss of the cell that one process trains whole."""
    alone = trained["1, on a trunk"]
    options = [*one_cell(base, tmp_path), *ADAMW, *TRUNK, SHARDED]
    first = launch_ranks(2, *options, "budget=5e8")
    (state,) = tmp_path.glob("trunks/*/*.pt")
    second = launch_ranks(2, *options)
    assert [one.code for one in (*first, *second)] == [0] * 4, (first, second)
    assert 0 < int(state.stem) == json.loads(state.with_name("began.json").read_text()) < len(alone.steps[0])
    result = json.loads((tmp_path / "cells" / alone.result["run_id"] / "result.json").read_text())
    assert (result["ranks"], result["tokens"]) == (2, alone.result["tokens"])
    assert result["loss"] == pytest.approx(alone.result["loss"], abs=1e-4)


DIES_AT = 30
DYING = f"""
from scaling_runs import meetings, train
meetings.SAVE_EVERY_S = meetings.MAX_BETWEEN_SAVES_S = 0.0
step = train.TrainStep.__call__
def dying(self, windows, at):
    if at == {DIES_AT} and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, windows, at)
train.TrainStep.__call__ = dying
"""
"""launch.py, whose second rank is killed in mid-cell, and which saves at each record."""


@pytest.mark.parametrize("sharding", ["never", "always"])
def test_a_killed_rank_ends_the_others_and_any_number_of_ranks_goes_on(
    base: Path, tmp_path: Path, trained: dict[str, Trained], sharding: str
) -> None:
    """Truth: SIGKILL under torchrun itself; then the loss of the cell that nothing disturbed, within 1e-4."""
    program, store = around(tmp_path / "dying.py", DYING), tmp_path / "killed"
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
    ways = {"1": [], "2": [SHARDED], "4": []}
    calls = []
    for ranks, options in ways.items():
        copytree(store, tmp_path / ranks)
        calls.append(partial(launch_ranks, int(ranks), *one_cell(base, tmp_path / ranks), *ADAMW, *options))
    alone = trained["1"].result
    for ranks, ran in zip(ways, side_by_side(*calls), strict=True):
        assert [one.code for one in ran] == [0] * len(ran), ran
        result = json.loads((tmp_path / ranks / "cells" / cell.name / "result.json").read_text())
        assert (result["ranks"], result["tokens"]) == (int(ranks), alone["tokens"])
        assert result["loss"] == pytest.approx(alone["loss"], abs=1e-4)
        curve = [
            json.loads(line) for line in (tmp_path / ranks / "cells" / cell.name / "metrics.jsonl").open()
        ]
        assert [row["step"] for row in curve] == sorted(row["step"] for row in curve)


def test_a_model_that_ranks_share_out_is_kept_whole(base: Path, tmp_path: Path) -> None:
    """Truth: transformers finds every weight that the model has and no other, and their forward pass the loss."""
    ran = launch_ranks(2, *one_cell(base, tmp_path), SHARDED, "keep_models=all", "precision=fp32")
    assert [one.code for one in ran] == [0, 0], ran
    (path,) = tmp_path.glob("cells/*/model")
    model, told = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    folder = CellFolder(path.parent)
    spec, row = folder.spec(), folder.result()
    assert row is not None
    assert row["ranks"] == 2
    corpus = load_corpus(spec.corpus, base / "launch-text" / "cache")
    windows = torch.from_numpy(validation_windows(corpus, spec.seq_len, spec.val_tokens).astype("int64"))
    with torch.no_grad():
        logits = model(windows[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    assert float(loss) == pytest.approx(row["loss"], rel=2e-6)
