"""What a job asks for."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.errors import UserError
from models.flops import params
from scaling_runs.hardware import GPUS
from scaling_runs.layout import layout
from scaling_runs.memory import checkpoint_bytes, host_memory
from scaling_runs.slurm.resources import Resources, minutes_for, resources_of, spread, warning_s
from scaling_runs.spec import CellSpec
from scaling_runs.sweep_record import PlannedCell
from tests.configs import plan_of
from tests.scaling_runs.slurm.conftest import PLAIN
from tests.scaling_runs.test_spec import a_spec

LLAMA3 = [dataclasses.replace(cell.spec, precision="bf16") for cell in plan_of("sweep=isoflop_llama3").cells]


def planned(spec: CellSpec, seconds: float = 100.0, gpus: int = 0) -> PlannedCell:
    return PlannedCell(spec.cell_id, 1e9, spec.shape.name, spec.seed, spec.flops, spec.flops, seconds, gpus)


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=5), st.integers(1, 1000))
def test_a_job_asks_for_its_cells_time_twice_and_their_starts_but_for_no_more_than_it_may(
    seconds: list[float], most: int
) -> None:
    """Truth: two minutes a start, twice the estimates, and the minute in which it is told to end; the next power of
    two of them."""
    minutes = minutes_for(seconds, 60, most)
    wanted = (120 * len(seconds) + 2 * sum(seconds) + 60) / 60
    assert minutes == most or wanted <= minutes < 2 * wanted
    assert minutes <= most


@given(st.integers(0, 600), st.integers(1, 16))
def test_gpus_lie_on_the_fewest_nodes_that_have_as_many_each(gpus: int, a_node: int) -> None:
    """Truth: every number of nodes, tried."""
    nodes, each = spread(gpus, a_node)
    assert nodes * each == gpus
    assert each <= a_node
    if gpus:
        assert not any(gpus % fewer == 0 and gpus // fewer <= a_node for fewer in range(1, nodes))


def test_a_cell_asks_for_the_gpus_and_the_time_of_its_layout() -> None:
    """Truth: the layout of the dry run's table, on nodes of 8: none of isoflop_llama3's cells takes less by it."""
    for spec in LLAMA3:
        found = layout(spec, GPUS["h100"], 512)
        asked = resources_of([planned(spec, found.seconds, found.gpus)], [spec], PLAIN)
        assert (asked.nodes, asked.nodes * asked.gpus) == (found.nodes, found.gpus)
        assert asked.ranks == found.gpus
        assert asked.minutes == 1440 or asked.minutes * 60 >= 2 * found.seconds


def test_nodes_of_four_gpus_are_twice_as_many() -> None:
    """Truth: 16 GPUs on 2 nodes of 8 or 4 of 4."""
    (spec,) = LLAMA3[:1]
    cell, four = planned(spec, gpus=16), dataclasses.replace(PLAIN, gpus_a_node=4)
    on_eight, on_four = (resources_of([cell], [spec], options) for options in (PLAIN, four))
    assert (on_eight.nodes, on_eight.gpus, on_four.nodes, on_four.gpus) == (2, 8, 4, 4)


def test_what_is_set_by_hand_is_asked_for_whatever_the_plan_says() -> None:
    """Truth: the options; a cell that was planned for 8 GPUs takes four times as long on 2."""
    (spec,) = LLAMA3[:1]
    by_hand = dataclasses.replace(PLAIN, gpus=2, memory_gb=100)
    asked = resources_of([planned(spec, 3600.0, gpus=8)], [spec], by_hand)
    assert asked == Resources(1, 2, 100, minutes_for([4 * 3600.0], 60, 1440))
    on_cpu = resources_of([planned(spec, 3600.0)], [spec], dataclasses.replace(PLAIN, gpus=0, memory_gb=0))
    assert on_cpu == Resources(1, 0, None, minutes_for([3600.0], 60, 1440))


def test_cells_of_one_job_ask_for_the_most_that_one_of_them_takes_and_the_time_of_all() -> None:
    """Truth: an hour on 8 GPUs and one on 2, which is a quarter of one on 8."""
    (spec,) = LLAMA3[:1]
    cells = [planned(spec, 3600.0, gpus=8), planned(spec, 3600.0, gpus=2)]
    asked = resources_of(cells, [spec, spec], PLAIN)
    assert (asked.nodes, asked.gpus) == (1, 8)
    assert asked.minutes == minutes_for([3600.0, 900.0], 60, 1440)


def test_memory_is_what_the_cell_takes_by_formula_and_no_less_than_python_itself() -> None:
    """Truth: the formula, to the next power of two; a cell of a few thousand parameters is all Python."""
    small = a_spec()
    asked = resources_of([planned(small)], [small], PLAIN)
    assert asked.memory_gb == 2
    for spec in LLAMA3[::10]:
        memory_gb = resources_of([planned(spec)], [spec], PLAIN).memory_gb
        assert memory_gb is not None
        assert memory_gb / 2 < host_memory(spec, 0) / 1e9 <= memory_gb


def test_a_job_is_told_early_enough_to_save_what_it_holds() -> None:
    """Truth: 12 bytes a parameter with AdamW at 200 MB a second, half a minute and two steps that take twice as long as
    planned; never less than a minute, and half of a job of one minute."""
    for spec in LLAMA3:
        saved = checkpoint_bytes(spec)
        assert saved == 12 * params(spec.shape, spec.seq_len, "all")
        for step_s in (0.1, 45.0):
            needed_s = 35 + 4 * step_s + saved / 2e8
            assert needed_s <= warning_s(saved, step_s) <= max(60, 2 * needed_s)
    of_a_minute = resources_of([planned(LLAMA3[0])], LLAMA3[:1], dataclasses.replace(PLAIN, max_minutes=1))
    assert of_a_minute.warn_s == 30


def test_a_jobs_resources_are_told_in_words() -> None:
    """Truth: one of each kind."""
    assert str(Resources(1, 0, None, 4)) == "up to 4 minutes"
    assert str(Resources(1, 1, 8, 1)) == "up to 1 minute, 1 GPU, 8 GB of memory"
    assert str(Resources(2, 8, 64, 60)) == "up to 60 minutes, 2 nodes of 8 GPUs, 64 GB of memory a node"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpus": -1}, "gpus is -1"),
        ({"gpus_a_node": 0}, "gpus_a_node is 0"),
        ({"at_once": 0}, "at_once is 0"),
        ({"memory_gb": -1}, "memory_gb is -1"),
        ({"max_minutes": 0}, "max_minutes is 0"),
        ({"flags": ("constraint=a100",)}, "flags holds 'constraint=a100'"),
        *(
            (
                {"flags": ("--constraint=a100", flag)},
                f"flags holds '{flag}', which the launcher itself needs to set",
            )
            for flag in (
                "--array=0-1",
                "--array 0-1",
                "-a0-1",
                "--job-n=mine",
                "--no-requeue",
                "-J x",
                "--output=x",
            )
        ),
    ],
)
def test_options_that_no_job_can_have_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        dataclasses.replace(PLAIN, **changes)  # type: ignore[arg-type]
