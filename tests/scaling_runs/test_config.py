"""What a user can set, and what is refused before anything is planned."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.errors import UserError
from models.shapes import FAMILIES
from scaling_runs.config import Config, ModelConfig, TrackingConfig
from scaling_runs.grid import MAX_SIZES, SweepConfig
from tests.configs import SWEEPS, config_of


def a_sweep(**changes: object) -> SweepConfig:
    settings: dict[str, object] = {
        "name": "mine",
        "budgets": [1e9, 4e9],
        "expected_params": 1e4,
        "expected_at_flops": 1e9,
    }
    return SweepConfig(**(settings | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_a_whole_config(name: str) -> None:
    """Truth: its name is its file's, and it composes without an option."""
    config = config_of(f"sweep={name}")
    assert config.sweep is not None
    assert config.sweep.name == name
    assert config.sweep.budgets == sorted(config.sweep.budgets)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budgets": []}, "sweep.budgets is empty"),
        ({"budgets": [1e9, -1.0]}, "sweep.budgets holds -1.0"),
        ({"budgets": [1e9, math.nan]}, "sweep.budgets holds nan"),
        ({"budgets": [1e9, math.inf]}, "sweep.budgets holds inf"),
        ({"budgets": [1e9, 1e9]}, "names a budget twice"),
        ({"budgets": [1e30]}, "sweep.budgets holds 1e+30"),
        (
            {"seeds": [1, 2, 3]},
            "sweep.seeds is [1, 2, 3]; give one positive number, or one for each of the 2",
        ),
        ({"seeds": [0]}, "sweep.seeds is [0]"),
        ({"sizes": 0}, "sweep.sizes is 0"),
        ({"sizes": MAX_SIZES + 1}, f"it must be 1 to {MAX_SIZES}"),
        ({"span": 1.0}, "sweep.span is 1.0"),
        ({"span": math.nan}, "sweep.span is nan"),
        ({"span": math.inf}, "sweep.span is inf"),
        ({"min_params": -1.0}, "sweep.min_params is -1"),
        ({"min_params": 10.0, "max_params": 10.0}, "sweep.max_params 10"),
        ({"expected_params": 0.0}, "sweep.expected_params is 0.0"),
        ({"expected_at_flops": -1.0}, "sweep.expected_at_flops is -1.0"),
        ({"expected_exponent": math.nan}, "sweep.expected_exponent is nan"),
        ({"expected_exponent": -1000.0}, "sweep.expected_exponent is -1000.0"),
        ({"expected_exponent": 50.0}, "sweep.expected_exponent is 50.0; it must be within 10 of 0"),
        ({"expected_exponent": 9.0, "budgets": [1e9, 1e12]}, "more than any model has"),
        ({"expected_exponent": -10.0}, "less than one"),
        ({"expected_exponent": 10.0, "expected_at_flops": 1e-300}, "more than any model has"),
        ({"budgets": [1e10, 1.0000000001e10, 2e10]}, "10000000000.0 and 10000000001.0 are within 1%"),
    ],
)
def test_a_grid_that_is_none_is_refused(changes: dict[str, object], said: str) -> None:
    """Truth: the sentence names the option and its value."""
    a_sweep()
    with pytest.raises(UserError, match=re.escape(said)):
        a_sweep(**changes)


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", ".hidden", "", " ", "a b", "-x", "cells", "locks", "a\n", "\\"]
)
def test_a_sweeps_name_is_that_of_a_folder_of_its_own(name: str) -> None:
    """Truth: runs.csv goes to STORE/NAME/; none may lead elsewhere or into the store's own folders."""
    with pytest.raises(UserError, match=r"sweep\.name is "):
        a_sweep(name=name)


@settings(deadline=None)
@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True))
def test_ordinary_names_are_taken(name: str) -> None:
    """Truth: what people name folders, less the store's own two."""
    if name not in ("cells", "locks"):
        assert a_sweep(name=name).name == name


@settings(deadline=None)
@given(st.floats(1e6, 1e24), st.floats(1, 1e11), st.floats(0.1, 0.9), st.floats(0.01, 100))
def test_the_expected_optimum_is_a_power_law(at: float, params: float, exponent: float, ratio: float) -> None:
    """Truth: N(C) = N0·(C/C0)^a: through its point, and of its slope."""
    sweep = a_sweep(budgets=[at], expected_params=params, expected_at_flops=at, expected_exponent=exponent)
    assert sweep.expected_optimum(at) == pytest.approx(params)
    slope = math.log(sweep.expected_optimum(at * ratio) / params)
    assert slope == pytest.approx(exponent * math.log(ratio), abs=1e-9)


