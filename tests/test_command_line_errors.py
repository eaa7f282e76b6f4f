"""What a user can get wrong on the command line: one sentence that names the thing, exit code 2, nothing written."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest

from tests.launching import Ran, launch, launch_warm, side_by_side, text_options

SWEEP = ["sweep=isoflop_tiny"]
CELL = ["budget=1e9", "model.width=16"]
TEXT = "TEXT"
"""Stands for the options of the small text."""
GPUS_WANTED = (
    r"sweep=isoflop_gpu is planned for 8 x h100, and torch \S+ finds no GPU on this machine; start it where"
)
WRONG = [
    ([], r"nothing to train: give sweep=NAME, or both budget=FLOPS and model\.width=WIDTH"),
    (
        [*SWEEP, "sede=1"],
        r"'sede' is not an option; did you mean seed\? options: audit, budget, cell, data, ",
    ),
    ([*SWEEP, "+color=blue"], r"'color' is not an option; options: audit, budget"),
    (
        [*SWEEP, "sweep.budgts=[1e9]"],
        r"'sweep\.budgts' is .*did you mean sweep\.budgets\? options of sweep: budgets",
    ),
    ([*SWEEP, "+sweep.colour=1"], r"'sweep\.colour' is not an option; options of sweep: budgets, "),
    ([*CELL, "recip.lr=1"], r"'recip\.lr' is not an option; did you mean recipe\?"),
    (
        [*SWEEP, "hydra.launcher.n_jbs=2"],
        r"'hydra\.launcher\.n_jbs' is not .*did you mean hydra\.launcher\.n_jobs\? options of hydra/launcher=joblib: ",
    ),
    (
        [*SWEEP, "hydra/launcher=slurm", "hydra.launcher.partion=cpu"],
        r"'hydra\.launcher\.partion' is not .*did you mean hydra\.launcher\.partition\? .*=slurm: account",
    ),
    (
        [*SWEEP, "hydra/launcher=slurm", "hydra.launcher.flags=[--constraint=fast]"],
        r"'hydra\.launcher\.flags=\[--constraint=fast\]' .* as in \"hydra\.launcher\.flags=\['--flag'\]\"",
    ),
    (
        [*SWEEP, "hydra.launcher.partition=cpu"],
        r"'hydra\.launcher\.partition' is not an option; it is one of hydra/launcher=slurm; add that",
    ),
    ([*SWEEP, "hydra.jbo.name=x"], r"'hydra\.jbo\.name' is not an option; .*--cfg hydra"),
    (
        ["sweep=isoflop_tny"],
        r"'sweep=isoflop_tny' is unknown; did you mean sweep=isoflop_tiny\? choose one of",
    ),
    (
        ["model=lama", *CELL],
        r"'model=lama' is unknown; .*choose one of gpt2_tiny, llama3, llama_small, llama_tiny",
    ),
    (
        [*CELL, "sweep.sizes=3"],
        r"'sweep\.sizes=3' is an option of a sweep, and none is named; add sweep=isoflop_small",
    ),
    ([*SWEEP, "sweep=null"], r"'sweep=null' names no file of configs/sweep/"),
    (
        [*SWEEP, "hydra/launcher=jobib"],
        r"'hydra/launcher=jobib' is unknown; did you mean hydra/launcher=joblib\?",
    ),
    ([*SWEEP, "dry_run"], r"'dry_run' can't be read; options are written name=value"),
    (
        [*SWEEP, "--dry_run"],
        r"'--dry_run' can't be read; options are written without dashes, as in dry_run=true",
    ),
    (["--sweep=isoflop_tiny"], r"'--sweep=isoflop_tiny' can't be read; .* as in sweep=isoflop_tiny"),
    ([*CELL, "seed=one"], r"seed is 'one'; it must be a whole number"),
    ([*CELL, "threads=1.5"], r"threads is '1\.5'; it must be a whole number"),
    (["budget=much", "model.width=16"], r"budget is 'much'; it must be a number"),
    ([*SWEEP, "dry_run=maybe"], r"dry_run is 'maybe'; it must be true or false"),
    ([*SWEEP, "sweep.budgets=[1e9,abc]"], r"sweep\.budgets\[1\] is 'abc'; it must be a number"),
    (
        [*SWEEP, "sweep.budgets=1e9"],
        r"sweep\.budgets is one value; it must be a list, as in sweep\.budgets=\[a,b\]",
    ),
    (
        [*SWEEP, "sweep.budgets=1e9,2e9"],
        r"'sweep\.budgets=1e9,2e9' gives several .*write sweep\.budgets=\[1e9,2e9\]",
    ),
    (
        [*SWEEP, "recipe.lr=1e-3,1e-2"],
        r"'recipe\.lr=1e-3,1e-2' gives several values, where one .*run once for each",
    ),
    ([*SWEEP, "--multirun", "dry_run=true"], r"'--multirun' is not needed; .* leave it out"),
    (["--config-name=nope"], r"'--config-name=nope' names no file of configs/; leave --config-name out"),
    ([*SWEEP, "hydra.launcher.n_jobs=0"], r"hydra\.launcher\.n_jobs is 0; it must be"),
    (["sweep=isoflop_gpu"], GPUS_WANTED),
    (["sweep=isoflop_gpu", "hydra/launcher=basic"], GPUS_WANTED),
    (["sweep=isoflop_gpu", "hydra/launcher=ray"], GPUS_WANTED),
    (["cell=unknown", "dry_run=true"], r"dry_run=true would not be heeded beside cell=unknown"),
    ([*SWEEP, TEXT, "store=occupied", "dry_run=true"], r"store 'occupied' can't be made, or written to"),
    ([*SWEEP, "recipe=choice(muon,adamw)"], r"'recipe=choice\(muon,adamw\)' gives several values"),
    ([*CELL, "threads=1,2"], r"'threads=1,2' gives several values, where one is expected; run once for each"),
    ([*SWEEP, "sweep.budgets=[]"], r"sweep\.budgets is empty; give at least two budgets in FLOPs"),
    ([*SWEEP, "sweep.budgets=[1e30]"], r"sweep\.budgets holds 1e\+30, .*more than any model has"),
    ([*SWEEP, "sweep.expected_params=null"], r"sweep\.expected_params is null; it must have a value"),
    ([*SWEEP, "sweep.name=a/b"], r"sweep\.name is 'a/b'; it names a folder"),
    ([*SWEEP, "sweep.name=.."], r"sweep\.name is '\.\.'; it names a folder"),
    ([*SWEEP, "detach=true"], r"detach=true leaves the cells to a cluster's queue, .*hydra/launcher=slurm"),
    ([*SWEEP, "detach=true", "sweep.planner=adaptive"], r"detach=true leaves a sweep whose next cells"),
    ([*SWEEP, "store=memory://x"], r"store 'memory://x' (lives in one process|needs a package)"),
    ([*SWEEP, "ranks=some"], r"ranks is 'some'; choose one of auto, together, apart"),
    ([*SWEEP, "sharding=some"], r"sharding is 'some'; choose one of auto, never, always"),
    ([*SWEEP, "threads=0"], r"threads is 0; it must be at least 1"),
    ([*SWEEP, "hardware=h100", "gpus=0"], r"gpus is 0; it must be 1 to 1,000,000"),
    (
        [*SWEEP, "gpus=8"],
        r"gpus=8 is of the cluster that hardware= names, and none is named; give hardware=h100",
    ),
    (
        [*SWEEP, "hardware=h100", "gpu_hour_price=-1"],
        r"gpu_hour_price is -1\.0; it must be US dollars an hour",
    ),
    ([*SWEEP, "gpu_hour_price=2"], r"gpu_hour_price=2 is of the cluster that hardware= names"),
    (
        [*SWEEP, TEXT, "hardware=h1000", "dry_run=true"],
        r"hardware 'h1000' is unknown; did you mean h100",
    ),
    ([*CELL, "seed=-1"], r"seed is -1; it must be a whole number from 0 up"),
    (
        [*SWEEP, "seed=3", TEXT],
        r"seed=3 is for one cell, and sweep=isoflop_tiny chooses its own by sweep\.seeds",
    ),
    ([*SWEEP, "budget=1e9", TEXT], r"budget=1e\+09 is for one cell, .*sweep\.budgets"),
    ([*SWEEP, "cell=unknown", TEXT], r"cell=unknown is for one cell"),
    (["cell=unknown"], r"cell 'unknown' is not in the store 'results'; start its sweep"),
    (
        [*SWEEP, "tracking.mode=sometimes"],
        r"tracking\.mode is 'sometimes'; choose one of offline, online, off",
    ),
    (
        [*SWEEP, TEXT, "sweep.budgets=[1e5]"],
        r"a budget of 1e\+05 FLOPs is too small: one step of the w4-d1-h2",
    ),
    (
        [*SWEEP, TEXT, "sweep.sizes=2"],
        r"sweep 'isoflop_tiny' has 3 or more sizes at 0 of its 3 budgets; a law needs 2 such budgets",
    ),
    (
        [*SWEEP, TEXT, "store=occupied"],
        r"store 'occupied' can't be made, or written to \(.*\); choose another folder",
    ),
    (
        [*CELL, TEXT, "val_tokens=100000000"],
        r"val_tokens is 100000000, and the validation split holds \d+ windows",
    ),
    (
        [*CELL, "data=text_files", "data.paths=[absent.txt]"],
        r"data\.paths names 'absent\.txt', which is not there",
    ),
    ([*CELL, "data=text_files", "data.paths=[empty.txt]"], r".*there is no text"),
    (
        [*CELL, "data=text_files", "data.paths=[short.jsonl]", "data.val_fraction=0.5"],
        r"the (corpus|validation split) holds \d+ .*fewer than .*windows? of 64",
    ),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """What each command said, all in one folder, which none may write into but for the cache of a short text."""
    base = tmp_path_factory.getbasetemp()
    folder = tmp_path_factory.mktemp("errors")
    (folder / "occupied").write_text("a file")
    (folder / "empty.txt").touch()
    (folder / "short.jsonl").write_text("".join(json.dumps({"text": f"{i}"}) + "\n" for i in range(20)))
    before = {path.name for path in folder.iterdir()}
    commands = {}
    for options, _ in WRONG:
        text = text_options(base) if TEXT in options else []
        given = [*text, *(option for option in options if option != TEXT)]
        commands[" ".join(options)] = partial(launch_warm, *given, cwd=folder, CUDA_VISIBLE_DEVICES="")
    told = dict(zip(commands, side_by_side(*commands.values()), strict=True))
    assert {path.name for path in folder.iterdir()} - before <= {"cache"}
    return told


@pytest.mark.parametrize(
    ("options", "sentence"), WRONG, ids=[" ".join(options) or "nothing" for options, _ in WRONG]
)
def test_what_is_wrong_is_told_in_one_sentence(
    told: dict[str, Ran], options: list[str], sentence: str
) -> None:
    """Truth: the sentence that names the thing, its value and what to do; that nothing is written is checked above."""
    ran = told[" ".join(options)]
    assert re.match(rf"error: {sentence}", ran.err)
    assert ran.err.count("\n") == 1
    assert (ran.code, ran.out) == (2, "")


def test_a_traceback_is_there_for_who_wants_it(tmp_path: Path) -> None:
    """Truth: HYDRA_FULL_ERROR=1 is Hydra's own switch for it."""
    ran = launch("sweep=isoflop_tny", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert "Traceback" in ran.err
    assert ran.code == 1
