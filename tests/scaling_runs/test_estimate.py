"""How long a plan will take."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fit.errors import UserError
from models import factory
from models.flops import forward_flops_per_token, params, train_flops_per_token
from scaling_runs import trial_cache, trials
from scaling_runs.bench.profile import Profile, Setting, write_profile
from scaling_runs.bench.settings import PROFILE
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.estimate import estimate_plan
from scaling_runs.hardware import GPUS, mfu, workers
from scaling_runs.launchers import ONE_BY_ONE, SideBySide
from scaling_runs.layout import cell_flops
from scaling_runs.plan import Plan
from scaling_runs.report import cluster_totals
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.timing import StepTimer
from scaling_runs.train import EVALUATIONS_ON_THE_WAY, PROBE_SHARE
from scaling_runs.trial_cache import TrialCache, machine_digest
from scaling_runs.trials import seconds_of
from tests.configs import config_of, plan_of
from tests.scaling_runs.bench.profiles import profile_of, row_of


def longer(cell: Cell, times: int) -> Cell:
    return dataclasses.replace(cell, spec=dataclasses.replace(cell.spec, steps=times * cell.spec.steps))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return config_of("sweep=isoflop_tiny", f"data.cache_dir={tmp_path_factory.mktemp('data')}")


def in_folder(config: Config, folder: Path) -> Config:
    """The same config with its data, and so its trials, in `folder`."""
    return dataclasses.replace(config, data=dataclasses.replace(config.data, cache_dir=str(folder)))


def counted_trials(monkeypatch: pytest.MonkeyPatch) -> list[CellSpec]:
    """The cells that are tried from here on."""
    tried: list[CellSpec] = []

    class Counted(StepTimer):
        def __init__(self, spec: CellSpec, runtime: Runtime) -> None:
            tried.append(spec)
            super().__init__(spec, runtime)

    monkeypatch.setattr(trials, "StepTimer", Counted)
    return tried


@pytest.fixture(scope="module")
def cell() -> Cell:
    return plan_of("sweep=isoflop_tiny").cells[0]


def test_named_hardware_is_timed_by_its_peak_and_the_utilisation_of_its_size() -> None:
    """Truth: the closed form: FLOPs of training and of every evaluation over GPUs x peak x utilisation."""
    config, plan = config_of("sweep=isoflop_gpu"), plan_of("sweep=isoflop_gpu")
    timed = estimate_plan(plan, config, ONE_BY_ONE)
    assert timed.cluster is not None
    for cell in plan.cells:
        spec, gpus = cell.spec, timed.cluster.layouts[cell.cell_id].gpus
        rate = gpus * GPUS["h100"].bf16_flops_per_s * mfu(params(spec.shape, spec.seq_len, "all"))
        evaluated = spec.val_tokens * (1 + EVALUATIONS_ON_THE_WAY / PROBE_SHARE)
        work = spec.tokens * train_flops_per_token(spec.shape, spec.seq_len)
        work += evaluated * forward_flops_per_token(spec.shape, spec.seq_len)
        assert timed.cell_s[cell.cell_id] == pytest.approx(work / rate)
    assert "8 x h100" in timed.basis


def test_isoflop_gpu_is_a_node_in_a_day() -> None:
    """Truth: what the sweep is for: about 1e18 FLOPs a budget, 8 H100s, 24 hours; no cell waits for another's GPUs."""
    config, plan = config_of("sweep=isoflop_gpu"), plan_of("sweep=isoflop_gpu")
    timed = estimate_plan(plan, config, ONE_BY_ONE)
    assert plan.budgets[0] < 1e18 < plan.budgets[-1]
    assert timed.cluster is not None
    assert timed.cluster.gpus == 8
    assert timed.total_s < 24 * 3600
    assert {layout.gpus for layout in timed.cluster.layouts.values()} == {1}


