"""Which sweeps may say that their recipe was tuned at their sizes."""

from __future__ import annotations

import pytest

from scaling_runs.tuned import as_tuned
from tests.configs import config_of


@pytest.mark.parametrize(
    "overrides", [[], ["store=elsewhere", "threads=2", "tracking=off", "data.cache_dir=elsewhere"]]
)
@pytest.mark.parametrize("sweep", ["isoflop_small", "isoflop_tiny"])
def test_a_sweep_as_it_is_shipped_is_tuned(sweep: str, overrides: list[str]) -> None:
    """Truth: docs/recipe.md, whose trials are of these sweeps' models on Python sources."""
    assert as_tuned(config_of(f"sweep={sweep}", *overrides))


@pytest.mark.parametrize(
    "override",
    [
        "recipe.lr=1e-3",
        "recipe=adamw",
        "model.mlp_ratio=2",
        "model=gpt2_tiny",
        "data=text_files",
        "data.tokenizer=gpt2",
        "sweep.budgets=[1e12,2e12,4e12]",
        "sweep.name=mine",
    ],
)
def test_a_sweep_with_another_recipe_model_text_or_grid_is_not(override: str) -> None:
    """Truth: the change itself."""
    assert not as_tuned(config_of("sweep=isoflop_small", override))


@pytest.mark.parametrize("options", [["sweep=isoflop_gpu"], ["sweep=isoflop_llama3"], ["budget=1e12"]])
def test_what_was_not_tuned_here_does_not_say_so(options: list[str]) -> None:
    """Truth: docs/recipe.md has no trial of them."""
    assert not as_tuned(config_of(*options))
