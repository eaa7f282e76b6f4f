"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.report.numbers import interval, short, short_interval

FACTORS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (16.3e12, "16.3T"),
        (402e9, "402B"),
        (1_234_567, "1.23M"),
        (999_499, "999K"),
        (999_999, "1M"),
        (999.9, "1K"),
        (12.0, "12"),
        (0.25, "0.25"),
        (9.9999e14, "1e+15"),
        (3.8e25, "3.8e+25"),
        (None, "-"),
    ],
)
def test_a_number_has_three_digits_and_the_suffix_of_its_size(value: float | None, text: str) -> None:
    assert short(value) == text


@given(st.floats(1e-3, 1e18))
def test_what_is_read_back_is_the_number_to_three_digits(value: float) -> None:
    text = short(value)
    factor = FACTORS.get(text[-1], 1.0)
    assert float(text.rstrip("KMBT")) * factor == pytest.approx(value, rel=5.1e-3)
    assert not ("e" in text and factor > 1)


def test_an_interval_that_is_missing_says_so() -> None:
    assert interval(None) == "no interval"
    assert interval((0.4951, 0.57891)) == "[0.495, 0.579]"
    assert short_interval(None) == "-"
    assert short_interval((4.21e9, 4.612e9)) == "[4.21B, 4.61B]"
