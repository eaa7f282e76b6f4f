"""Advice as text."""

from __future__ import annotations

from fit.advise import advise
from fit.constraints import Constraints
from fit.laws import load_law
from fit.report.advice import render_advice
from fit.shape import build, load_sizes


def said(law: str, flops: float, **constraints: Constraints) -> str:
    advice = advise(load_law(law), flops)
    return render_advice(
        advice, build(load_sizes("llama3", 128_256), advice.params, "all", flops), constraints
    )


def test_advice_gives_tokens_params_their_source_and_the_reach() -> None:
    """Truth: 16.3T tokens and 389B params at 3.8e25, 3.6 decades past 1e22."""
    text = said("llama3", 3.8e25)
    for part in (
        "arXiv 2407.21783",
        "tokens  16.3T",
        "params  389B   by C = 6ND",
        "extrapolated 3.6 decades",
        "the law has no interval, so how far off it may be here is not known",
        "402B",
    ):
        assert part in text
    assert "inside the law's data" in said("llama3", 1e20)


def test_a_law_with_a_loss_says_the_loss_the_range_and_what_neighbours_cost() -> None:
    """Truth: the surface of arXiv 2404.10102 at its own optimum: 2.03 nats at 1e23 FLOPs."""
    text = said("epoch", 1e23)
    for part in (
        "loss    2.03",
        "nats a token, by the law's surface",
        "within 0.1% of the best loss: ",
        "within 1.0%",
        "half the size",
    ):
        assert part in text
    assert "this law has no loss" not in text


def test_a_law_without_a_loss_says_so_in_a_sentence_and_whose_valley_it_borrows() -> None:
    text = said("llama3", 1e21)
    assert "loss    not known, nor what is within 0.1% of the best: this law has no loss" in text
    assert "by the valley of Besiroglu et al." in text
    assert "wasting at most 1% of the compute" in text


def test_a_constraint_says_what_it_leaves_and_wastes() -> None:
    text = said(
        "llama3",
        5.44e22,
        scarce=Constraints(unique_tokens=100e9),
        hardly=Constraints(unique_tokens=475e9),
        plenty=Constraints(unique_tokens=1e15),
    )
    scarce, rest = text.split("  scarce\n")[1].split("  hardly\n")
    hardly, plenty = rest.split("  plenty\n")
    assert hardly.startswith("    costs next to nothing here: ")
    assert " epochs: wastes " in scarce
    assert plenty.startswith("    no constraint here: 18.7B params on 484B tokens")


def test_inference_says_what_is_saved_against_training_alone() -> None:
    text = said("hoffmann", 1e23, served=Constraints(inference_tokens=2e12))
    assert "FLOPs left for serving" in text
    assert "trained for its loss alone it would be" in text
    assert "% are saved" in text
