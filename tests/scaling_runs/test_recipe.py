"""The rules of size and tokens."""

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs.recipe import DECAYS, RecipeConfig, batch_size, lr_factor, resolve
from tests.configs import config_of


def test_warm_up_rises_by_equal_steps_and_linear_decay_ends_one_step_short_of_zero() -> None:
    """Truth: the schedule written out by hand."""
    recipe = resolve(RecipeConfig(warmup_fraction=0.2), params=100, batch=1, seq_len=8, steps=10)
    factors = [lr_factor(recipe, step, 10) for step in range(10)]
    assert factors == pytest.approx([1 / 2, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


def test_cosine_is_half_way_down_in_the_middle_and_ends_at_its_final_fraction() -> None:
    """Truth: the cosine's own symmetry."""
    config = RecipeConfig(decay="cosine", final_lr_fraction=0.1, warmup_fraction=0)
    recipe = resolve(config, params=100, batch=1, seq_len=8, steps=1001)
    assert lr_factor(recipe, 501, 1001) == pytest.approx(0.55, abs=1e-3)
    assert lr_factor(recipe, 1000, 1001) == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize(
    ("decay", "cooldown"),
    [
        ("linear", [1, 3 / 4, 2 / 4, 1 / 4]),
        ("sqrt", [1, 1 - math.sqrt(1 / 4), 1 - math.sqrt(2 / 4), 1 - math.sqrt(3 / 4)]),
        ("cosine", [(1 + math.cos(math.pi * x)) / 2 for x in (0, 1 / 4, 2 / 4, 3 / 4)]),
    ],
)
def test_a_cooldown_ends_a_rate_that_was_constant(decay: str, cooldown: list[float]) -> None:
    """Truth: the schedule written out by hand; of sqrt: Hägele et al., arXiv 2405.18392, section 3.2."""
    config = RecipeConfig(decay=decay, warmup_fraction=0.2, cooldown_fraction=0.4)
    recipe = resolve(config, params=100, batch=1, seq_len=8, steps=10)
    factors = [lr_factor(recipe, step, 10) for step in range(10)]
    assert factors == pytest.approx([1 / 2, 1, 1, 1, 1, 1, *cooldown])


def test_a_trunk_may_fall_with_the_root_of_its_steps_and_its_cooldown_goes_on_from_there() -> None:
    """Truth: the schedule written out by hand; four sequences of eight tokens a step, constant for 64 tokens."""
    config = RecipeConfig(
        warmup_fraction=0.1, cooldown_fraction=0.2, constant_tokens=64, final_lr_fraction=0.1
    )
    recipe = resolve(config, params=100, batch=4, seq_len=8, steps=10)
    factors = [lr_factor(recipe, step, 10) for step in range(10)]
    trunk = [1, 1, 1, *(math.sqrt(2 / step) for step in range(3, 8))]
    at_fork = math.sqrt(2 / 8)
    assert factors == pytest.approx([*trunk, at_fork, at_fork * 0.55])


def test_a_trunk_that_falls_from_its_first_step_begins_at_the_peak() -> None:
    """Truth: 1/sqrt(step) from step 1, where no warm-up and less than a batch of tokens are constant."""
    config = RecipeConfig(max_warmup_steps=0, cooldown_fraction=0.2, constant_tokens=1)
    recipe = resolve(config, params=100, batch=4, seq_len=8, steps=10)
    assert [lr_factor(recipe, step, 10) for step in range(4)] == pytest.approx(
        [1, 1, math.sqrt(1 / 2), math.sqrt(1 / 3)]
    )


@given(
    steps=st.integers(1, 5000),
    longer=st.integers(1, 5000),
    warmup=st.floats(0, 0.5),
    cooldown=st.floats(0.01, 0.5),
    constant=st.none() | st.floats(1, 1e6),
)
def test_cells_of_one_warm_up_have_their_trunk_in_common(
    steps: int, longer: int, warmup: float, cooldown: float, constant: float | None
) -> None:
    """Invariant that trunks rest on: until its cooldown, a cell's rate does not depend on where the cell ends."""
    config = RecipeConfig(warmup_fraction=warmup, cooldown_fraction=cooldown, constant_tokens=constant)
    recipe, of_longer = (
        resolve(config, params=100, batch=1, seq_len=8, steps=n) for n in (steps, steps + longer)
    )
    of_longer = dataclasses.replace(of_longer, warmup_steps=recipe.warmup_steps)
    assert recipe.cooldown_steps is not None
    assert 0 <= recipe.cooldown_steps <= steps - recipe.warmup_steps
    if constant is not None:
        of_longer = dataclasses.replace(of_longer, constant_steps=recipe.constant_steps)
    for step in range(min(steps - recipe.cooldown_steps, steps + longer - (of_longer.cooldown_steps or 0))):
        assert lr_factor(recipe, step, steps) == lr_factor(of_longer, step, steps + longer)


@given(
    steps=st.integers(1, 5000),
    warmup=st.floats(0, 0.5),
    decay=st.sampled_from(DECAYS),
    final=st.floats(0, 0.5),
    cooldown=st.none() | st.floats(0.01, 0.99),
)
def test_the_rate_never_leaves_its_range_and_never_rises_after_warm_up(
    steps: int, warmup: float, decay: str, final: float, cooldown: float | None
) -> None:
    config = RecipeConfig(
        decay=decay, warmup_fraction=warmup, final_lr_fraction=final, cooldown_fraction=cooldown
    )
    recipe = resolve(config, params=100, batch=1, seq_len=8, steps=steps)
    factors = [lr_factor(recipe, step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    after = factors[recipe.warmup_steps - 1 :]
    assert after == sorted(after, reverse=True)


@given(tokens=st.floats(64, 1e7), seq_len=st.sampled_from([8, 64, 2048]))
def test_no_batch_is_more_than_a_fifth_off_its_rule(tokens: float, seq_len: int) -> None:
    """Invariant: 1, 2, 3, 4, 6, 8, 12, … lie at most a factor of 1.5 apart, save 1 and 2."""
    sequences = batch_size(RecipeConfig(batch_tokens=tokens), budget_flops=1e12, seq_len=seq_len)
    if tokens / seq_len >= 2:
        assert abs(math.log(sequences * seq_len / tokens)) <= math.log(1.5) / 2 + 1e-9


@pytest.mark.parametrize(("budget", "published"), [(6e18, 250e3), (1e22, 4e6)])
def test_llama_3s_batch_grows_as_published(budget: float, published: float) -> None:
    """Truth: 250K to 4M tokens (arXiv 2407.21783, section 3.2.1)."""
    recipe = config_of("recipe=llama3").recipe
    tokens = 8192 * batch_size(recipe, budget_flops=budget, seq_len=8192)
    assert tokens == pytest.approx(published, rel=0.06)


@pytest.mark.parametrize(("params", "published"), [(40e6, 4e-4), (16e9, 2e-4)])
def test_llama_3s_rate_falls_with_size_as_published(params: float, published: float) -> None:
    """Truth: 2e-4 to 4e-4 by size, cosine to a tenth, 2,000 warm-up steps (arXiv 2407.21783, section 3.2.1)."""
    recipe = resolve(
        config_of("recipe=llama3").recipe, params=int(params), batch=32, seq_len=8192, steps=72_000
    )
    assert recipe.lr == pytest.approx(published, rel=0.01)
    assert recipe.warmup_steps == 2000
    assert lr_factor(recipe, 71_999, 72_000) == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("budget", [1e17, 1e18, 1e20])
def test_deepseeks_rules_hold_where_its_law_and_llama_3s_agree_on_the_size(budget: float) -> None:
    """Truth: lr 0.3118·C^-0.125 and batch 0.292·C^0.3271 (arXiv 2401.02954, eq. 1), N* = C / 6D* by Llama 3."""
    config = config_of("recipe=deepseek").recipe
    optimum = budget / (6 * 0.299 * budget**0.537)
    recipe = resolve(config, params=round(optimum), batch=8, seq_len=2048, steps=10_000)
    assert recipe.lr == pytest.approx(0.3118 * budget**-0.125, rel=0.03)
    assert config.batch_tokens * (budget / config.batch_flops) ** config.batch_exponent == pytest.approx(
        0.292 * budget**0.3271, rel=0.02
    )


def test_a_half_life_in_tokens_sets_beta2() -> None:
    """Truth: after a half-life of tokens, a gradient weighs half (Marek et al., arXiv 2507.07101)."""
    config = RecipeConfig(beta2_half_life_tokens=64_000)
    recipe = resolve(config, params=100, batch=4, seq_len=64, steps=10)
    assert recipe.beta2 ** (64_000 / (4 * 64)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sgd"}, r"recipe\.optimizer is 'sgd'; choose one of adamw, muon"),
        ({"decay": "step"}, r"recipe\.decay is 'step'; choose one of linear, cosine, sqrt"),
        ({"lr": 0.0}, r"recipe\.lr is 0\.0; it must be a positive number"),
        ({"batch_tokens": math.nan}, r"recipe\.batch_tokens is nan"),
        ({"warmup_fraction": 1.0}, r"recipe\.warmup_fraction is 1\.0; it must be at least 0 and below 1"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RecipeConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("lr", [0.0, -1.0]),
        ("beta2_half_life_tokens", [0.0, -1e6]),
        ("weight_decay", [-0.1]),
        ("max_warmup_steps", [-1]),
        ("cooldown_fraction", [0.0, 1.0]),
        ("constant_tokens", [0.0, -1.0]),
        ("lr_exponent", [10.5, -11.0]),
        ("batch_exponent", [10.5, -11.0]),
        ("max_batch_tokens", [0.0, -1.0]),
        ("init_std", [0.0, -0.02, 1.1]),
        ("clip", [0.0]),
        ("beta2", [1.0, -0.1]),
    ],
)
def test_a_rule_out_of_range_is_refused(name: str, values: list[float]) -> None:
    """Truth: the sentence names the option and its value."""
    for value in values:
        with pytest.raises(UserError, match=re.escape(f"recipe.{name} is {value}; it must be ")):
            RecipeConfig(**{name: value})  # type: ignore[arg-type]


def test_a_trunk_without_a_cooldown_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"recipe\.constant_tokens is 1000, which only a schedule with a cooldown"
    ):
        RecipeConfig(constant_tokens=1e3)


def test_no_number_of_a_recipe_may_be_none() -> None:
    """Truth: every field of the dataclass that is a float; infinity is a value of one alone, where it is no limit."""
    floats = [item.name for item in dataclasses.fields(RecipeConfig) if str(item.type).startswith("float")]
    assert len(floats) > 10
    for name in floats:
        for value in (math.nan, math.inf, -math.inf):
            if (name, value) != ("max_batch_tokens", math.inf):
                with pytest.raises(UserError, match=rf"recipe\.{name} is {value}"):
                    RecipeConfig(**{name: value})  # type: ignore[arg-type]
