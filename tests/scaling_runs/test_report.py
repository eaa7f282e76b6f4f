"""What a sweep prints of its plan."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.flops import train_flops_per_token
from scaling_runs.estimate import Estimate, estimate_plan
from scaling_runs.launchers import ONE_BY_ONE
from scaling_runs.numbers import count, duration
from scaling_runs.planning import TimedPlan
from scaling_runs.problems import Problem
from scaling_runs.report import print_plan, print_problems, say, totals, trunk_graph
from scaling_runs.store import Store
from tests.configs import LOCAL_CORPUS, config_of, plan_of


def timed_plan(*overrides: str) -> TimedPlan:
    """A plan in which the n-th cell takes n minutes."""
    plan = plan_of(*overrides)
    cell_s = {cell.cell_id: 60.0 * (number + 1) for number, cell in enumerate(plan.cells)}
    return TimedPlan(plan, LOCAL_CORPUS, Estimate(cell_s, 3600.0, 2, "a trial, 2 side by side"))


def test_a_plan_for_a_cluster_shows_each_cells_gpus_memory_and_cost_and_the_sum(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Truth: what the layouts hold, read back off the table; a cost is GPUs x hours x price."""
    config = config_of("sweep=isoflop_gpu", "gpu_hour_price=2", f"store={tmp_path}")
    plan = plan_of("sweep=isoflop_gpu")
    estimate = estimate_plan(plan, config, ONE_BY_ONE)
    print_plan(TimedPlan(plan, LOCAL_CORPUS, estimate), config)
    said = capsys.readouterr().out
    assert estimate.cluster is not None
    for cell in plan.cells:
        layout = estimate.cluster.layouts[cell.cell_id]
        (line,) = (line for line in said.splitlines() if line.endswith(cell.cell_id))
        *_, gpus, memory, how, cost, _ = line.split()
        assert int(gpus) == layout.gpus
        assert float(memory) == pytest.approx(layout.memory_bytes / 1e9, abs=0.05)
        assert how == f"{layout.accumulation}x{layout.micro_batch}"
        assert float(cost[1:]) == pytest.approx(2 * layout.gpus * layout.seconds / 3600, abs=0.005)
    assert (
        f"{estimate.cluster.gpu_hours:,.0f} GPU-hours of h100, ${count(estimate.cluster.cost)} at $2.00"
        in said
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (45.2, "45s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (200, "3m20s"),
        (3599.7, "1h00m"),
        (7500, "2h05m"),
        (47.99 * 3600, "47h59m"),
        (3.4 * 86400, "3.4d"),
        (2.1 * 365.25 * 86400, "2.1y"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365.25 * 86400}


@given(st.floats(0, 1e9))
def test_a_duration_is_right_to_its_last_figure(seconds: float) -> None:
    """Truth: the text read back: within half a second, a minute where hours are given, 0.05 of a day or year."""
    parts = re.findall(r"([\d.]+)([smhdy])", duration(seconds))
    read = sum(float(number) * UNITS[unit] for number, unit in parts)
    slack = {"s": 0.51, "m": 60, "d": 0.051 * 86400, "y": 0.051 * UNITS["y"]}[parts[-1][1]]
    assert abs(read - seconds) <= slack
    assert all(float(number) < 60 for number, unit in parts if unit in "sm")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (512, "512"),
        (999, "999"),
        (1000, "1K"),
        (1234567, "1.23M"),
        (999_499, "999K"),
        (999_700, "1M"),
        (8.03e9, "8.03B"),
        (1.5e13, "15T"),
    ],
)
def test_counts_have_three_digits_and_a_unit(value: float, text: str) -> None:
    assert count(value) == text


@given(st.floats(0, 9e14))
def test_a_count_is_never_written_in_powers_of_ten_and_is_right_to_three_digits(value: float) -> None:
    """Truth: the text read back."""
    text = count(value)
    assert "e" not in text
    number, unit = (text[:-1], text[-1]) if text[-1].isalpha() else (text, "")
    read = float(number) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[unit]
    assert abs(read - value) <= max(0.0051 * value, 0.5)


def test_the_plan_lists_everything_of_every_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: the cells' own specs, column by column under the heading."""
    timed = timed_plan("sweep=isoflop_small")
    print_plan(timed, config_of("sweep=isoflop_small", f"store={tmp_path}"))
    out = capsys.readouterr().out
    header = next(line for line in out.splitlines() if "shape" in line)
    columns = ["shape", "params", "tokens", "FLOPs", "steps", "batch", "lr", "epochs", "seed", "time", "cell"]
    assert header.split() == columns
    for number, cell in enumerate(timed.plan.cells):
        (line,) = (line for line in out.splitlines() if cell.cell_id in line)
        spec = cell.spec
        assert line.split() == [
            spec.shape.name,
            count(cell.params),
            count(spec.tokens),
            f"{spec.flops:.3g}",
            str(spec.steps),
            count(spec.batch_tokens),
            f"{spec.recipe.muon_lr:.2g}",
            f"{cell.epochs:.2g}",
            str(spec.seed),
            f"{number + 1}m00s",
            cell.cell_id,
        ]
    for budget in timed.plan.budgets:
        assert f"budget {budget:.3g} FLOPs" in out
    assert totals(timed) in out
    assert f"corpus of {count(LOCAL_CORPUS.train_tokens)} tokens, vocabulary 257" in out


