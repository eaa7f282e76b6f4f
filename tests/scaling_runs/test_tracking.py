"""What W&B is told, read back from its own offline files, and that its failing fails nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from fit.errors import UserError
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.report.html.page import write_report
from fit.result import write_fit
from fit.table import load_runs
from scaling_runs import tracking
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.job import run_cell
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import CellFolder, Record, Store
from scaling_runs.sweep_record import write_plan
from scaling_runs.tracking import sync_command, track_cell, track_sweep, wandb_folder
from tests.configs import config_of
from tests.fit.sources.wandb_server import Recorded, node, serving
from tests.scaling_runs.conftest import RealText, spec_for
from tests.simulated import parabolas, rows_of, write_csv

RUNS = parabolas(budgets=[1e18, 1e19, 1e20], sizes=5)

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)
"""One grey pixel."""


@pytest.fixture(autouse=True)
def a_process_in_which_wandb_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking._Run, "warned", False)
    monkeypatch.setattr(tracking._Run, "cannot_start", False)


def offline(store: Path, *options: str) -> Config:
    return config_of("sweep=isoflop_tiny", "tracking=offline", f"store={store}", *options)


KINDS = ("run", "config", "metric", "history", "summary", "artifact")


@dataclasses.dataclass(frozen=True)
class WandbRun:
    """An offline run, as `wandb sync` will read it."""

    run: Any
    config: dict[str, Any]
    history: list[dict[str, Any]]
    axis_of: dict[str, str]
    summary: dict[str, Any]
    artifacts: dict[str, Any]
    """By name, as W&B's record of it; the last of each."""
    exit_code: int

    def files(self, artifact: str) -> set[str]:
        return {entry.path for entry in self.artifacts[artifact].manifest.contents}


def logged_runs(config: Config) -> list[WandbRun]:
    return [read_run(path) for path in sorted(wandb_folder(config).glob("wandb/offline-run-*/*.wandb"))]


def read_run(path: Path) -> WandbRun:
    """The protocol buffers of a .wandb file, once W&B's own process has written the last of them."""
    records: list[Any] = []
    until = time.monotonic() + 60
    while not records or records[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < until, f"W&B never ended {path.name}"
        time.sleep(0.02)
        records = [wandb_internal_pb2.Record.FromString(entry) for entry in log_entries(path.read_bytes())]
    of_kind = {kind: [r for r in records if r.WhichOneof("record_type") == kind] for kind in KINDS}
    (run,) = of_kind["run"]
    config = {item.key: json.loads(item.value_json) for item in run.run.config.update}
    config |= values(item for record in of_kind["config"] for item in record.config.update)
    return WandbRun(
        run=run.run,
        config=config,
        history=[values(record.history.item) for record in of_kind["history"]],
        axis_of={r.metric.name: r.metric.step_metric for r in of_kind["metric"] if r.metric.step_metric},
        summary={k: v for record in of_kind["summary"] for k, v in values(record.summary.update).items()},
        artifacts={record.artifact.name: record.artifact for record in of_kind["artifact"]},
        exit_code=records[-1].exit.exit_code,
    )


def values(items: Any) -> dict[str, Any]:
    """Items whose keys are paths, as nested dicts."""
    found: dict[str, Any] = {}
    for item in items:
        *outer, name = item.nested_key or [item.key]
        inner = found
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[name] = json.loads(item.value_json)
    return found


def log_entries(data: bytes) -> Iterator[bytes]:
    """Truth: LevelDB's log format (doc/log_format.md), after W&B's header of 7 bytes: blocks of 32 KiB that hold pieces
    of (checksum 4, length 2, kind 1), where kind is 1 for whole, 2 for first, 3 for middle and 4 for last."""
    assert data[:4] == b":W&B"
    at, entry = 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6] if room >= 7 else 0
        if room < 7 or kind == 0:
            at += room
            continue
        if at + 7 + length > len(data):
            return  # W&B is still writing it
        entry += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield entry
            entry = b""


