"""A table as it was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fit.text import one_line

if TYPE_CHECKING:
    import pandas as pd

Place = Literal["line", "row", "run"]


@dataclass(frozen=True)
class Rows:
    """Columns under the names that their source gives them; the index counts rows from 0."""

    name: str
    """What messages call the source."""
    frame: pd.DataFrame
    place: Place
    """How a row is named: by its `line` in a text file, the header being line 1, its `row` from 1, or its `run_id`."""

    lines: tuple[int, ...] = ()
    """(n,) on which each row starts, in a text file; empty where each follows the one before, on from line 2."""
    notes: tuple[str, ...] = ()
    """What was found out about the file rather than known."""

    def where(self, index: int) -> str:
        """The row, as its reader finds it."""
        if self.place == "run":
            return f"run {one_line(str(self.frame['run_id'].iloc[index]))}"
        if self.place == "line":
            return f"line {self.lines[index] if self.lines else index + 2}"
        return f"row {index + 1}"
