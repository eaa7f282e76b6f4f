"""What a cell is trained by: the loss, its evaluation, one step, the meter."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from models.flops import params, train_flops_per_token
from models.loss import NextTokenLoss
from models.shapes import Shape
from scaling_runs.checkpoint import Progress
from scaling_runs.data import Batches, validation_windows
from scaling_runs.meter import CellFailed, Meter
from scaling_runs.optim import build_optimizers
from scaling_runs.recipe import RecipeConfig, resolve
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import CellFolder, Record
from scaling_runs.train import (
    EVALUATIONS_ON_THE_WAY,
    Evaluation,
    TrainStep,
    evaluate,
    evaluation_due,
    next_token_loss,
    train_cell,
)
from scaling_runs.trunk import Trunk
from tests.scaling_runs.conftest import RealText, spec_for, untrained

CPU = Runtime()


class InMicroBatches(Runtime):
    """A device that takes one sequence at a time."""

    def micro_batch(self, spec: CellSpec) -> int:
        return 1


class OneOfTwoRanks(Runtime):
    """A rank whose partner does nothing, so that its own share can be seen."""

    def sum_over_ranks(self, values: torch.Tensor) -> None:
        pass


def nothing(record: Record) -> None:
    pass


# ---- the loss


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_untrained_model_knows_nothing_of_the_next_token(text: RealText, family: str) -> None:
    """Truth: ln(vocabulary), the entropy of a uniform guess."""
    spec = spec_for(text.corpus, shape=Shape(family, 16, 2, 2, 2, 48, 257))  # type: ignore[arg-type]
    windows = validation_windows(text.corpus, spec.seq_len, spec.val_tokens)
    assert evaluate(NextTokenLoss(untrained(spec)), windows, spec, CPU).loss == pytest.approx(
        math.log(257), abs=0.02
    )


def test_the_loss_is_the_cross_entropy_of_each_next_token(spec: CellSpec) -> None:
    """Truth: the definition, -log softmax at the next token, in float64 and spelt out token by token."""
    model = untrained(spec, init_std=0.5)
    windows = torch.randint(257, (3, 9), generator=torch.Generator().manual_seed(0))
    logits = model(input_ids=windows[:, :-1]).logits.detach().double()
    expected = [
        [math.log(float(logits[b, t].exp().sum())) - float(logits[b, t, windows[b, t + 1]]) for t in range(8)]
        for b in range(3)
    ]
    losses = next_token_loss(NextTokenLoss(model), windows, spec, CPU)
    assert losses.shape == (3, 8)
    torch.testing.assert_close(
        losses.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_a_model_that_always_knows_the_next_token_has_no_loss(spec: CellSpec) -> None:
    """Truth: text that counts, and a network whose logits point at token i + 1 after token i: the shift is by one."""

    class Counts(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor) -> object:
            return type("Output", (), {"logits": 100.0 * F.one_hot(input_ids + 1, 257).float()})

    windows = torch.arange(33)[None] + torch.arange(4)[:, None]
    assert next_token_loss(NextTokenLoss(Counts()), windows, spec, CPU).max() < 1e-6


def test_bf16_gives_nearly_the_loss_of_fp32(text: RealText, spec: CellSpec, tmp_path: Path) -> None:
    """Truth: the same cell in fp32; bf16 keeps 8 bits, so each loss is within a few parts in 2^8."""
    model = NextTokenLoss(untrained(spec, init_std=0.2))
    windows = torch.from_numpy(validation_windows(text.corpus, spec.seq_len, 1024))
    in_bf16 = next_token_loss(model, windows, dataclasses.replace(spec, precision="bf16"), CPU)
    in_fp32 = next_token_loss(model, windows, spec, CPU)
    assert in_bf16.dtype == torch.float32
    assert not torch.equal(in_bf16, in_fp32)
    torch.testing.assert_close(in_bf16, in_fp32, atol=0.1, rtol=0)
    short = dataclasses.replace(spec, steps=60)
    fp32, bf16 = (
        train_cell(one, text.corpus, CellFolder(tmp_path / one.precision), Trunk(tmp_path), CPU, nothing)
        for one in (short, dataclasses.replace(short, precision="bf16"))
    )
    assert bf16.loss == pytest.approx(fp32.loss, abs=0.03)


# ---- evaluation


@pytest.mark.parametrize("eval_tokens", [1, 32, 100, 320, 10**6])
def test_an_evaluation_does_not_depend_on_how_it_is_cut(
    text: RealText, spec: CellSpec, eval_tokens: int
) -> None:
    """Truth: one forward pass over all windows; mean and its standard error by numpy."""

    class Cut(Runtime):
        @property
        def eval_tokens(self) -> int:
            return eval_tokens

    model = NextTokenLoss(untrained(spec, init_std=0.2))
    windows = validation_windows(text.corpus, spec.seq_len, 23 * spec.seq_len)
    with torch.no_grad():
        each = next_token_loss(model, torch.from_numpy(windows), spec, CPU).double().mean(1).numpy()
    evaluation = evaluate(model, windows, spec, Cut())
    assert evaluation.loss == pytest.approx(each.mean(), abs=1e-6)
    assert evaluation.se == pytest.approx(each.std(ddof=1) / math.sqrt(23), rel=1e-4)
    assert model.training


def test_ranks_evaluate_every_window_once_in_even_shares(text: RealText, spec: CellSpec) -> None:
    """Truth: one process; the ranks' shares are disjoint, differ by one window at most, and sum to its losses."""
    model = NextTokenLoss(untrained(spec, init_std=0.2))
    windows = validation_windows(text.corpus, spec.seq_len, 23 * spec.seq_len)
    alone = evaluate(model, windows, spec, CPU).window_losses
    shares = [
        evaluate(model, windows, spec, OneOfTwoRanks(rank=rank, world_size=2)).window_losses
        for rank in (0, 1)
    ]
    assert sorted(int((share != 0).sum()) for share in shares) == [11, 12]
    assert not ((shares[0] != 0) & (shares[1] != 0)).any()
    torch.testing.assert_close(shares[0] + shares[1], alone, atol=1e-6, rtol=0)


