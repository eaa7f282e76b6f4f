"""The table of GPUs, and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit.errors import UserError
from fit.gpus import PRECISIONS, find_gpu, known_gpus, with_own


@pytest.mark.parametrize(
    ("name", "precision", "tflops", "memory_gb"),
    [
        ("a100", "bf16", 312, 80),
        ("a100-40gb", "tf32", 156, 40),
        ("a800", "bf16", 312, 80),
        ("h100", "bf16", 989, 80),
        ("h100", "fp8", 1979, 80),
        ("h100-pcie", "bf16", 756, 80),
        ("h200", "bf16", 989, 141),
        ("b200", "bf16", 2250, 180),
        ("mi300x", "bf16", 1307.4, 192),
        ("v100", "fp16", 125, 16),
        ("rtx4090", "bf16", 165.2, 24),
        ("tpu-v5p", "bf16", 459, 95),
        ("tpu-v6e", "bf16", 918, 32),
    ],
)
def test_peaks_are_the_makers_without_sparsity(
    name: str, precision: str, tflops: float, memory_gb: float
) -> None:
    """Truth: the data sheets that the table names, typed in a second time; half of what is printed with sparsity."""
    gpu = known_gpus()[name]
    assert (gpu.tflops[precision], gpu.memory_gb) == (tflops, memory_gb)
    assert gpu.peak_flops_per_s(precision) == tflops * 1e12


def test_every_number_has_its_source_and_every_card_a_peak() -> None:
    for gpu in known_gpus().values():
        assert "no source" not in gpu.source
        assert (gpu.hour_price is None) == ("no source" in gpu.price_source)
        assert gpu.title
        assert gpu.device is None or gpu.device == gpu.device.lower()
        assert set(gpu.tflops) <= set(PRECISIONS)


def test_halving_the_bits_never_lowers_a_peak() -> None:
    """Truth: no accelerator multiplies more numbers of more bits in the same time."""
    for gpu in known_gpus().values():
        peaks = [gpu.tflops[one] for one in ("fp8", "bf16", "tf32", "fp32") if one in gpu.tflops]
        assert peaks == sorted(peaks, reverse=True)


def test_a_gpu_goes_by_several_names_in_any_case() -> None:
    gpus = known_gpus()
    assert find_gpu("H100-SXM", gpus) is gpus["h100"]
    assert find_gpu("4090", gpus) is gpus["rtx4090"]
    assert find_gpu("Trillium", gpus) is gpus["tpu-v6e"]


def test_an_unknown_gpu_is_told_those_near_it_or_all() -> None:
    with pytest.raises(UserError, match=r"^--gpu 'h10' is unknown; did you mean h100"):
        find_gpu("h10", known_gpus())
    with pytest.raises(
        UserError, match=r"^--gpu 'quantum' is unknown; choose one of a100, a100-40gb, a800, h100"
    ):
        find_gpu("quantum", known_gpus())


def test_training_runs_in_bf16_or_what_the_card_has() -> None:
    gpus = known_gpus()
    assert (gpus["h100"].precision(None), gpus["v100"].precision(None)) == ("bf16", "fp16")
    with pytest.raises(UserError, match="'v100' has no peak in bf16; choose one of fp32, fp16"):
        gpus["v100"].precision("bf16")


def test_ones_own_table_overrides_a_price_and_adds_a_card(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("h100: {hour_price: 2.2}\nnova: {tflops: {bf16: 500}, watts: 300}\n")
    gpus = with_own(path)
    assert (gpus["h100"].hour_price, gpus["h100"].tflops["bf16"]) == (2.2, 989)
    assert (gpus["nova"].tflops["bf16"], gpus["nova"].watts, gpus["nova"].hour_price) == (500, 300, None)
    assert gpus["a100"] is known_gpus()["a100"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no GPUs"),
        ("[1, 2]", "holds no GPUs"),
        ("h100: 3", "h100 is no table of fields"),
        ("h100: {hour_prize: 3}", "h100 has a field 'hour_prize'; choose from"),
        ("h100: {hour_price: -3}", "hour_price of h100 is -3; it must be a positive number"),
        ("h100: {hour_price: cheap}", "hour_price of h100 is cheap; it must be a positive number"),
        ("h100: {hour_price: .inf}", "hour_price of h100 is inf"),
        (
            "h100: {hour_price: 1.0e+300}",
            "hour_price of h100 is 1e+300; it must be a positive number up to 1e+12",
        ),
        (
            "h100: {tflops: {bf16: 1e3}}",
            "tflops.bf16 of h100 is 1e3; it must be a positive number up to 1e+12, written",
        ),
        ("nova: {watts: 3}", "tflops of nova is None; give dense peaks by precision"),
        ("nova: {tflops: {int3: 5}}", "tflops of nova is"),
        ("nova: {tflops: {bf16: true}}", "tflops.bf16 of nova is True"),
        ("nova: {tflops: {bf16: 5}, aliases: n}", "aliases of nova are no list"),
        ("h100: {hour_price: [", "is no YAML (line"),
    ],
)
def test_a_table_that_can_not_be_used_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        with_own(path)
    assert message in str(refused.value)
    assert "mine.yaml" in str(refused.value)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read: No such file"):
        with_own(tmp_path / "none.yaml")
