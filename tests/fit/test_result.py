"""Contract 2: the fit as JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from fit.compare import compare_fits
from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.result import comparison_to_dict, fit_to_dict, write_atomically, write_comparison, write_fit
from fit.table import RunTable, SetAside
from fit.valley import ParabolaOptions
from tests.contract import SCHEMA, assert_in_contract, read_json
from tests.simulated import BUDGETS, Surface, parabolas


def noisy() -> RunTable:
    return replace(
        parabolas(noise=0.004, seeds=2), notes=("params derived from C = 6*N*D: not in the table",)
    )


def test_the_fit_has_every_key_of_its_contract(tmp_path: Path) -> None:
    """Truth: contract 2."""
    write_fit(fit_isoflop(noisy(), predict=[1e22], resamples=100), tmp_path / "fit.json")
    content = read_json(tmp_path / "fit.json")
    assert_in_contract(content)
    assert (content["schema"], content["method"]) == (1, "parabola")
    assert [budget["flops"] for budget in content["budgets"]] == list(BUDGETS)
    assert all(budget["runs"] == budget["used"] == 14 for budget in content["budgets"])
    assert content["reference"] == {
        "name": "llama3",
        "exponent": 0.537,
        "coefficient": 0.299,
        "exponent_inside_ci95": True,
    }


def bare() -> RunTable:
    """Two budgets of three runs: a law without an interval."""
    return parabolas(sizes=3, budgets=BUDGETS[:2])


def undecided() -> RunTable:
    """Two sizes in the first budget, a hill in the second, flat losses in the third; all models of one size."""
    runs = parabolas()
    loss, tokens = runs.loss.copy(), runs.tokens.copy()
    tokens[:7] = [1e9] * 4 + [2e9] * 3
    loss[7:14] = 5 - np.linspace(-1, 1, 7) ** 2
    loss[14:21] = 3.0
    return replace(runs, loss=loss, tokens=tokens, params=np.full(35, 1e9))


def full() -> RunTable:
    """Runs of a surface that are counted in two ways, one of them set aside."""
    runs = Surface().runs(span=4, noise=0.003)
    return replace(
        runs,
        params_under={"all": runs.params * 2, "body": runs.params},
        params_convention="body",
        flops_convention="exact",
        set_aside=(SetAside("a", "flops is missing"),),
    )


@pytest.mark.parametrize("table", [bare, undecided, noisy, full])
@pytest.mark.parametrize("options", [ParabolaOptions(), ParabolaOptions(10.0, "near", robust=True)])
def test_every_fit_is_in_the_contract(
    table: Callable[[], RunTable], options: ParabolaOptions, tmp_path: Path
) -> None:
    """Truth: the schema, which knows no key that it doesn't describe."""
    fit = fit_isoflop(table(), options=options, predict=[1e22], resamples=20)
    write_fit(fit, tmp_path / "fit.json")
    assert_in_contract(read_json(tmp_path / "fit.json"))


def test_the_schema_is_one_and_says_what_every_fit_holds() -> None:
    """Truth: JSON Schema's own; and the keys of the first version, which readers rely on."""
    Draft202012Validator.check_schema(SCHEMA)
    assert {
        "schema",
        "method",
        "budgets",
        "laws",
        "predictions",
        "reference",
        "backtest",
        "warnings",
    } <= set(SCHEMA["required"])
    assert {"flops", "runs", "used", "tokens", "params", "loss", "r2", "interior", "warnings"} <= set(
        SCHEMA["$defs"]["budget"]["required"]
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "1 was expected"),
        (["laws", "tokens", "coefficient"], None, "None is not of type 'number'"),
        (["laws", "tokens", "exponent_ci95"], [0.5], "is not valid under any of the given schemas"),
        (["budgets", 0, "tokens", "status"], "fine", "'fine' is not one of"),
        (["budgets", 0, "used"], -1, "-1 is less than the minimum of 0"),
        (["warnings"], [{"code": "Edge", "text": "", "budget": None}], "does not match"),
        (["extra"], 1, "'extra' was unexpected"),
    ],
)
def test_what_is_not_in_the_contract_is_found(path: list[str | int], value: Any, message: str) -> None:
    content = deepcopy(fit_to_dict(fit_isoflop(noisy(), resamples=0)))
    there: Any = content
    for key in path[:-1]:
        there = there[key]
    there[path[-1]] = value
    with pytest.raises(AssertionError, match=message):
        assert_in_contract(content)


def test_what_is_written_is_what_was_found() -> None:
    """Truth: the fit's own values."""
    fit = fit_isoflop(noisy(), predict=[1e22], resamples=100)
    content, law = fit_to_dict(fit), fit.laws["params"]
    assert law is not None
    written = content["laws"]["params"]
    assert (written["coefficient"], written["exponent"]) == (law.coefficient, law.exponent)
    assert tuple(written["exponent_ci95"]) == law.exponent_ci95
    assert tuple(written["coefficient_ci95"]) == law.coefficient_ci95
    assert content["budgets"][2]["tokens"]["optimum"] == fit.budgets[2].tokens.optimum
    assert content["predictions"][0]["params"]["value"] == fit.predictions[0].optima["params"].value


def test_a_parabola_can_be_drawn_from_the_json_alone() -> None:
    """Truth: the exact runs lie on it."""
    runs = parabolas()
    for budget in fit_to_dict(fit_isoflop(runs, resamples=20))["budgets"]:
        here = runs.budget == budget["flops"]
        z = np.log(runs.tokens[here] / budget["tokens"]["parabola"]["centre"])
        c0, c1, c2 = budget["tokens"]["parabola"]["coefficients"]
        np.testing.assert_allclose(c0 + c1 * z + c2 * z * z, runs.loss[here], rtol=1e-9)


