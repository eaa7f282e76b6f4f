"""`python -m fit check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit.known_models import known_models
from tests.fit.conftest import Run

PLAN = ["--params", "7e9", "--tokens", "10e12"]


def test_a_choice_is_set_against_the_optimum_of_its_cost(fit: Run) -> None:
    """Truth: 6 x 7e9 x 10e12 = 4.2e23; the optimum there is 1.45T and 48B; 70B on 1T costs the same."""
    said = fit("check", "--params", "7B", "70B", "--tokens", "10T", "1T", "--law", "llama3")
    assert (said.code, said.error) == (0, "")
    for part in (
        "7B params on 10T tokens cost 4.2e+23 FLOPs",
        "70B params on 1T tokens cost 4.2e+23 FLOPs",
        "48.3B params on 1.45T tokens",
        "6.9x too many tokens",
        "near the optimum: 0.69x its tokens",
        "Nearer its optimum is 70B params on 1T tokens",
    ):
        assert part in said.out


def test_a_budget_that_can_not_pay_is_an_error_by_name(fit: Run) -> None:
    said = fit("check", *PLAN, "--law", "llama3", "--gpus", 100, "--tflops", 210, "--days", 30)
    assert said.code == 0
    assert "ERROR, a plan that its budget can't pay for: it costs 7.72x the 5.44e+22 FLOPs" in said.out


def test_a_table_is_checked_line_by_line(fit: Run, tmp_path: Path) -> None:
    """Truth: the same verdicts as one by one."""
    table = tmp_path / "plans.csv"
    table.write_text("model,N,D\nfar,7e9,10e12\n,70e9,1e12\n")
    said = fit("check", table, "--law", "llama3", "--column", "params=N", "--column", "tokens=D")
    assert said.code == 0
    far, near = (
        next(line for line in said.out.splitlines() if line.startswith(name)) for name in ("far", "line 3")
    )
    assert (" 6.9 " in far, " 71%" in far) == (True, True)
    assert " 5%" in near
    assert fit("check", table, "--law", "llama3").out == said.out


def test_the_known_models_are_checked_with_their_sources(fit: Run) -> None:
    said = fit("check", "--models", "--law", "epoch")
    assert said.code == 0
    for one in known_models():
        assert said.out.count(f"\n{one.name}") >= 2
        assert one.source in said.out


BAD: list[tuple[list[str], str]] = [
    ([], "nothing to check is given; give one of --params with --tokens, TABLE, and --models"),
    (["--tokens", "1e9"], "--tokens is given without --params"),
    (["--params", "1e9"], "1 --params and 0 --tokens are given"),
    (["--params", "1e9", "2e9", "--tokens", "1e9"], "2 --params and 1 --tokens are given"),
    (["--params", "-7e9", "--tokens", "1e9"], "'-7e9' must be positive"),
    (["--models", *PLAN], "--models and --params are given"),
    (["--models", "--column", "params=N"], "--column is given without TABLE"),
    (["none.csv"], "'none.csv' does not exist"),
    (["TABLE", "--column", "size=N"], "--column size=N: give params, tokens or name"),
    (["TABLE", "--column", "params=M"], "--column params=M"),
    (["TABLE"], "has no column for params; its columns are size, tokens"),
    (["TABLE", "--column", "params=tokens"], "is taken for both"),
    (["TABLE", "--column", "params=size"], "line 2: size is -1"),
    ([*PLAN, "--flops", "0"], "'0' must be positive"),
    (
        ["--params", "1e55", "--tokens", "1e55"],
        "6 x --params x --tokens is 6e+110 FLOPs, where a positive number",
    ),
    ([*PLAN, "--gpu", "h100", "--gpus", "8"], "a cluster is named but not how much"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=lambda item: " ".join(item)[:60])
def test_a_mistake_is_one_sentence_and_exit_code_2(
    fit: Run, tmp_path: Path, options: list[str], message: str
) -> None:
    table = tmp_path / "plans.csv"
    table.write_text("size,tokens\n-1,1e9\n")
    said = fit("check", *(table if one == "TABLE" else one for one in options), "--law", "llama3")
    assert (said.code, said.out, said.error.count("\n")) == (2, "", 1)
    assert message in said.error


@pytest.mark.parametrize("law", ["llama3", "epoch", "hoffmann"])
def test_a_plan_past_all_numbers_is_one_sentence_by_every_kind_of_law(fit: Run, law: str) -> None:
    """Truth: 6ND of 6e198, which a law with a loss can't square."""
    said = fit("check", "--law", law, "--params", "1e99", "--tokens", "1e99")
    assert (said.code, said.out, said.error.count("\n")) == (2, "", 1)
    assert "6 x --params x --tokens is 6e+198 FLOPs" in said.error
