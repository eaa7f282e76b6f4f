"""A law that advice can rest on: published, or one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fit.advise import advise
from fit.check import check
from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.laws import load_law
from fit.regression import line_to_dict, random_effects
from fit.result import write_fit
from tests.simulated import BUDGETS, TOKENS, Surface, parabolas

CONTRACT = {
    "budgets": [{"flops": 1e18}, {"flops": 1e20}],
    "laws": {"tokens": {"coefficient": 0.299, "exponent": 0.537, "exponent_ci95": None}, "params": None},
}


def write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def test_ones_own_fit_is_a_law(tmp_path: Path) -> None:
    """Truth: the law that the runs obey, tokens and params each by their own."""
    path = tmp_path / "fit.json"
    write_fit(fit_isoflop(parabolas(), resamples=50), path)
    law = load_law(str(path))
    found = advise(law, 1e21)
    assert found.tokens == pytest.approx(TOKENS(1e21), rel=1e-4)
    assert found.params == pytest.approx(1e21 / (6 * TOKENS(1e21)), rel=1e-4)
    assert found.params_from == "the law's own params"
    assert (law.flops_range, law.source) == ((BUDGETS[0], BUDGETS[-1]), "simulated")
    assert law.tokens.exponent_ci95 is not None
    assert found.tokens_ci95 is not None
    assert found.tokens_ci95[0] <= TOKENS(1e21) <= found.tokens_ci95[1]


def test_the_contracts_own_keys_are_enough_for_a_law(tmp_path: Path) -> None:
    """Truth: contract 2 names no source and no range; the range is that of its budgets."""
    law = load_law(write(tmp_path / "fit.json", CONTRACT))
    assert law.flops_range == (1e18, 1e20)
    assert advise(law, 3.8e25).tokens == pytest.approx(16.3e12, rel=0.005)


ANOTHER_LINE = line_to_dict(
    random_effects(np.array([40.0, 42.0, 45.0]), np.array([20.0, 21.0, 23.0]), np.eye(3))
)
"""Of slope 0.6."""


def changed(**law: Any) -> dict[str, Any]:
    tokens: dict[str, Any] = {"coefficient": 0.299, "exponent": 0.537, "exponent_ci95": None}
    return {**CONTRACT, "laws": {"tokens": {**tokens, **law}, "params": None}}


@pytest.mark.parametrize(
    "content",
    [
        [],
        None,
        3,
        {},
        {"laws": {}},
        {"laws": None},
        {**CONTRACT, "budgets": []},
        {**CONTRACT, "table": "runs.csv"},
        changed(coefficient=-1),
        changed(coefficient=0),
        changed(coefficient=None),
        changed(coefficient=float("inf")),
        changed(coefficient=10**400),
        changed(exponent=float("nan")),
        changed(exponent="steep"),
        changed(exponent_ci95=[0.5]),
        changed(exponent_ci95=[0.7, 0.6]),
        changed(corrected={"coefficient": 0.0, "exponent": 0.5}),
        changed(corrected={"coefficient": 0.3, "exponent": 0.5}, line=ANOTHER_LINE, scatter=0.0),
        changed(corrected={"coefficient": 0.3, "exponent": 0.5}, line={"slope": 0.5}, scatter=0.0),
        changed(flops_range=[0, 1]),
        changed(flops_range=["low", "high"]),
    ],
)
def test_json_that_is_no_fit_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(
        UserError, match=r"law\.json' is not a fit's JSON; write one with python -m fit isoflop"
    ):
        load_law(write(tmp_path / "law.json", content))


@pytest.mark.parametrize("content", [b"", b"flops,loss\n1,2\n", bytes(range(256)), b"[" * 100_000])
def test_a_law_file_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "law.json").write_bytes(content)
    with pytest.raises(UserError, match=r"law\.json' is no JSON"):
        load_law(str(tmp_path / "law.json"))


def test_a_law_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; write one with"):
        load_law(str(tmp_path / "none.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match="can't be read: Is a directory"):
        load_law(str(tmp_path / "folder.json"))


def test_a_law_without_a_coefficient_cannot_advise() -> None:
    with pytest.raises(UserError, match="law 'hoffmann1' has no published coefficient"):
        load_law("hoffmann1")


def test_optima_past_all_numbers_are_refused(tmp_path: Path) -> None:
    law = load_law(write(tmp_path / "law.json", changed(exponent=1e6)))
    with pytest.raises(UserError, match="optimal tokens is inf"):
        advise(law, 1e20)
    with pytest.raises(UserError, match=r"6 x --params x --tokens is 0 FLOPs, where a positive"):
        check(law, 1e-200, 1e-200)


def test_a_published_laws_surface_and_counting_come_with_it() -> None:
    """Truth: arXiv 2203.15556, eq. 10, N all parameters; Kaplan: without embeddings; Llama 3: no surface."""
    hoffmann = load_law("hoffmann")
    assert hoffmann.surface is not None
    assert hoffmann.surface.unknowns.tolist() == [1.69, 406.4, 410.7, 0.34, 0.28]
    assert (hoffmann.params_convention, load_law("kaplan").params_convention) == ("all", "body")
    assert load_law("llama3").surface is None


def test_a_fits_surface_and_loss_law_come_back_from_its_json(tmp_path: Path) -> None:
    """Truth: the surface that the fit itself holds."""
    fit = fit_isoflop(Surface().runs(span=8, noise=0.003), resamples=0)
    write_fit(fit, tmp_path / "fit.json")
    law = load_law(tmp_path / "fit.json")
    assert fit.surface is not None
    assert fit.surface.surface is not None
    assert law.surface is not None
    assert law.surface.unknowns == pytest.approx(fit.surface.surface.unknowns)
    assert law.loss_law is not None


@pytest.mark.parametrize("unknowns", [{}, {"floor": 1}, {"floor": 1, "a": -1, "b": 1, "alpha": 1, "beta": 1}])
def test_a_surface_that_is_none_is_refused(tmp_path: Path, unknowns: dict[str, float]) -> None:
    """An empty one is that of a fit that found none."""
    path = write(tmp_path / "law.json", {**CONTRACT, "surface": {"unknowns": unknowns}})
    if not unknowns:
        assert load_law(path).surface is None
        return
    with pytest.raises(UserError, match=r"law\.json' is not a fit's JSON"):
        load_law(path)
