"""How cells lie on a cluster."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_runs.hardware import GPUS
from scaling_runs.layout import CELL_S, Layout, layout, way_that_fits
from scaling_runs.memory import fits, usable
from scaling_runs.packing import packed_s
from tests.configs import plan_of

H100 = GPUS["h100"]
LLAMA3 = [
    dataclasses.replace(cell, spec=dataclasses.replace(cell.spec, precision="bf16"))
    for cell in plan_of("sweep=isoflop_llama3").cells
]


def test_every_cell_of_isoflop_llama3_fits_and_keeps_its_batch() -> None:
    """Truth: a batch is GPUs x micro-batch x accumulation; memory within the part of an H100's that is for use."""
    for cell in LLAMA3:
        found = layout(cell.spec, H100, 512)
        assert found.gpus * found.micro_batch * found.accumulation == cell.spec.recipe.batch_size
        assert not found.lacks
        assert found.memory_bytes <= usable(H100.memory_bytes)
        assert found.gpus == 1 or found.nodes * 8 >= found.gpus > (found.nodes - 1) * 8


def test_a_cell_has_the_fewest_gpus_on_which_it_fits_and_ends_within_a_day() -> None:
    """Truth: with half as many it does not fit, or takes longer than a day."""
    for cell in LLAMA3:
        found = layout(cell.spec, H100, 512)
        if found.gpus > 1:
            halved = way_that_fits(cell.spec, H100.memory_bytes, found.gpus // 2)
            assert halved is None or 2 * found.seconds > CELL_S


def test_the_largest_model_is_sharded_and_recomputes_and_the_smallest_does_neither() -> None:
    """Truth: 16 bytes times 17B parameters are three H100s and more; of 70M they are a hundredth of one."""
    by_size = sorted(LLAMA3, key=lambda cell: (cell.params, cell.budget))
    small, large = layout(by_size[0].spec, H100, 512), layout(by_size[-1].spec, H100, 512)
    assert (small.sharded, small.checkpointing) == (False, False)
    assert (large.sharded, large.checkpointing) == (True, True)
    assert not fits(by_size[-1].spec, H100.memory_bytes, 4, sharded=True, checkpointing=True)
    assert fits(by_size[-1].spec, H100.memory_bytes, 8, sharded=True, checkpointing=True)


def test_a_cell_that_fits_nowhere_says_how_much_it_needs_and_what_would_do() -> None:
    """Truth: 16B fit on 8 H100s and not on 4; on H200s 4 are enough."""
    largest = max(LLAMA3, key=lambda cell: cell.params)
    lacking = layout(largest.spec, H100, 4)
    assert "w5376-d42-h42 needs" in lacking.lacks
    assert "on each of 4 GPUs" in lacking.lacks
    assert lacking.lacks.endswith("give gpus=8")
    assert not layout(largest.spec, GPUS["h200"], 4).lacks


def test_what_a_trunk_spares_a_cell_takes_no_time() -> None:
    """Truth: half of the steps are half of the training."""
    spec = LLAMA3[0].spec
    whole, half, none = (layout(spec, H100, 1, steps).seconds for steps in (spec.steps, spec.steps // 2, 0))
    assert whole - none == pytest.approx(2 * (half - none), rel=1e-6)


def cells(sizes: list[tuple[int, float]]) -> list[Layout]:
    return [Layout(gpus, -(-gpus // 8), False, False, 1, 1, 0.0, seconds) for gpus, seconds in sizes]


@pytest.mark.parametrize(
    ("sizes", "gpus", "expected"),
    [
        ([(1, 10.0)] * 8, 8, 10.0),
        ([(1, 10.0)] * 9, 8, 20.0),
        ([(8, 5.0), (16, 5.0), (8, 5.0)], 16, 10.0),
        ([(4, 1.0)] * 3, 8, 2.0),
        ([(1, 3.0), (1, 2.0), (1, 1.0)], 2, 3.0),
        ([(16, 1.0), (1, 1.0)], 16, 2.0),
        ([], 8, 0.0),
    ],
)
def test_cells_are_packed_as_by_hand(sizes: list[tuple[int, float]], gpus: int, expected: float) -> None:
    """Truth: schedules small enough to draw."""
    assert packed_s(cells(sizes), gpus) == expected


def test_no_more_cells_run_at_once_than_are_let() -> None:
    """Truth: schedules small enough to draw: room for eight, of which three or one may run."""
    assert packed_s(cells([(1, 10.0)] * 8), 8, at_once=3) == 30.0
    assert packed_s(cells([(8, 5.0), (1, 4.0), (1, 3.0)]), 16, at_once=1) == 12.0


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 8, 16, 32]), st.floats(0.1, 100)), min_size=1), st.integers()
)
def test_no_schedule_beats_its_bounds_or_wastes_more_than_list_scheduling_may(
    sizes: list[tuple[int, float]], seed: int
) -> None:
    """Truth: a schedule ends no sooner than the work over the GPUs or the longest cell, nor later than one cell after
    another; and does not depend on the order in which cells are given."""
    found = packed_s(cells(sizes), 32)
    work = sum(gpus * seconds for gpus, seconds in sizes)
    longest = max(seconds for _, seconds in sizes)
    assert max(work / 32, longest) <= found * (1 + 1e-9)
    assert found <= sum(seconds for _, seconds in sizes) * (1 + 1e-9)
    shuffled = Random(seed).sample(sizes, len(sizes))
    assert packed_s(cells(shuffled), 32) == pytest.approx(found)