def test_an_adamw_plan_shows_adamws_learning_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timed = timed_plan("sweep=isoflop_tiny", "recipe=adamw", "recipe.lr=0.0123")
    print_plan(timed, config_of("sweep=isoflop_tiny", f"store={tmp_path}"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "m00s" in line and "cells" not in line]
    assert {line.split()[6] for line in lines} == {"0.012"}


def test_cells_that_are_done_are_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timed = timed_plan("sweep=isoflop_tiny")
    done = timed.plan.cells[2]
    Store(tmp_path).add(done.spec).write_result({"loss": 1.0})
    print_plan(timed, config_of("sweep=isoflop_tiny", f"store={tmp_path}"))
    marked = [line for line in capsys.readouterr().out.splitlines() if line.endswith("(done)")]
    assert len(marked) == 1
    assert done.cell_id in marked[0]


def test_the_total_gives_flops_under_both_conventions_and_the_time() -> None:
    """Truth: sums over the cells; 6·N·D by the formula."""
    timed = timed_plan("sweep=isoflop_tiny")
    cells = timed.plan.cells
    by_6nd = sum(
        c.trained_steps * c.spec.batch_tokens * train_flops_per_token(c.spec.shape, c.spec.seq_len, "6nd")
        for c in cells
    )
    assert totals(timed) == (
        f"{len(cells)} cells, {sum(c.trained_flops for c in cells):.3g} FLOPs ({by_6nd:.3g} by 6ND), about 1h00m "
        f"(a trial, 2 side by side)"
    )


def test_what_is_wrong_with_a_plan_is_printed_with_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: the plan's own problems: batches so large that cells take few steps, over and over on a small corpus."""
    timed = timed_plan("sweep=isoflop_tiny", "recipe.batch_tokens=20000")
    assert timed.plan.problems
    print_problems(timed)
    out = capsys.readouterr().out
    assert f"{len(timed.plan.problems)} problems with this plan:" in out
    for problem in timed.plan.problems:
        assert f"  {problem.code} at {problem.budget:.3g} FLOPs: {problem.text}\n" in out


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 problems with this plan\n"), (1, "1 problem with this plan:\n")]
)
def test_no_problem_and_one_problem_are_said_in_good_english(
    number: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    timed = timed_plan("sweep=isoflop_tiny", "recipe.batch_tokens=20000")
    problems = timed.plan.problems[:number]
    print_problems(dataclasses.replace(timed, plan=dataclasses.replace(timed.plan, problems=problems)))
    assert text in capsys.readouterr().out


def test_rank_0_alone_speaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    say("one")
    monkeypatch.setenv("RANK", "1")
    say("two")
    assert capsys.readouterr().out == "one\n"


def test_the_plan_draws_each_trunk_and_what_it_saves() -> None:
    """Truth: the plan's own cells: every budget of a model on its line, the largest last; nothing without trunks."""
    plan = plan_of("sweep=isoflop_small")
    title, *lines = trunk_graph(plan)
    assert f"{1 - plan.flops / sum(cell.spec.flops for cell in plan.cells):.0%} less than" in title
    for cells, line in zip(sorted(plan.trunks(), key=lambda cells: cells[0].params), lines, strict=True):
        name, *budgets = re.split(r" --[+>] | --> ", line.strip().replace("  ", " "))
        assert name == f"{cells[0].spec.shape.name}, seed 0"
        assert [float(budget) for budget in budgets] == sorted(float(f"{cell.budget:.3g}") for cell in cells)
    assert trunk_graph(plan_of("sweep=isoflop_small", "recipe=cosine")) == []


def test_of_many_problems_of_a_kind_some_are_shown_and_the_rest_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Truth: twenty of one code at one budget, and one at another."""
    plan = plan_of("sweep=isoflop_tiny")
    many = [Problem("few-steps", f"number {i}", 1e10) for i in range(20)] + [
        Problem("few-steps", "alone", 2e10)
    ]
    crowded = dataclasses.replace(plan, problems=tuple(many))
    print_problems(TimedPlan(crowded, LOCAL_CORPUS, Estimate({}, 0.0, 1, "a trial")))
    lines = capsys.readouterr().out.splitlines()
    assert "21 problems with this plan:" in lines
    assert sum("number" in line for line in lines) == 7
    assert "  few-steps at 1e+10 FLOPs: 13 more like these" in lines
    assert "  few-steps at 2e+10 FLOPs: alone" in lines