def test_a_single_window_has_a_loss_and_no_standard_error() -> None:
    """Truth: a sample of one has no deviation; NaN would be no JSON."""
    evaluation = Evaluation(torch.tensor([1.5], dtype=torch.float64))
    assert evaluation.loss == 1.5
    assert evaluation.se is None


@given(st.integers(1, 5000))
def test_evaluations_come_at_even_shares_of_the_way_and_never_at_the_end(steps: int) -> None:
    """Truth: the step after which k fifths of the steps are done, for k of 1 to 4."""
    due = [step for step in range(1, steps + 1) if evaluation_due(step, steps)]
    share = EVALUATIONS_ON_THE_WAY + 1
    assert due == sorted({math.ceil(k * steps / share) for k in range(1, share)} - {steps})


# ---- a step


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_micro_batches_add_up_to_the_batch(text: RealText, optimizer: str) -> None:
    """Truth: gradient norm, loss and weights of the whole batch at once, after three steps."""
    recipe = resolve(RecipeConfig(optimizer=optimizer, lr=6e-3), params=5_000, batch=4, seq_len=32, steps=120)
    spec = spec_for(text.corpus, recipe=recipe)
    batches = Batches(text.corpus, spec.seq_len, 4, 0)
    outcomes = []
    for runtime in (CPU, InMicroBatches()):
        model = untrained(spec)
        step = TrainStep(NextTokenLoss(model), build_optimizers(model, recipe), spec, runtime)
        figures = [step(batches.batch(i), i) for i in range(3)]
        outcomes.append((figures, [p.detach() for p in model.parameters()]))
    (whole, weights), (parts, weights_of_parts) = outcomes
    for (loss, norm, lr), (loss_of_parts, norm_of_parts, lr_of_parts) in zip(whole, parts, strict=True):
        assert float(loss) == pytest.approx(float(loss_of_parts), abs=1e-5)
        assert float(norm) == pytest.approx(float(norm_of_parts), rel=1e-4)
        assert lr == lr_of_parts
    for one, other in zip(weights, weights_of_parts, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=0)