def test_llama_3s_grid_takes_the_gpu_hours_of_its_flops() -> None:
    """Truth: the ten budgets' FLOPs at the 38 to 43% that Llama 3 reports, which smaller models make a third more at
    most; and a plan costs what its GPU-hours cost, at the price that is given."""
    plan = plan_of("sweep=isoflop_llama3")
    timed = estimate_plan(plan, config_of("sweep=isoflop_llama3", "gpu_hour_price=2"), ONE_BY_ONE)
    assert timed.cluster is not None
    least_hours = plan.flops / (0.43 * 989e12) / 3600
    assert least_hours < timed.cluster.gpu_hours < 4 / 3 * least_hours
    assert timed.cluster.cost == pytest.approx(2 * timed.cluster.gpu_hours)
    assert timed.total_s * 512 / 3600 > timed.cluster.gpu_hours
    assert sum(timed.one_device_s.values()) / 3600 == pytest.approx(timed.cluster.gpu_hours)


def test_hardware_that_is_unknown_is_named_with_those_that_are() -> None:
    plan = plan_of("sweep=isoflop_gpu")
    with pytest.raises(UserError, match=r"hardware 'b300' is unknown; did you mean b200"):
        estimate_plan(plan, config_of("sweep=isoflop_gpu", "hardware=b300"), ONE_BY_ONE)


@pytest.mark.parametrize("asked", [1, 2, 1000])
def test_every_cell_has_a_time_and_the_total_is_of_cells_side_by_side(config: Config, asked: int) -> None:
    """Truth: no schedule beats the sum over what the launcher starts, the machine has or the plan holds at once, nor
    the longest cell; the launcher's own start comes on top."""
    plan = plan_of("sweep=isoflop_tiny")
    timed = estimate_plan(plan, config, SideBySide(asked))
    assert timed.cell_s.keys() == {cell.cell_id for cell in plan.cells}
    assert min(timed.cell_s.values()) > 0
    at_once = min(asked, workers(), len(plan.cells))
    assert timed.side_by_side == at_once
    expected = max(sum(timed.cell_s.values()) / at_once, max(timed.cell_s.values()))
    assert timed.total_s == pytest.approx(expected + (trials.START_S if asked > 1 else 0))


@pytest.mark.parametrize("at_once", [1, 3, 1000, None])
def test_jobs_of_a_queue_run_side_by_side_as_it_lets_them_whatever_cores_this_machine_has(
    config: Config, at_once: int | None
) -> None:
    """Truth: no schedule beats the longest job, a trunk's cells one after another, or the sum over the jobs at once;
    and where there is a job at once for each, that of the longest is the whole."""
    plan = plan_of("sweep=isoflop_tiny", "recipe=wsd")
    timed = estimate_plan(plan, config, SideBySide(at_once, here=False))
    job_s = [sum(timed.cell_s[cell.cell_id] for cell in trunk) for trunk in plan.trunks()]
    assert timed.side_by_side == min(at_once or len(job_s), len(job_s))
    assert timed.basis.endswith(f"{timed.side_by_side} job{'s' * (timed.side_by_side > 1)} side by side")
    least_s = max(max(job_s), sum(job_s) / timed.side_by_side)
    assert least_s <= timed.total_s * (1 + 1e-9) <= 2 * least_s
    if at_once is None:
        assert timed.total_s == pytest.approx(max(job_s))


def test_a_cluster_runs_no_more_jobs_at_once_than_its_queue_lets() -> None:
    """Truth: one job at once is the sum of all, of as many at once as there are GPUs the plan of the GPUs alone."""
    config, plan = (
        config_of("sweep=isoflop_gpu", "recipe=cosine"),
        plan_of("sweep=isoflop_gpu", "recipe=cosine"),
    )
    by_gpus = estimate_plan(plan, config, ONE_BY_ONE)
    one, eight, any_number = (
        estimate_plan(plan, config, SideBySide(at_once, here=False)) for at_once in (1, 8, None)
    )
    assert one.total_s == pytest.approx(sum(one.cell_s.values()))
    assert one.basis.endswith("packed side by side, 1 job at once")
    assert eight.total_s == any_number.total_s == by_gpus.total_s
    assert one.gpus == {cell.cell_id: 1 for cell in plan.cells}