def test_a_trained_cell_is_a_run_that_holds_its_curve_its_row_and_its_spec(
    text: RealText, tmp_path: Path
) -> None:
    """Truth: metrics.jsonl, the record: W&B's history is the same numbers, a row a step; sizes are the run table's."""
    config = offline(tmp_path, *text.options)
    spec = spec_for(text.corpus, steps=50)
    row = run_cell(Store(tmp_path).add(spec), config)
    (logged,) = logged_runs(config)
    assert logged.run.run_id == spec.cell_id
    assert logged.run.run_group == "isoflop_tiny"
    assert logged.run.project == "isoflop"
    assert logged.exit_code == 0
    for name, value in json.loads(json.dumps(dataclasses.asdict(spec))).items():
        assert logged.config[name] == value
    assert {name: logged.config[name] for name in ("params", "tokens", "flops")} == {
        name: row[name] for name in ("params", "tokens", "flops")
    }
    assert {name: logged.summary[name] for name in row} == json.loads(json.dumps(row))
    rows: dict[float, Record] = {}
    for record in CellFolder(tmp_path / "cells" / spec.cell_id).curve():
        rows[record["step"]] = rows.get(record["step"], {}) | record
    history = [{k: v for k, v in row.items() if not k.startswith("_")} for row in logged.history]
    assert history == list(rows.values())
    assert len(history) == 50


def test_losses_can_be_drawn_against_step_tokens_and_flops(text: RealText, tmp_path: Path) -> None:
    """Truth: W&B draws a metric against another that stands in the same row of its history."""
    config = offline(tmp_path, *text.options)
    run_cell(Store(tmp_path).add(spec_for(text.corpus, steps=50)), config)
    (logged,) = logged_runs(config)
    for name in ("train_loss", "val_loss_probe", "val_loss", "lr", "grad_norm", "tokens_per_s", "mfu"):
        rows = [row for row in logged.history if name in row]
        assert rows
        assert all({"step", "tokens", "flops"} <= row.keys() for row in rows)
        assert all(row["_step"] == row["step"] for row in rows)
    assert logged.axis_of == dict.fromkeys(("train_loss", "val_loss_probe", "val_loss"), "flops")


@pytest.fixture(scope="module")
def concluded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path, IsoflopFit]:
    """A sweep's folder with its table, fit and pictures, of simulated runs, told to W&B."""
    store = tmp_path_factory.mktemp("store")
    folder = store / "isoflop_tiny"
    folder.mkdir()
    write_csv(folder / "runs.csv", rows_of(RUNS))
    fit = fit_isoflop(load_runs(folder / "runs.csv"), resamples=20)
    write_fit(fit, folder / "fit.json")
    write_report(fit, folder / "report.html")
    (folder / "isoflop.png").write_bytes(PNG)
    config = offline(store)
    track_sweep(config, folder, ["b", "a"], {"tokens_exponent": 0.537, "corpus": "abc"})
    return config, folder, fit


def test_the_sweeps_run_holds_the_table_the_fit_and_the_pictures(
    concluded: tuple[Config, Path, IsoflopFit],
) -> None:
    """Truth: the files of its folder. Table and fit are artifacts of their own, with what they are of."""
    config, folder, _ = concluded
    (logged,) = logged_runs(config)
    assert (logged.run.run_group, logged.run.job_type) == ("isoflop_tiny", "sweep")
    kinds = {name: artifact.type for name, artifact in logged.artifacts.items()}
    assert kinds["isoflop_tiny-runs"] == "dataset"
    assert kinds["isoflop_tiny-fit"] == "fit"
    assert logged.files("isoflop_tiny-runs") == {"runs.csv"}
    assert logged.files("isoflop_tiny-fit") == {"fit.json", "isoflop.png", "report.html"}
    assert json.loads(logged.artifacts["isoflop_tiny-fit"].metadata)["tokens_exponent"] == 0.537
    assert logged.summary["tokens_exponent"] == 0.537
    media = {key: value for row in logged.history for key, value in row.items() if isinstance(value, dict)}
    files = next(wandb_folder(config).glob("wandb/offline-run-*")) / "files"
    assert (files / media["isoflop"]["path"]).read_bytes() == PNG
    assert (files / media["report"]["path"]).read_text() == (folder / "report.html").read_text()
    assert len(json.loads((files / media["runs"]["path"]).read_text())["data"]) == len(RUNS)


def test_valleys_and_law_are_charts_of_the_table_and_the_fit(
    concluded: tuple[Config, Path, IsoflopFit],
) -> None:
    """Truth: the runs and the optima, whose logarithms W&B's presets draw."""
    config, _, fit = concluded
    (logged,) = logged_runs(config)
    shown = logged.config["_wandb"]["visualize"]
    assert {name: chart["panel_config"]["panelDefId"] for name, chart in shown.items()} == {
        "valleys_tokens": "wandb/lineseries/v0",
        "valleys_params": "wandb/lineseries/v0",
        "law_tokens": "wandb/scatter/v0",
        "law_params": "wandb/scatter/v0",
    }
    media = {key: value for row in logged.history for key, value in row.items() if isinstance(value, dict)}
    files = next(wandb_folder(config).glob("wandb/offline-run-*")) / "files"
    valleys = json.loads((files / media["valleys_tokens_table"]["path"]).read_text())
    drawn = {(key, round(x, 9), y) for _, key, x, y in (_in_order(valleys, row) for row in valleys["data"])}
    assert drawn == {
        (f"{budget:.6g} FLOPs", round(math.log10(tokens), 9), loss)
        for budget, tokens, loss in zip(RUNS.budget, RUNS.tokens, RUNS.loss, strict=True)
    }
    law = json.loads((files / media["law_params_table"]["path"]).read_text())["data"]
    assert law == [
        [pytest.approx(math.log10(one.flops)), pytest.approx(math.log10(one.params.optimum or 0))]
        for one in fit.budgets
    ]