def test_a_step_follows_the_gradient_clipped_to_the_recipes_norm(spec: CellSpec) -> None:
    """Truth: SGD at rate 1 moves the weights by the gradient itself: by its norm, or by `clip` where that is less."""
    windows = np.random.default_rng(0).integers(257, size=(4, 33))

    def moved(clip: float) -> tuple[float, float]:
        model = untrained(spec, init_std=0.2)
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        clipped = dataclasses.replace(
            spec, recipe=dataclasses.replace(spec.recipe, clip=clip, warmup_steps=1)
        )
        sgd = torch.optim.SGD([{"params": list(model.parameters()), "peak_lr": 1.0}], lr=1.0)
        _, norm, _ = TrainStep(NextTokenLoss(model), [sgd], clipped, CPU)(windows, 0)
        after = torch.cat([p.detach().flatten() for p in model.parameters()])
        return float(norm), float((after - before).norm())

    norm, step = moved(clip=1e9)
    assert step == pytest.approx(norm, rel=1e-4)
    norm_again, short_step = moved(clip=norm / 10)
    assert norm_again == pytest.approx(norm)
    assert short_step == pytest.approx(norm / 10, rel=1e-4)


def test_no_gradient_is_left_over_from_the_step_before(text: RealText, spec: CellSpec) -> None:
    model = untrained(spec)
    step = TrainStep(NextTokenLoss(model), build_optimizers(model, spec.recipe), spec, CPU)
    step(Batches(text.corpus, 32, 4, 0).batch(0), 0)
    assert all(p.grad is None for p in model.parameters())


# ---- the meter


def test_the_meters_figures_are_those_of_the_steps_since_the_last_record(spec: CellSpec) -> None:
    """Truth: closed forms: mean of the losses, steps x batch x length, tokens x FLOPs a token, over the seconds."""
    meter = Meter(spec, CPU, Progress())
    for loss in (1.0, 2.0, 6.0):
        meter.add(torch.tensor(loss))
    first = meter.read(3, 2.0, 0.01, torch.tensor(0.5))
    assert first["train_loss"] == 3.0
    assert (first["step"], first["tokens"]) == (3, 3 * 4 * 32)
    flops_a_token = train_flops_per_token(spec.shape, 32, "exact")
    assert first["flops"] == 3 * 4 * 32 * flops_a_token
    assert (first["lr"], first["grad_norm"], first["wall_s"]) == (0.01, 0.5, 2.0)
    assert first["tokens_per_s"] == 3 * 4 * 32 / 2
    assert first["mfu"] == pytest.approx(first["flops"] / 2 / CPU.peak_flops_per_s)
    meter.add(torch.tensor(4.0))
    assert meter.read(4, 2.5, 0.01, torch.tensor(0.5))["train_loss"] == 4.0


def test_flops_of_a_record_are_under_the_cells_convention_and_mfu_is_exact(spec: CellSpec) -> None:
    """Truth: 6·N·D for the budget; utilisation is of the products that were really computed."""
    meter = Meter(dataclasses.replace(spec, flop_convention="6nd"), CPU, Progress())
    meter.add(torch.tensor(1.0))
    record = meter.read(10, 1.0, 0.01, torch.tensor(0.5))
    tokens = 10 * 4 * 32
    assert record["flops"] == 6 * params(spec.shape, 32, "all") * tokens
    exact = tokens * train_flops_per_token(spec.shape, 32, "exact")
    assert record["mfu"] == pytest.approx(exact / CPU.peak_flops_per_s)


@settings(max_examples=30)
@given(st.integers(1, 3000))
def test_a_cell_writes_about_a_hundred_records_and_one_at_its_end(text: RealText, steps: int) -> None:
    meter = Meter(spec_for(text.corpus, steps=steps), CPU, Progress())
    due = [step for step in range(1, steps + 1) if meter.due(step)]
    assert due[-1] == steps
    assert min(steps, 100) <= len(due) <= 200


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("what", ["training loss", "gradient norm"])
def test_a_loss_or_gradient_that_is_no_number_fails_the_cell_in_a_sentence(
    spec: CellSpec, what: str, value: float
) -> None:
    meter = Meter(spec, CPU, Progress())
    meter.add(torch.tensor(value if what == "training loss" else 1.0))
    with pytest.raises(CellFailed, match=rf"^the {what} is (nan|inf) at step 7, .*recipe\.lr"):
        meter.read(7, 1.0, 0.01, torch.tensor(value if what == "gradient norm" else 1.0))
