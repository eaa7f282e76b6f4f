"""`python -m fit advise`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fit.isoflop import fit_isoflop
from fit.result import write_fit
from tests.fit.conftest import Run
from tests.simulated import Surface

MONTH = ["--gpus", "100", "--tflops", "210", "--days", "30"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A fit with a surface and a loss law."""
    write_fit(fit_isoflop(Surface().runs(span=8, noise=0.003), resamples=0), tmp_path / "fit.json")
    return tmp_path / "fit.json"


def test_a_hundred_gpus_for_a_month_say_what_to_train_and_what_it_costs(fit: Run) -> None:
    """Truth: 5.44e22 FLOPs, so 484B tokens and 18.7B params; 72,000 GPU-hours of A800s."""
    said = fit("advise", "--law", "llama3", "--gpu", "a800", *MONTH)
    assert (said.code, said.error) == (0, "")
    for part in (
        "tokens  484B",
        "params  18.7B",
        "To build, on the ladder llama3",
        "GPU-hours  72,000, 30 days on 100",
    ):
        assert part in said.out
    bare = fit("advise", "--law", "llama3", "--flops", "5.4432e22").out
    assert set(bare.splitlines()) < set(said.out.splitlines())


def test_ones_own_law_advises_with_intervals_and_a_loss(fit: Run, own: Path) -> None:
    said = fit("advise", "--law", own, "--flops", "1e24")
    assert said.code == 0
    for part in (
        "nats a token, by the loss law of the optima",
        "95% of the tokens span a factor of ",
        "within 0.1% of the best loss",
        "twice the size",
    ):
        assert part in said.out


def test_constraints_are_each_told_alone_and_then_together(fit: Run) -> None:
    """Truth: 80 GB on 100 GPUs hold 500B params at 16 bytes each, which is no constraint here."""
    options = ["--max-tokens", "100B", "--memory", "80", "--inference-tokens", "1T"]
    said = fit("advise", "--law", "epoch", *MONTH, *options)
    assert said.code == 0
    for part in (
        "100B unique tokens",
        "80 GB x 100 GPUs: 500B params at 16 bytes each, activations not counted\n    no constraint here",
        "1T tokens served",
        "all of these",
    ):
        assert part in said.out


def test_a_fixed_size_is_what_is_built(fit: Run) -> None:
    """Truth: Llama 3 8B's 8,030,261,248 params are the rung nearest to 8B."""
    said = fit("advise", "--law", "llama3", "--flops", "1e23", "--params", "8B")
    assert "8,030,261,248 params" in said.out


def test_a_ladder_with_nothing_near_the_optimum_says_so(fit: Run) -> None:
    """Truth: the smallest rung with Llama 3's vocabulary has 33.8M params; 1e15 FLOPs want 5M."""
    said = fit("advise", "--law", "llama3", "--flops", "1e15")
    assert said.code == 0
    assert (
        "x the size that was asked for, and the ladder has none nearer; --model and --vocab choose another"
        in said.out
    )


def test_a_loss_stands_in_for_a_budget(fit: Run) -> None:
    """Truth: 1.69 + 406.4/N^0.34 + 410.7/D^0.28 is 2 nats at the optimum of the FLOPs that are said."""
    said = fit("advise", "--law", "hoffmann", "--loss", "2", "--gpu", "h100")
    assert "loss    2 nats a token" in said.out
    assert "GPU-hours" in said.out


def without_a_loss(own: Path) -> Path:
    content = json.loads(own.read_text())
    own.write_text(json.dumps({**content, "loss_law": None, "surface": None}))
    return own


def test_a_law_file_without_a_loss_says_so_in_one_sentence_and_gives_the_rest(fit: Run, own: Path) -> None:
    said = fit("advise", "--law", without_a_loss(own), "--flops", "1e24")
    assert said.code == 0
    assert said.out.count("this law has no loss") == 1
    assert "To build" in said.out
    asked = fit("advise", "--law", own, "--loss", "2")
    assert (asked.code, asked.out, asked.error.count("\n")) == (2, "", 1)
    assert f"law '{own}' has no loss, so what reaches 2 nats can't be said" in asked.error


BAD: list[tuple[list[str], str]] = [
    ([], "nothing says what there is to spend"),
    (["--flops", "-5"], "'-5' must be positive"),
    (["--flops", "1e22", "--hour-price", "2"], "--hour-price is of a GPU's hours, and no GPU is named"),
    (["--flops", "1e22", "--pue", "1.2"], "--pue is of a GPU's hours, and no GPU is named"),
    (["--flops", "1e22", "--max-tokens", "0"], "'0' must be positive"),
    (["--flops", "1e22", "--max-tokens", "-1T"], "'-1T' must be positive"),
    (["--flops", "1e22", "--bytes-per-param", "16"], "--bytes-per-param is given without --memory"),
    (
        ["--flops", "1e22", "--params", "70B", "--memory", "80"],
        "--params 7e+10 do not fit: --memory 80 holds 5e+09 params",
    ),
    (["--flops", "1e22", "--params", "10B", "--inference-tokens", "1T"], "nothing is left to train"),
    (
        ["--loss", "2"],
        "law 'Llama 3' has no loss, so what reaches 2 nats can't be said; give hoffmann, epoch,",
    ),
    (
        ["--loss", "2", "--flops", "1e22"],
        "--loss says what to reach, and another option what there is to spend",
    ),
    (["--flops", "1e22", "--model", "llama9"], "--model 'llama9' is unknown; choose one of"),
    (["--flops", "1e60"], "params are more than any ladder is climbed to"),
    (["--flops", "1e22", "--vocab", "0"], "'0' must be positive"),
    (["--flops", "1e15", "--batch-tokens", "1B"], "one step of 122070 sequences costs"),
    ([*MONTH, "--flops", "1e22"], "--flops and --days each set how much"),
    (["--gpus", "8", "--gpu", "h100"], "a cluster is named but not how much of it"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=lambda item: " ".join(item)[:60])
def test_a_mistake_is_one_sentence_and_exit_code_2(fit: Run, options: list[str], message: str) -> None:
    said = fit("advise", "--law", "llama3", *options)
    assert (said.code, said.out, said.error.count("\n")) == (2, "", 1)
    assert message in said.error
