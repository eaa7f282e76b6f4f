"""A table as it was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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

    def where(self, index: int) -> str:
        """The row, as its reader finds it."""
        if self.place == "run":
            return f"run {self.frame['run_id'].iloc[index]}"
        return f"line {index + 2}" if self.place == "line" else f"row {index + 1}"
