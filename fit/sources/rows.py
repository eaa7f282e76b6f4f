"""A table as it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from fit.errors import UserError
from fit.text import one_line

if TYPE_CHECKING:
    import pandas as pd

Place = Literal["line", "row", "run"]
MOST_VALUES = 20
"""Of a column, in an error."""


@dataclass(frozen=True)
class Rows:
    """Columns under the names that their source gives them; the index counts rows from 0."""

    name: str
    """What messages call the source."""
    frame: pd.DataFrame
    place: Place
    """How a row is named: by its `line` in a text file, the header being line 1, its `row` from 1, or its `run_id`."""

    lines: tuple[int, ...] = ()
    """(n,) on which each row starts in a text file, or its number; empty where each follows the one before."""
    notes: tuple[str, ...] = ()
    """What was found out about the file rather than known."""

    def where(self, index: int) -> str:
        """The row, as its reader finds it."""
        if self.place == "run":
            return f"run {one_line(str(self.frame['run_id'].iloc[index]))}"
        return f"{self.place} {self.lines[index] if self.lines else index + self._first}"

    @property
    def _first(self) -> int:
        """What the first row is called, where `lines` does not say."""
        return 2 if self.place == "line" else 1

    def chosen(self, where: Mapping[str, Sequence[str]]) -> Rows:
        """The rows that hold, in each column, one of its values: as text, or as the same number. A note says how many.

        UserError where there is no such column, or no row is left.
        """
        frame = self.frame
        held = [True] * len(frame)
        for column, values in where.items():
            if list(frame.columns).count(column) != 1:
                raise UserError(
                    f"--where {column}={values[0]}: '{self.name}' has no column '{column}', or several; its columns "
                    f"are {', '.join(map(str, frame.columns))}"
                )
            texts = [one_line(str(value)) for value in frame[column]]
            held = [
                so_far and any(_same(text, value) for value in values)
                for so_far, text in zip(held, texts, strict=True)
            ]
            if not any(held):
                there = list(dict.fromkeys(texts))
                more = f" and {len(there) - MOST_VALUES} more" if len(there) > MOST_VALUES else ""
                raise UserError(
                    f"--where {column}={' or '.join(values)} leaves no row of '{self.name}'; "
                    f"'{column}' is {', '.join(there[:MOST_VALUES])}{more}"
                )
        told = " and ".join(f"{column} is {' or '.join(values)}" for column, values in where.items())
        places = self.lines or range(self._first, self._first + len(held))
        return replace(
            self,
            frame=frame[held].reset_index(drop=True),
            lines=tuple(place for place, one in zip(places, held, strict=True) if one),
            notes=(*self.notes, f"{sum(held)} of {len(held)} rows, where {told}"),
        )


def _same(text: str, value: str) -> bool:
    if text == value or (text in ("True", "False") and text.casefold() == value.casefold()):
        return True
    try:
        return float(text) == float(value)
    except ValueError:
        return False
