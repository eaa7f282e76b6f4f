"""Which cells ranks train apart, by sums that can be done by hand."""

from __future__ import annotations

import dataclasses

import pytest

from scaling_runs.apart import TOGETHER, split_cells, take_in_turn
from scaling_runs.cell import Cell
from tests.scaling_runs.test_spec import a_spec


def cells_of(*seconds: float) -> tuple[list[Cell], dict[str, float]]:
    """Cells in this order that take so long on one device."""
    cells = [Cell(dataclasses.replace(a_spec(), seed=i), 1e9, 1.0) for i in range(len(seconds))]
    return cells, {cell.cell_id: one for cell, one in zip(cells, seconds, strict=True)}


@pytest.mark.parametrize(
    ("seconds", "apart"),
    [
        ((1, 1, 1, 1), 4),  # 2 s side by side by two ranks, 4 / 1.4 on both
        ((100, 1, 1), 2),  # the long one alone would take 100 s: 100 / 1.4 on both, and 1 s
        ((100,), 0),  # 100 / 1.4 on both
    ],
)
def test_small_cells_are_apart_and_the_one_that_all_would_wait_for_is_not(
    seconds: tuple[float, ...], apart: int
) -> None:
    """Truth: the sums beside the cases, with the efficiency that is assumed."""
    assert TOGETHER == 0.7
    cells, cell_s = cells_of(*seconds)
    split = split_cells(cells, cell_s, 2, "auto", None)
    assert split.apart == cells[len(cells) - apart :]
    assert split.together == cells[: len(cells) - apart]


def test_the_option_has_its_way() -> None:
    """Truth: the option's word, and one rank, which has nobody to be apart from."""
    cells, cell_s = cells_of(100, 1, 1)
    assert split_cells(cells, cell_s, 2, "apart", None).apart == cells
    assert split_cells(cells, cell_s, 2, "together", None).together == cells
    assert split_cells(cells, cell_s, 1, "apart", None).together == cells


def test_a_batch_that_ranks_cannot_share_evenly_is_apart_where_it_may_be() -> None:
    """Truth: batches of 4 sequences on three ranks, however few cells are left; where it can't be, it is for all."""
    cells, cell_s = cells_of(100, 1, 1)
    four = dataclasses.replace(cells[0].spec.recipe, batch_size=4)
    uneven = [dataclasses.replace(cells[0], spec=dataclasses.replace(cells[0].spec, recipe=four)), *cells[1:]]
    cell_s[uneven[0].cell_id] = 100.0
    assert split_cells(uneven, cell_s, 3, "auto", None).apart[0] == uneven[0]
    assert split_cells(uneven[:1], cell_s, 3, "auto", None).apart == uneven[:1]
    assert split_cells(uneven, cell_s, 2, "auto", None).together == uneven[:1]
    assert split_cells(uneven[:1], cell_s, 3, "together", None).together == uneven[:1]
    assert split_cells(uneven[:1], cell_s, 3, "auto", 1e3).together == uneven[:1]


def test_what_fits_no_device_alone_is_for_all() -> None:
    """Truth: a thousand bytes hold no model."""
    cells, cell_s = cells_of(1, 1, 1)
    assert split_cells(cells, cell_s, 2, "apart", 1e3).together == cells


def test_a_rank_takes_what_is_not_ended_when_its_turn_comes() -> None:
    """Truth: a cell that another rank ends meanwhile is passed over; what goes wrong is recorded for its cell."""
    done, told = {"b"}, []
    wrong = ValueError("c")

    def launch(cell_ids: list[str]) -> list[BaseException | None]:
        done.add("d")
        return [wrong if cell_ids == ["c"] else None]

    take_in_turn(
        ["a", "b", "c", "d"], launch, done.__contains__, lambda cell_id, error: told.append((cell_id, error))
    )
    assert told == [("a", None), ("c", wrong)]