def test_seeds_are_one_number_for_all_budgets_or_one_a_budget() -> None:
    """Truth: the option's own words."""
    assert [a_sweep(seeds=[3]).seeds_of(budget) for budget in (1e9, 4e9)] == [3, 3]
    assert [a_sweep(seeds=[2, 1]).seeds_of(budget) for budget in (1e9, 4e9)] == [2, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": "rnn"}, f"choose one of {', '.join(FAMILIES)}"),
        ({"seq_len": 1}, "model.seq_len is 1"),
        ({"kv_heads": 0}, "model.kv_heads is 0"),
        ({"family": "gpt2", "kv_heads": 2}, "set model.kv_heads=null"),
        ({"aspect": math.nan}, "model.aspect is nan"),
        ({"aspect": 0.0}, "model.aspect is 0.0"),
        ({"aspect": 1e-320}, "model.aspect is 1e-320"),
        ({"mlp_ratio": -1.0}, "model.mlp_ratio is -1.0"),
        ({"mlp_ratio": 1e308}, "model.mlp_ratio is 1e+308"),
        ({"min_depth": 0}, "model.min_depth is 0"),
        ({"width": 10**400}, "model.width is 1000"),
        ({"seq_len": 10**9}, "model.seq_len is 1000000000"),
    ],
)
def test_a_model_that_is_none_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        ModelConfig(name="mine", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("widths", [{"head_width": None, "heads": None}, {"head_width": 3}, {"heads": -1}])
def test_a_ladder_that_cannot_be_is_a_users_mistake(widths: dict[str, int | None]) -> None:
    """Truth: the ladder's own ValueError, as one that the command line turns into a sentence."""
    with pytest.raises(UserError, match=r"model\.head"):
        ModelConfig(name="mine", **widths).ladder(257)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flops": "7nd"}, "flops is '7nd'; choose one of"),
        ({"precision": "fp8"}, "precision is 'fp8'"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 100_000}, "threads is 100000; it must be at most"),
        (
            {"cell": "0123456789ab", "dry_run": True},
            "dry_run=true would not be heeded beside cell=0123456789ab",
        ),
        ({"cell": "0123456789ab", "budget": 1e9}, "budget=1e+09 would not be heeded beside cell="),
        ({"cell": "0123456789ab", "seed": 3}, "seed=3 would not be heeded beside cell="),
        (
            {"cell": "0123456789ab", "model": ModelConfig(name="mine", width=8)},
            "model.width=8 would not be heeded beside cell=",
        ),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, f"seed is {2**63}"),
        ({"val_tokens": 0}, "val_tokens is 0"),
        ({"store": ""}, "store is empty"),
        ({"budget": 0.0}, "budget is 0.0"),
        ({"budget": math.inf}, "budget is inf"),
        ({"budget": 1e9, "audit": True}, "audit=true is for a sweep, and none is named; give sweep=NAME"),
    ],
)
def test_a_setting_out_of_range_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        Config(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "budget=1e9",
            "budget=1e+09 is for one cell, and sweep=isoflop_tiny chooses its own by sweep.budgets",
        ),
        ("model.width=8", "model.width=8 is for one cell"),
        ("seed=2", "seed=2 is for one cell"),
    ],
)
def test_what_a_sweep_would_not_heed_is_refused(override: str, said: str) -> None:
    """Truth: the options that the docs give to a single cell; without the sweep they are taken."""
    config_of(override)
    with pytest.raises(UserError, match=re.escape(said)):
        config_of("sweep=isoflop_tiny", override)


def test_a_group_chosen_after_a_sweep_wins() -> None:
    """Truth: what is on the command line is wanted, whatever the sweep's file chooses."""
    config = config_of("sweep=isoflop_gpu", "recipe=wsd", "model=llama_tiny", "val_tokens=1024")
    assert (config.recipe.name, config.model.name, config.val_tokens) == ("wsd", "llama_tiny", 1024)


def test_tracking_is_one_of_three() -> None:
    for mode in ("offline", "online", "off"):
        assert config_of(f"tracking={mode}").tracking.mode == mode
    with pytest.raises(UserError, match=r"tracking\.mode is 'on'"):
        TrackingConfig(mode="on")
