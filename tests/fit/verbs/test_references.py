"""`python -m fit references`."""

from __future__ import annotations

from pathlib import Path

from fit.isoflop import fit_isoflop
from fit.references import LAWS
from fit.result import write_fit
from tests.fit.conftest import Run
from tests.simulated import parabolas


def test_every_law_is_listed_with_its_source_and_convention(fit: Run) -> None:
    said = fit("references")
    assert (said.code, said.error) == (0, "")
    for law in LAWS:
        assert law.source in said.out
        assert law.convention in said.out
    assert "0.299·C^0.537" in said.out


def test_each_law_says_what_a_budget_wants(fit: Run) -> None:
    """Truth: 0.299·(3.8e25)^0.537 = 16.3T tokens, and 389B params by C = 6·N·D."""
    lines = fit("references", "--flops", "3.8e25").out.splitlines()
    llama = [line for line in lines if line.startswith("llama3 ")][-1]
    assert llama.split()[1:3] == ["16.3T", "389B"]
    assert "params by C = 6ND" in llama
    assert not any(line.startswith("hoffmann1 ") for line in lines[lines.index("At 3.8e+25 FLOPs") :])


def test_ones_own_law_stands_beside_them(fit: Run, tmp_path: Path) -> None:
    """Truth: runs that obey Llama 3's law, so that it is 1.00x one's own."""
    write_fit(fit_isoflop(parabolas(), resamples=50), tmp_path / "fit.json")
    said = fit("references", "--law", tmp_path / "fit.json", "--flops", "1e21")
    lines = said.out.splitlines()
    assert "1.00x and 1.00x" in [line for line in lines if line.startswith("llama3 ")][-1]
    assert any(line.startswith("yours ") and "0.299·C^0.537" in line for line in lines)


def test_a_mistake_is_one_sentence(fit: Run) -> None:
    for options, message in (
        (["--law", "none.json"], "does not exist"),
        (["--law", "lama3"], "did you mean llama3?"),
        (["--flops", "much"], "'much' is no number"),
    ):
        said = fit("references", *options)
        assert (said.code, said.out, said.error.count("\n")) == (2, "", 1)
        assert message in said.error