def _in_order(table: dict[str, Any], row: list[Any]) -> list[Any]:
    """step, lineKey, x, y of W&B's line series, in whatever order its columns are."""
    of = dict(zip(table["columns"], row, strict=True))
    return [of["step"], of["lineKey"], of["step"], of["lineVal"]]


def test_a_plan_that_is_run_again_is_the_same_run_and_another_plan_another(tmp_path: Path) -> None:
    """Truth: ids, and the log of the first time, which is not uploaded beside the second."""
    config = offline(tmp_path)
    folder = tmp_path / "isoflop_tiny"
    folder.mkdir()
    write_csv(folder / "runs.csv", rows_of(RUNS))
    for cells in (["a", "b"], ["b", "a"], ["a"]):
        track_sweep(config, folder, cells, {})
    first, second = (logged.run.run_id for logged in logged_runs(config))
    assert first != second
    assert logged_runs(config)[0].artifacts.keys() >= {"isoflop_tiny-runs"}


def test_a_sweeps_runs_are_read_back_as_the_run_table(
    text: RealText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the laws of the table itself. Cells' offline logs are served as W&B's server does, without a column
    mapped; the sweep's own run is no row."""
    config = offline(tmp_path)
    rows = rows_of(RUNS)
    for i, row in enumerate(rows):
        with track_cell(config, spec_for(text.corpus, steps=5, seed=i), Runtime()) as tracked:
            tracked.observe({"step": 1, "flops": row["flops"], "tokens": row["tokens"], "train_loss": 9.0})
            tracked.summarise(row | {"status": "finished"})
    (tmp_path / "isoflop_tiny").mkdir(exist_ok=True)
    table = write_csv(tmp_path / "isoflop_tiny" / "runs.csv", rows)
    track_sweep(config, table.parent, ["a"], {})
    logged = logged_runs(config)
    assert len(logged) == len(RUNS) + 1
    assert {one.run.job_type for one in logged} == {"cell", "sweep"}
    nodes = [node(i, one.config, one.summary) for i, one in enumerate(logged)]
    with serving(Recorded({"acme/isoflop": nodes})) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        found = fit_isoflop(load_runs("wandb:acme/isoflop"), resamples=20)
    wanted = fit_isoflop(load_runs(table), resamples=20)
    for axis in ("tokens", "params"):
        ours, theirs = found.laws[axis], wanted.laws[axis]
        assert ours is not None
        assert theirs is not None
        assert ours.exponent == pytest.approx(theirs.exponent, rel=1e-9)


def test_a_cell_of_a_sweep_has_its_nominal_budget_as_the_table_has_it(text: RealText, tmp_path: Path) -> None:
    """Truth: the plan's budget, which is not what whole steps spend."""
    config, spec = offline(tmp_path, *text.options), spec_for(text.corpus, steps=5)
    store = Store(tmp_path)
    write_plan(store.sweep_folder("isoflop_tiny"), [Cell(spec, 1.25e9, 1.0)], {spec.cell_id: 1.0})
    run_cell(store.add(spec), config)
    (logged,) = logged_runs(config)
    assert logged.summary["budget"] == 1.25e9
    assert logged.summary["flops"] == spec.flops != 1.25e9


def test_kept_models_are_artifacts_where_that_is_asked_for(
    concluded: tuple[Config, Path, IsoflopFit], tmp_path: Path
) -> None:
    """Truth: the names and sizes of the folder's files."""
    _, folder, _ = concluded
    model = tmp_path / "cells" / "abc" / "model"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "config.json").write_text("{}")
    config = offline(tmp_path / "own", "tracking.log_models=true", "keep_models=best")
    track_sweep(config, folder, ["abc"], {}, {"abc": model})
    (logged,) = logged_runs(config)
    assert logged.artifacts["isoflop_tiny-abc"].type == "model"
    assert logged.files("isoflop_tiny-abc") == {"model.safetensors", "config.json"}
    sizes = {item.path: item.size for item in logged.artifacts["isoflop_tiny-abc"].manifest.contents}
    assert sizes == {"model.safetensors": 7, "config.json": 2}


