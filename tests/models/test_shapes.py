"""The ladder."""

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


@given(
    head_width=st.sampled_from([8, 16, 64]),
    aspect=st.floats(16, 128),
    family=st.sampled_from(["llama", "gpt2"]),
)
def test_each_rung_has_more_parameters_than_the_one_before(
    head_width: int, aspect: float, family: str
) -> None:
    """Invariant: one number in, and everything grows with it."""
    rungs = list(ladder(head_width=head_width, aspect=aspect, family=family).rungs(head_width * 30))
    sizes = [params(rung, 64, "no_embedding") for rung in rungs]
    assert sizes == sorted(set(sizes))


def test_every_rung_has_heads_of_one_width_and_an_aspect_that_moves_slowly() -> None:
    """Invariant: no rung gets an odd head; above the minimum depth, aspect stays within rounding of its setting."""
    for rung in ladder(aspect=32).rungs(1024):
        assert rung.head_width == 8
        if rung.depth > 4:
            assert abs(math.log(rung.width / rung.depth / 32)) < 0.15


def test_a_width_between_rungs_is_refused_with_its_neighbours_named() -> None:
    with pytest.raises(ValueError, match=r"model\.width is 20.*such as 16 or 24"):
        ladder().shape(20)


def test_shared_key_value_heads_divide_the_heads_of_every_rung() -> None:
    for rung in ladder(kv_heads=8, head_width=16).rungs(16 * 24):
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
