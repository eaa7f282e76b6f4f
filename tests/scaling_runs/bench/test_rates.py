"""From a profile to the seconds of a cell."""

from __future__ import annotations

import dataclasses

import pytest

from fit.errors import UserError
from models.flops import forward_flops_per_token, train_flops_per_token
from scaling_runs.bench.profile import CUDA, Setting
from scaling_runs.bench.rates import Rates
from scaling_runs.bench.settings import spec_of
from scaling_runs.spec import CellSpec
from tests.configs import config_of
from tests.scaling_runs.bench.profiles import grid_of, profile_of, row_of, setting_of


def cell(width: int = 32, batch: int = 8, **changes: object) -> CellSpec:
    return spec_of(setting_of(width, batch, **changes), config_of())


def power_law(setting: Setting) -> float:
    """FLOPs a second that grow with params^0.3 and tokens^0.2."""
    return 1e7 * setting.params**0.3 * setting.batch_tokens**0.2


@pytest.mark.parametrize(("width", "batch"), [(16, 4), (24, 8), (40, 23), (48, 64), (64, 64)])
def test_a_power_law_of_size_and_batch_is_found_exactly_between_what_was_measured(
    width: int, batch: int
) -> None:
    """Truth: the law itself, which is a plane in the logs."""
    spec, setting = cell(width, batch), setting_of(width, batch)
    told = Rates(grid_of(power_law), at_once=1).told(spec)
    flops = spec.batch_tokens * train_flops_per_token(spec.shape, 64, "exact")
    assert told.step_s == pytest.approx(flops / power_law(setting), rel=1e-9)
    assert told.eval_token_s == pytest.approx(
        forward_flops_per_token(spec.shape, 64) / power_law(setting), rel=1e-9
    )
    assert told.beyond == frozenset()


@pytest.mark.parametrize(
    ("spec", "at_once", "beyond", "nearest"),
    [
        (cell(128, 16), 1, {"sizes"}, (64, 16)),
        (cell(8, 16), 1, {"sizes"}, (16, 16)),
        (cell(32, 1), 1, {"batches"}, (32, 4)),
        (cell(128, 128), 1, {"sizes", "batches"}, (64, 64)),
        (cell(32, 16), 4, {"cells at once"}, (32, 16)),
        (cell(32, 8, seq_len=128), 1, {"windows"}, None),
    ],
)
def test_what_lies_beyond_the_measured_is_timed_at_its_edge_and_told(
    spec: CellSpec, at_once: int, beyond: set[str], nearest: tuple[int, int] | None
) -> None:
    """Truth: the speed at the nearest size and batch."""
    told = Rates(grid_of(power_law), at_once).told(spec)
    assert told.beyond == beyond
    if nearest is not None:
        flops = spec.batch_tokens * train_flops_per_token(spec.shape, 64, "exact")
        assert told.step_s == pytest.approx(flops / power_law(setting_of(*nearest)), rel=1e-9)


def test_of_rows_of_one_size_and_batch_the_one_counts_that_is_most_like_how_the_cell_trains() -> None:
    """Truth: speeds by which the rows are told apart: as many side by side, and on a GPU compiled."""
    quick = {(False, 1): 1e9, (False, 2): 2e9, (False, 8): 3e9, (True, 1): 4e9, (True, 8): 5e9}
    rows = [
        row_of(setting_of(compile=compiled, devices=devices), speed)
        for (compiled, devices), speed in quick.items()
    ]
    spec = cell()
    flops = spec.batch_tokens * train_flops_per_token(spec.shape, 64, "exact")

    def speed(device: str, at_once: int) -> float:
        return flops / Rates(profile_of(rows, device=device), at_once).told(spec).step_s

    assert speed("cpu", 2) == pytest.approx(2e9)
    assert speed("cpu", 7) == pytest.approx(3e9)
    assert speed(CUDA, 1) == pytest.approx(4e9)
    assert speed(CUDA, 8) == pytest.approx(5e9)


def test_gpus_that_share_a_batch_have_the_speed_of_their_shares() -> None:
    """Truth: a speed that grows with the batch: 4 GPUs on 64 sequences go as one on 16."""
    rates = Rates(grid_of(power_law), at_once=1)
    assert rates.told(cell(32, 64), gpus=4).step_s == pytest.approx(rates.told(cell(32, 16)).step_s)


def test_a_precision_that_was_not_measured_is_refused() -> None:
    spec = dataclasses.replace(cell(), precision="bf16")
    with pytest.raises(UserError, match=r"has no rows in bf16 \(it has fp32\); measure them there by"):
        Rates(grid_of(power_law), 1).told(spec)
