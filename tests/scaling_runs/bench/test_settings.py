"""What a bench measures, by its command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit.errors import UserError
from scaling_runs.__main__ import main
from scaling_runs.bench.profile import CPU, CUDA
from scaling_runs.bench.settings import Machine, read_options, settings_of, spec_of
from tests.configs import plan_of

TWO_CORES = Machine(CPU, 2)


def test_by_default_the_sizes_and_batches_of_isoflop_small_are_spanned() -> None:
    """Truth: the plan of that sweep."""
    settings, left_out = settings_of(read_options([]), TWO_CORES)
    cells = plan_of("sweep=isoflop_small").cells
    widths = {setting.shape.width for setting in settings}
    planned = {cell.spec.shape.width for cell in cells}
    assert (min(widths), max(widths)) == (min(planned), max(planned))
    assert widths <= planned
    assert {cell.spec.recipe.batch_size for cell in cells} <= {setting.batch for setting in settings}
    assert {(one.precision, one.compile, one.devices) for one in settings} == {
        (precision, False, devices) for precision in ("fp32", "bf16") for devices in (1, 2)
    }
    assert left_out == [
        "compile=true: a step on a CPU is native code, or eager, and torch.compile is no part of it"
    ]


def test_another_sweep_brings_its_own_sizes_batches_and_windows() -> None:
    settings, _ = settings_of(read_options(["sweep=isoflop_gpu"]), Machine(CUDA, 6))
    assert {setting.seq_len for setting in settings} == {2048}
    assert {setting.compile for setting in settings} == {True, False}
    assert {setting.devices for setting in settings} == {1, 2, 4, 6}
    planned = {cell.spec.recipe.batch_size for cell in plan_of("sweep=isoflop_gpu").cells}
    assert {min(planned), max(planned)} <= {setting.batch for setting in settings}


@pytest.mark.parametrize("name", ["64", "w64", "d2-w64", "w64-d2", "w64-d2-h2"])
def test_a_shape_goes_by_its_width_or_its_name(name: str) -> None:
    settings, _ = settings_of(
        read_options([f"shape={name}", "batch=4", "precision=bf16", "devices=2", "threads=2"]), TWO_CORES
    )
    (one,) = settings
    assert (one.shape.name, one.batch, one.precision, one.devices, one.threads) == (
        "w64-d2-h2",
        4,
        "bf16",
        2,
        2,
    )


@pytest.mark.parametrize("several", ["shape=32,64", "shape=[32,64]", "shape=[32, 64]", "shape=32,64,32"])
def test_several_are_given_with_commas(several: str) -> None:
    settings, _ = settings_of(read_options([several, "batch=1", "devices=1", "precision=fp32"]), TWO_CORES)
    assert [one.shape.width for one in settings] == [32, 64]


def test_more_devices_than_there_are_are_left_out_by_name() -> None:
    settings, left_out = settings_of(read_options(["shape=16", "devices=1,8"]), TWO_CORES)
    assert {one.devices for one in settings} == {1}
    assert "devices=8: there are 2 cores here" in left_out


def test_a_rows_cell_is_of_its_shape_batch_and_optimiser() -> None:
    asked = read_options(["shape=16", "batch=3", "precision=fp32", "devices=1", "recipe=adamw"])
    (setting,), _ = settings_of(asked, TWO_CORES)
    spec = spec_of(setting, asked.config)
    assert (spec.shape, spec.batch_tokens, spec.recipe.optimizer) == (setting.shape, 3 * 64, "adamw")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("shape=banana", "shape is 'banana'; it must be a width or a shape's name, such as shape=64"),
        ("shape=65", "shape is 65; it must be a multiple of 4, such as 64 or 68"),
        ("shape=0", "shape is 0; it must be a multiple of 4, such as 4 or 8"),
        ("shape=d3-w64", "shape is 'd3-w64', and the ladder's of that width is w64-d2-h2"),
        ("shape=w64-d2-h4", "shape is 'w64-d2-h4', and the ladder's of that width is w64-d2-h2"),
        ("batch=0", "batch is '0'; it must be a whole number from 1"),
        ("batch=1.5", "batch is '1.5'; it must be a whole number"),
        ("batch=8,,4", "'batch=8,,4' can't be read; write several values as in batch=1,2"),
        ("precision=fp8", "precision is 'fp8'; choose fp32 or bf16"),
        ("compile=maybe", "compile is 'maybe'; choose true or false"),
        ("compile=true", "nothing is left to measure: compile=true: a step on a CPU"),
        ("devices=-1", "devices is '-1'; it must be a whole number"),
        ("devices=999", "nothing is left to measure: .*devices=999: there are 2 cores here"),
        ("shap=64", "'shap' is no option of bench; did you mean shape"),
        ("store=x", "'store' is no option of bench; "),
        ("64", "'64' can't be read; usage: python -m scaling_runs bench"),
        ("profile=", "'profile=' can't be read; usage"),
        ("model=lama", "'model=lama' is unknown; did you mean model=llama3"),
        ("model.widht=3", r"'model\.widht' is not an option; did you mean model\.width"),
        ("sweep=null", "'sweep=null' names no file of configs/sweep/"),
    ],
)
def test_what_can_not_be_measured_is_told(argument: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings_of(read_options([argument]), TWO_CORES)


def test_a_mistake_ends_with_2_and_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    assert main(["bench", "shape=banana", f"profile={profile}"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("error: shape is 'banana'")
    assert not profile.exists()
