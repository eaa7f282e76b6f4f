"""From a size to a model that can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit.errors import UserError
from fit.shape import CONFIGS, build, deepseek_batch_tokens, load_sizes
from models.flops import params, train_flops_per_token

LLAMA3 = load_sizes("llama3", 128_256)


def test_eight_billion_on_llama_3s_ladder_is_llama_3_8b() -> None:
    """Truth: arXiv 2407.21783, table 3: 32 layers, width 4096, 32 heads, 8 key-value heads, MLP 14336; 8.03B in all."""
    found = build(LLAMA3, 8e9, "all", 7e23)
    shape = found.shape
    assert (shape.depth, shape.width, shape.heads, shape.kv_heads, shape.mlp_width) == (
        32,
        4096,
        32,
        8,
        14336,
    )
    assert found.params == found.all_params == 8_030_261_248


@pytest.mark.parametrize("size", [3e7, 1e9, 2.2e10, 4e11])
def test_no_other_rung_is_nearer(size: float) -> None:
    """Truth: the sizes of the first rungs, one by one."""
    found = build(LLAMA3, size, "no_embedding", 1e26)
    rungs = LLAMA3.ladder.rungs()
    sizes = [params(next(rungs), LLAMA3.seq_len, "no_embedding") for _ in range(250)]
    assert found.params == min(sizes, key=lambda one: max(one / size, size / one))


def test_steps_are_whole_and_cost_no_more_than_the_budget() -> None:
    """Truth: 6·N·D of the steps, and of one step more."""
    found = build(LLAMA3, 1.9e10, "all", 5.44e22)
    assert found.tokens == found.steps * found.sequences * 8192
    assert found.flops == pytest.approx(6 * found.params * found.tokens)
    assert found.flops <= 5.44e22 < found.flops * (found.steps + 1) / found.steps


def test_a_law_of_exact_flops_pays_for_steps_by_them() -> None:
    """Truth: the products of a step, counted by models/flops.py, which is held to torch's counter."""
    sizes = load_sizes("llama_tiny", 257)
    found = build(sizes, 5e4, "no_embedding", 4e11, exact=True)
    a_token = train_flops_per_token(found.shape, sizes.seq_len, "exact")
    assert found.flops == pytest.approx(a_token * found.tokens)
    assert found.flops <= 4e11 < a_token * (found.tokens + found.tokens / found.steps)
    assert found.flops > 6 * found.params * found.tokens


def test_what_is_served_is_taken_off_before_training() -> None:
    """Truth: 2·N·T FLOPs of serving and 6·N·D of training fill the budget to a step."""
    found = build(LLAMA3, 7e9, "all", 1e23, inference_flops_a_param=2 * 2e12)
    total = found.flops + 2 * 2e12 * found.params
    assert total <= 1e23 < total + found.flops / found.steps


def test_what_memory_holds_is_not_passed_by_the_nearest_rung() -> None:
    """Truth: 8.03B is nearer to 7.9B than the rung below it, but more than memory holds."""
    assert build(LLAMA3, 7.9e9, "all", 1e23).params > 8e9
    assert build(LLAMA3, 7.9e9, "all", 1e23, most_params=7.9e9).params < 7.9e9
    with pytest.raises(UserError, match="the smallest rung of 'llama3', w128-d4-h1, has more than the 1e"):
        build(LLAMA3, 1e6, "all", 1e23, most_params=1e6)


def test_a_batch_is_whole_sequences() -> None:
    assert build(LLAMA3, 7e9, "all", 1e23, batch_tokens=4e6).sequences == 488
    assert build(LLAMA3, 7e9, "all", 1e23).sequences & (build(LLAMA3, 7e9, "all", 1e23).sequences - 1) == 0


def test_the_batch_follows_deepseeks_rule() -> None:
    """Truth: arXiv 2401.02954, eq. 1: 0.2920·C^0.3271."""
    assert deepseek_batch_tokens(5.44e22) == pytest.approx(0.292 * 5.44e22**0.3271, rel=0.01)


def test_every_ladder_of_the_project_builds() -> None:
    for path in (CONFIGS / "model").glob("*.yaml"):
        sizes = load_sizes(path.stem, 257)
        assert build(sizes, 1e6, "all", 1e16).tokens > 0


def test_ones_own_ladder_is_read_from_its_file(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text((CONFIGS / "model" / "llama3.yaml").read_text().replace("seq_len: 8192", "seq_len: 4096"))
    assert load_sizes(str(own), 128_256).seq_len == 4096


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("family: llama", "can't be built"),
        ("[1]", "holds no fields"),
        ("{", "is no YAML"),
        (
            "family: t5\nhead_width: 64\naspect: 64\nmin_depth: 4\nmlp_ratio: 4\nseq_len: 9",
            "model family 't5' is unknown",
        ),
        ("family: llama\nhead_width: 64\naspect: 64\nmin_depth: 4\nmlp_ratio: 4", "has no seq_len"),
        (
            "family: llama\nhead_width: 64\naspect: x\nmin_depth: 4\nmlp_ratio: 4\nseq_len: 9",
            "can't be built",
        ),
    ],
)
def test_a_ladder_that_can_not_be_built_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_sizes(str(tmp_path / "own.yaml"), 100)


def test_an_unknown_ladder_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--model 'llama9' is unknown; choose one of gpt2_tiny, llama3"):
        load_sizes("llama9", 100)
    with pytest.raises(UserError, match="can't be read"):
        load_sizes(str(tmp_path / "none.yaml"), 100)


def test_a_budget_that_pays_for_no_step_and_a_size_past_all_ladders_are_refused() -> None:
    with pytest.raises(UserError, match="one step of 1000 sequences costs"):
        build(LLAMA3, 7e9, "all", 1e15, batch_tokens=8192e3)
    with pytest.raises(UserError, match="more than any ladder"):
        build(LLAMA3, 1e20, "all", 1e40)