def test_a_cell_alone_takes_its_own_time(config: Config, cell: Cell) -> None:
    timed = estimate_plan(Plan("one", (cell,), ()), config, ONE_BY_ONE)
    assert timed.side_by_side == 1
    assert timed.total_s == timed.cell_s[cell.cell_id]


def test_twice_the_steps_take_twice_the_time_of_training(config: Config, cell: Cell) -> None:
    """Truth: steps x a step's seconds, and evaluations that do not depend on the steps: three points on a line."""
    cells = tuple(longer(cell, times) for times in (1, 2, 3))
    timed = estimate_plan(Plan("line", cells, ()), config, ONE_BY_ONE)
    once, twice, thrice = (timed.cell_s[c.cell_id] for c in cells)
    assert twice > once
    assert thrice - twice == pytest.approx(twice - once)


def test_a_shape_is_tried_once_however_many_cells_have_it(
    config: Config, cell: Cell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried = counted_trials(monkeypatch)
    seeds = tuple(
        dataclasses.replace(cell, spec=dataclasses.replace(cell.spec, seed=seed)) for seed in range(4)
    )
    estimate_plan(Plan("seeds", seeds, ()), in_folder(config, tmp_path), ONE_BY_ONE)
    assert len(tried) == 1


def test_the_same_plan_is_tried_once_a_machine_and_again_where_something_that_takes_time_changed(
    config: Config, cell: Cell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Truth: the number of trials, and that both plans are told the same seconds."""
    tried, plan, config = counted_trials(monkeypatch), Plan("one", (cell,), ()), in_folder(config, tmp_path)
    first = estimate_plan(plan, config, ONE_BY_ONE)
    assert estimate_plan(plan, config, ONE_BY_ONE) == first
    assert len(tried) == 1
    estimate_plan(plan, dataclasses.replace(config, threads=2), ONE_BY_ONE)
    recipe = dataclasses.replace(cell.spec.recipe, batch_size=1)
    smaller = dataclasses.replace(cell, spec=dataclasses.replace(cell.spec, recipe=recipe))
    estimate_plan(Plan("smaller", (smaller,), ()), config, ONE_BY_ONE)
    assert len(tried) == 3
    monkeypatch.setattr(trial_cache, "machine_digest", lambda: "another")
    estimate_plan(plan, config, ONE_BY_ONE)
    assert len(tried) == 4


@pytest.mark.parametrize("held", ["", "[]", "{", '{"a": 1}'])
def test_a_file_of_trials_that_is_damaged_is_written_anew(
    config: Config, cell: Cell, tmp_path: Path, held: str
) -> None:
    (tmp_path / trials.TRIALS).write_text(held)
    timed = estimate_plan(Plan("one", (cell,), ()), in_folder(config, tmp_path), ONE_BY_ONE)
    assert timed == estimate_plan(Plan("one", (cell,), ()), in_folder(config, tmp_path), ONE_BY_ONE)


def test_where_no_trial_can_be_kept_a_plan_is_timed_all_the_same(
    config: Config, cell: Cell, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert (
        estimate_plan(Plan("one", (cell,), ()), in_folder(config, tmp_path / "file"), ONE_BY_ONE).total_s > 0
    )


def test_estimating_leaves_threads_and_chance_as_they_were(config: Config, cell: Cell) -> None:
    """Truth: torch's thread count, and the next number of its and numpy's generators."""
    before = torch.get_num_threads()
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            np.random.seed(0)  # noqa: NPY002
            estimate_plan(Plan("one", (cell,), ()), dataclasses.replace(config, threads=2), ONE_BY_ONE)
            assert torch.get_num_threads() == threads
            assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002
    finally:
        torch.set_num_threads(before)


def test_a_trial_that_fails_leaves_the_threads_too(
    config: Config, cell: Cell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def out_of_memory(*arguments: object, **options: object) -> None:
        raise MemoryError

    before = torch.get_num_threads()
    monkeypatch.setattr(factory, "build_model", out_of_memory)
    alone = in_folder(dataclasses.replace(config, threads=before + 1), tmp_path)
    with pytest.raises(MemoryError):
        estimate_plan(Plan("one", (cell,), ()), alone, ONE_BY_ONE)
    assert torch.get_num_threads() == before


def test_a_step_too_large_to_try_is_timed_by_the_peak_of_the_cells_own_threads(
    config: Config, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: FLOPs over peak x utilisation, with the peak asked for while as many threads are set as a cell has."""
    asked = []

    def peak(device: str, precision: str) -> float:
        asked.append((device, precision, torch.get_num_threads()))
        return 1e12

    monkeypatch.setattr(trials, "peak_flops_per_s", peak)
    monkeypatch.setattr(trials, "TRIAL_MAX_STEP_FLOPS", 0)
    threads = torch.get_num_threads() + 1
    timed = estimate_plan(Plan("one", (cell,), ()), dataclasses.replace(config, threads=threads), ONE_BY_ONE)
    assert asked == [("cpu", "fp32", threads)]
    assert timed.total_s == pytest.approx(
        cell_flops(cell.spec, cell.spec.steps)
        / (1e12 * mfu(params(cell.spec.shape, cell.spec.seq_len, "all")))
        + trials.BESIDE_S
    )


def test_a_card_whose_price_is_not_known_is_planned_for_without_one() -> None:
    """Truth: no price of an A800 was found."""
    plan = plan_of("sweep=isoflop_gpu")
    unpriced = estimate_plan(plan, config_of("sweep=isoflop_gpu", "hardware=a800"), ONE_BY_ONE)
    assert unpriced.cluster is not None
    assert unpriced.cluster.cost is None
    assert "GPU-hours of a800, whose price an hour is not known: gpu_hour_price=2.5, say; " in cluster_totals(
        unpriced.cluster, unpriced.total_s
    )
    timed = estimate_plan(
        plan, config_of("sweep=isoflop_gpu", "hardware=a800", "gpu_hour_price=1"), ONE_BY_ONE
    )
    assert timed.cluster is not None
    assert timed.cluster.cost == pytest.approx(timed.cluster.gpu_hours)


def with_profile(config: Config, folder: Path, profile: Profile) -> Config:
    """The same config on a machine whose profile lies beside its prepared data."""
    write_profile(folder / PROFILE, profile)
    return in_folder(config, folder)


def test_this_machines_profile_adds_starts_and_what_cells_take_from_each_other(
    config: Config, cell: Cell, tmp_path: Path
) -> None:
    """Truth: the trial alone, by hand: a step takes 1.5 times as long beside another, a cell 0.5 s, a sweep 3 s."""
    spec = cell.spec
    alone = Setting(spec.shape, spec.seq_len, spec.recipe.batch_size, "fp32", False, 1, 1, "muon")
    rows = [row_of(alone, 3e9), row_of(dataclasses.replace(alone, devices=2), 2e9)]
    profile = profile_of(rows, start_s=3.0, beside_s=0.5, code=machine_digest())
    config = with_profile(config, tmp_path, profile)
    again = dataclasses.replace(cell, spec=dataclasses.replace(spec, seed=1))
    plan = Plan("two", (cell, again), ())
    timed = estimate_plan(plan, config, SideBySide(2))
    step_s, eval_token_s = TrialCache(tmp_path / trials.TRIALS, 1).known.popitem()[1]
    at_once = min(2, workers())
    by_hand = seconds_of(cell, step_s, eval_token_s) * (1.5 if at_once == 2 else 1) + 0.5
    assert timed.cell_s == {cell.cell_id: pytest.approx(by_hand), again.cell_id: pytest.approx(by_hand)}
    assert timed.total_s == pytest.approx(3 + 2 * by_hand / at_once)
    assert "and its profile" in timed.basis
    in_process = estimate_plan(plan, config, ONE_BY_ONE)
    assert in_process.total_s == pytest.approx(sum(in_process.cell_s.values()))


def test_a_profile_of_other_code_or_another_machine_is_not_believed(
    config: Config, cell: Cell, tmp_path: Path
) -> None:
    config = with_profile(config, tmp_path, profile_of([], start_s=3.0, beside_s=100.0, code="other"))
    timed = estimate_plan(Plan("one", (cell,), ()), config, SideBySide(2))
    assert timed.total_s < 100
    assert (
        f"without its profile: {tmp_path / PROFILE} is of other code, another torch or another machine"
        in timed.basis
    )


def test_a_plan_for_another_cpu_is_timed_by_its_profile(config: Config, cell: Cell, tmp_path: Path) -> None:
    """Truth: FLOPs over the speed that the profile says, by as many cores as that machine has."""
    spec = cell.spec
    row = row_of(Setting(spec.shape, spec.seq_len, spec.recipe.batch_size, "fp32", False, 4, 1, "muon"), 5e9)
    write_profile(tmp_path / "epyc.json", profile_of([row], devices=4, start_s=3.0, beside_s=0.5))
    there = dataclasses.replace(config, hardware=str(tmp_path / "epyc.json"))
    cells = tuple(dataclasses.replace(cell, spec=dataclasses.replace(spec, seed=seed)) for seed in range(8))
    timed = estimate_plan(Plan("eight", cells, ()), there, SideBySide(None))
    by_hand = cell_flops(spec, spec.steps) / 5e9 + 0.5
    assert timed.total_s == pytest.approx(3 + 8 * by_hand / 4)
    assert timed.basis == "the profile of a machine, 4 side by side"
    assert timed.cluster is None
    larger = dataclasses.replace(spec, shape=dataclasses.replace(spec.shape, depth=4))
    beyond = estimate_plan(Plan("one", (dataclasses.replace(cell, spec=larger),), ()), there, ONE_BY_ONE)
    assert (
        "(of 1 cell 1 beyond its cells at once and 1 beyond its sizes, timed by the nearest" in beyond.basis
    )
    with pytest.raises(UserError, match="is the profile of a CPU of 4 cores; leave them out"):
        estimate_plan(Plan("one", (cell,), ()), dataclasses.replace(there, gpus=2), ONE_BY_ONE)


def test_a_plan_for_gpus_is_timed_by_their_profile(tmp_path: Path) -> None:
    """Truth: FLOPs over GPUs x the one speed of every row; the card's price and memory."""
    plan = plan_of("sweep=isoflop_gpu")
    first = plan.cells[0].spec
    rows = [
        row_of(
            Setting(shape, first.seq_len, batch, "fp32", True, 8, 1, first.recipe.optimizer),
            2e14,
        )
        for shape in {cell.spec.shape for cell in plan.cells}
        for batch in (1, 1024)
    ]
    path = tmp_path / "h100.json"
    write_profile(
        path, profile_of(rows, machine="NVIDIA H100 80GB HBM3", device="cuda", devices=8, memory_bytes=8e10)
    )
    config = config_of("sweep=isoflop_gpu", f"hardware={path}", f"data.cache_dir={tmp_path}")
    timed = estimate_plan(plan, config, ONE_BY_ONE)
    assert timed.cluster is not None
    assert timed.cluster.hour_price == GPUS["h100"].hour_price
    for cell in plan.cells:
        by_hand = cell_flops(cell.spec, cell.trained_steps) / 2e14 / timed.gpus[cell.cell_id]
        assert timed.cell_s[cell.cell_id] == pytest.approx(by_hand)
    assert "8 x NVIDIA H100 80GB HBM3 by its profile" in timed.basis
