"""The ladder."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.flops import params
from models.shapes import Ladder, Shape


def ladder(**changes: object) -> Ladder:
    fields = {
        "family": "llama",
        "head_width": 8,
        "aspect": 32.0,
        "min_depth": 2,
        "mlp_ratio": 3.0,
        "vocab_size": 257,
        **changes,
    }
    return Ladder(**fields)  # type: ignore[arg-type]


def first_rungs(whole: Ladder, count: int) -> list[Shape]:
    return list(itertools.islice(whole.rungs(), count))


@given(
    heads=st.sampled_from(
        [
            {"head_width": 8},
            {"head_width": 64},
            {"head_width": 16, "width_step": 32},
            {"head_width": None, "heads": 2, "width_step": 8},
        ]
    ),
    aspect=st.floats(16, 128),
    family=st.sampled_from(["llama", "gpt2"]),
)
def test_each_rung_has_more_parameters_than_the_one_before(
    heads: dict[str, int | None], aspect: float, family: str
) -> None:
    """Invariant: one number in, and everything grows with it."""
    rungs = first_rungs(ladder(aspect=aspect, family=family, **heads), 30)
    sizes = [params(rung, 64, "no_embedding") for rung in rungs]
    assert sizes == sorted(set(sizes))


def test_every_rung_has_heads_of_one_width_and_an_aspect_that_moves_slowly() -> None:
    """Invariant: no rung gets an odd head; above the minimum depth, aspect stays within rounding of its setting."""
    for rung in first_rungs(ladder(aspect=32), 128):
        assert rung.head_width == 8
        if rung.depth > 4:
            assert abs(math.log(rung.width / rung.depth / 32)) < 0.15


def test_where_the_number_of_heads_is_fixed_their_width_grows_in_even_steps() -> None:
    """Truth: the ladder written out; rotary positions need even head widths."""
    rungs = first_rungs(ladder(head_width=None, heads=2, width_step=8), 4)
    assert [(rung.width, rung.heads, rung.head_width) for rung in rungs] == [
        (8, 2, 4),
        (16, 2, 8),
        (24, 2, 12),
        (32, 2, 16),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 2}, r"model\.head_width is 8 and model\.heads 2; set one"),
        ({"head_width": None}, r"model\.head_width is None and model\.heads None; set one"),
        ({"head_width": 5}, r"model\.head_width is 5; rotary positions need an even width"),
        ({"head_width": None, "heads": 2}, r"model\.width_step is None; it must be a multiple of 4"),
        ({"head_width": None, "heads": 2, "width_step": 6}, r"model\.width_step is 6; .* a multiple of 4"),
        ({"head_width": 8, "width_step": 12}, r"model\.width_step is 12; .* a multiple of 8"),
        ({"aspect": 0.0}, r"model\.aspect and model\.mlp_ratio must be positive"),
        ({"rope_theta": 0.5}, r"model\.rope_theta is 0\.5; it must be a number above 1, such as 100"),
        ({"rope_theta": math.inf}, r"model\.rope_theta is inf; it must be a number above 1, such as 100"),
    ],
)
def test_a_ladder_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ladder(**changes)


def test_a_width_between_rungs_is_refused_with_its_neighbours_named() -> None:
    with pytest.raises(ValueError, match=r"model\.width is 20.*such as 16 or 24"):
        ladder().shape(20)


def test_shared_key_value_heads_divide_the_heads_of_every_rung() -> None:
    for rung in first_rungs(ladder(kv_heads=8, head_width=16), 24):
        assert rung.heads % rung.kv_heads == 0
        assert rung.kv_heads <= 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "mamba"}, "mamba.*llama, gpt2"),
        ({"width": 20, "heads": 3}, "20 is not a multiple of its 3 heads"),
        ({"heads": 4, "kv_heads": 3}, "4 heads cannot share 3"),
        ({"depth": 0}, "depth is 0"),
        ({"family": "gpt2", "heads": 4, "kv_heads": 2}, "GPT-2 has no shared"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    fields = {
        "family": "llama",
        "width": 32,
        "depth": 2,
        "heads": 4,
        "kv_heads": 4,
        "mlp_width": 96,
        "vocab_size": 257,
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        Shape(**fields)  # type: ignore[arg-type]


def test_a_rotary_base_is_of_llama_and_no_gpt2_depends_on_it() -> None:
    """Truth: GPT-2 has learned positions: a cell of it is the same whatever the option says."""
    assert ladder(rope_theta=100.0).shape(16).rope_theta == 100.0
    assert ladder(family="gpt2", rope_theta=100.0).shape(16) == ladder(family="gpt2").shape(16)