@pytest.mark.parametrize("lacking", [["sweep=isoflop_tiny"], ["budget=1e9", "keep_models=all"]])
def test_models_that_nobody_keeps_cannot_be_uploaded(lacking: list[str]) -> None:
    with pytest.raises(
        UserError, match=r"tracking\.log_models=true uploads the models that a sweep keeps; give"
    ):
        config_of("tracking.log_models=true", *lacking)


def test_a_cell_that_is_tried_again_has_one_run(spec: CellSpec, tmp_path: Path) -> None:
    """Truth: the second attempt mirrors the whole curve, so the first one's log is not to be uploaded beside it."""
    config = offline(tmp_path)
    for last in (3, 5):
        with track_cell(config, spec, Runtime()) as tracked:
            for step in range(1, last + 1):
                tracked.observe({"step": step, "train_loss": 1.0 / step})
    (logged,) = logged_runs(config)
    assert [row["step"] for row in logged.history] == [1, 2, 3, 4, 5]


def test_a_cell_that_fails_is_a_run_that_failed(spec: CellSpec, tmp_path: Path) -> None:
    config = offline(tmp_path)

    def fail() -> None:
        with track_cell(config, spec, Runtime()) as tracked:
            tracked.observe({"step": 1, "train_loss": 1.0})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (logged,) = logged_runs(config)
    assert logged.exit_code == 1
    assert len(logged.history) == 1


def test_off_writes_nothing_and_other_ranks_neither(spec: CellSpec, tmp_path: Path) -> None:
    off = config_of("sweep=isoflop_tiny", "tracking=off", f"store={tmp_path}")
    for config, runtime in ((off, Runtime()), (offline(tmp_path), Runtime(rank=1, world_size=2))):
        with track_cell(config, spec, runtime) as tracked:
            tracked.observe({"step": 1, "train_loss": 1.0})
    track_sweep(off, tmp_path, [], {})
    assert list(tmp_path.iterdir()) == []
    assert sync_command(off) is None


def test_wandb_that_cannot_start_fails_no_cell_and_warns_once(
    text: RealText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: a file where W&B's folder should be; three cells and a sweep's end, all trained, one line said."""
    config = offline(tmp_path, *text.options)
    wandb_folder(config).parent.mkdir(parents=True)
    wandb_folder(config).write_text("in the way")
    for seed in range(3):
        row = run_cell(Store(tmp_path).add(spec_for(text.corpus, steps=5, seed=seed)), config)
        assert row["status"] == "finished"
    track_sweep(config, tmp_path, [], {})
    warnings = [line for line in capsys.readouterr().err.splitlines() if "W&B" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: W&B failed to start (")
    assert sync_command(config) is None


def test_wandb_that_refuses_its_settings_fails_no_cell(
    spec: CellSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: W&B's own limit of 128 characters on a project's name."""
    config = offline(tmp_path, f"tracking.project={'p' * 200}")
    with track_cell(config, spec, Runtime()) as tracked:
        tracked.observe({"step": 1, "train_loss": 1.0})
    assert capsys.readouterr().err.count("warning: W&B failed to start") == 1


def test_wandb_that_fails_on_the_way_fails_no_cell_and_warns_once(
    spec: CellSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: a run that W&B has already closed takes no more records; it happens to two cells, one line is said."""
    import wandb

    for _ in range(2):
        with track_cell(offline(tmp_path), spec, Runtime()) as tracked:
            tracked.observe({"step": 1, "train_loss": 1.0})
            assert wandb.run is not None
            wandb.run.finish()
            for step in range(2, 5):
                tracked.observe({"step": step, "train_loss": 1.0})
    assert capsys.readouterr().err.count("warning: W&B failed to log") == 1


def test_the_sync_command_names_every_offline_run(spec: CellSpec, tmp_path: Path) -> None:
    """Truth: the shell's own reading of the line, in a folder whose name has a space."""
    store = tmp_path / "my results"
    config = offline(store)
    assert sync_command(config) is None
    with track_cell(config, spec, Runtime()) as tracked:
        tracked.observe({"step": 1, "train_loss": 1.0})
    command = sync_command(config)
    assert command is not None
    with os.popen(f"printf '%s\\n' {command}") as shell:
        words = shell.read().splitlines()
    assert words[:2] == ["wandb", "sync"]
    assert [Path(word).name.split("-")[-1] for word in words[2:]] == [spec.cell_id]
    assert all(stat.S_ISDIR(os.stat(word).st_mode) for word in words[2:])
    assert shlex.split(command)[2].startswith(str(store))