def test_what_is_not_known_is_null_and_never_nan(tmp_path: Path) -> None:
    fit = fit_isoflop(undecided(), predict=[1e22], resamples=20)
    write_fit(fit, tmp_path / "fit.json")
    content = read_json(tmp_path / "fit.json")
    assert [budget["tokens"]["status"] for budget in content["budgets"]] == [
        "too-few-sizes",
        "opens-downward",
        "opens-downward",
        "ok",
        "ok",
    ]
    assert [budget["used"] for budget in content["budgets"]] == [0, 0, 0, 7, 7]
    assert [budget["loss"] for budget in content["budgets"][:3]] == [None] * 3
    assert content["budgets"][0]["r2"] is None
    assert content["laws"]["params"] is None
    assert content["predictions"][0]["params"] is None
    assert content["backtest"] is None


def test_without_an_interval_nothing_is_inside_or_outside_it() -> None:
    fit = fit_isoflop(bare())
    content = fit_to_dict(fit)
    assert content["laws"]["tokens"]["exponent_ci95"] is None
    assert content["reference"]["exponent_inside_ci95"] is None


def test_an_exponent_far_from_the_references_is_outside() -> None:
    runs = parabolas()
    steep = replace(runs, tokens=runs.tokens * (runs.budget / 1e18) ** 0.3)
    assert fit_to_dict(fit_isoflop(steep, resamples=20))["reference"]["exponent_inside_ci95"] is False


def test_conventions_are_named_and_each_has_its_law() -> None:
    runs = parabolas()
    under = {"all": runs.params * 2, "body": runs.params}
    fit = fit_isoflop(
        replace(runs, params_under=under, params_convention="body", flops_convention="exact"), resamples=20
    )
    conventions = fit_to_dict(fit)["conventions"]
    assert (conventions["flops"], conventions["params"]) == ("exact", "body")
    for key in ("coefficient", "exponent", "exponent_ci95", "coefficient_ci95"):
        assert conventions["params_laws"]["body"][key] == fit_to_dict(fit)["laws"]["params"][key]
    doubled = conventions["params_laws"]["all"]["coefficient"]
    assert doubled == pytest.approx(2 * conventions["params_laws"]["body"]["coefficient"])
    assert [(row["params"], row["flops"], row["own"]) for row in conventions["table"]] == [
        ("all", "exact", False),
        ("body", "exact", True),
    ]
    assert conventions["table"][1]["laws"] == fit_to_dict(fit)["laws"]
    plain = fit_to_dict(fit_isoflop(runs, resamples=20))["conventions"]
    assert plain == {"flops": None, "params": None, "params_laws": {}, "table": []}


def test_a_comparison_is_written_whole_with_what_is_not_known_as_null(tmp_path: Path) -> None:
    """Truth: the comparison's own values; laws on two budgets of three runs have no interval."""
    comparison = compare_fits(fit_isoflop(noisy()), fit_isoflop(parabolas(noise=0.004, seed=5)), [1e20])
    write_comparison(comparison, tmp_path / "both.json")
    content, law = read_json(tmp_path / "both.json"), comparison.laws["tokens"]
    assert law is not None
    written = content["laws"]["tokens"]
    assert (content["schema"], content["first"]) == (1, {"source": "simulated", "runs": 70})
    assert written["exponent"]["difference"] == law.exponent.value
    assert tuple(written["exponent"]["ci95"]) == law.exponent.ci95
    assert (written["optima"][0]["flops"], written["optima"][0]["ratio"]) == (1e20, law.ratios[0].value)
    small = fit_isoflop(bare())
    unknown = comparison_to_dict(compare_fits(small, small))["laws"]["tokens"]
    assert (unknown["told_apart"], unknown["p_value"], unknown["exponent"]["ci95"]) == (None, None, None)
    assert unknown["exponent"]["degrees_of_freedom"] is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("before")
    write_atomically(path, b"after")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder' can't be written: Is a directory"):
        write_atomically(tmp_path / "folder", b"after")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "out.json"]


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    target, link, early = tmp_path / "target.json", tmp_path / "link.json", tmp_path / "early.json"
    target.write_text("before")
    link.symlink_to(target)
    early.symlink_to(tmp_path / "later.json")
    for place in (link, early):
        write_atomically(place, b"after")
    assert link.is_symlink()
    assert early.is_symlink()
    assert (target.read_text(), (tmp_path / "later.json").read_text()) == ("after", "after")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, b"after")
    assert (os.read(reader, 99), pipe.is_fifo()) == (b"after", True)
    os.close(reader)


def test_runs_set_aside_are_counted_by_reason_and_a_hundred_each_are_named() -> None:
    """Truth: what was set aside, counted by hand."""
    crashed = [SetAside(f"run {i}", "status crashed") for i in range(150)]
    table = replace(parabolas(), set_aside=(*crashed, SetAside("a", "flops is missing")))
    content = fit_to_dict(fit_isoflop(table, resamples=0))
    assert content["set_aside_counts"] == {"status crashed": 150, "flops is missing": 1}
    assert content["set_aside"][:2] == [{"run_id": f"run {i}", "reason": "status crashed"} for i in (0, 1)]
    assert content["set_aside"][100:] == [{"run_id": "a", "reason": "flops is missing"}]
