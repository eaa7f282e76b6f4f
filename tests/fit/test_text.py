"""Text of others, on one line."""

from __future__ import annotations

import pytest

from fit.text import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("α of run 7, 50\N{PER MILLE SIGN}", "α of run 7, 50\N{PER MILLE SIGN}"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
        ("\udcff.csv", r"\udcff.csv"),
        ("no\xa0break", "no\xa0break"),
    ],
)
def test_what_would_leave_the_line_is_written_out(text: str, shown: str) -> None:
    """Truth: Python's own escapes; what is printed as it is stays so."""
    assert one_line(text) == shown
