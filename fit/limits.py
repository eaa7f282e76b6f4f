"""What a number may be, wherever one is read: in a table or on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Limits:
    """From `low` to `high`, both allowed."""

    low: float
    high: float
    words: str
    """What is expected, in an error."""

    def hold(self, values: np.ndarray) -> np.ndarray:
        """(n,) which of the values lie inside; NaN does not."""
        return (values >= self.low) & (values <= self.high)


LARGEST = 1e100
"""Numbers past this, or below its inverse, would overflow where they are squared."""
POSITIVE = Limits(1 / LARGEST, LARGEST, f"a positive number between {1 / LARGEST:.0e} and {LARGEST:.0e}")
LOSS = Limits(1e-6, 1e6, "a positive number of nats between 1e-06 and 1e+06")
"""A guess among a million tokens costs 14 nats, and no text is known to a millionth of one: whatever lies outside is no
loss in nats a token, and the tolerances of the fit, some of them in nats, are not made for it."""
SHARE = Limits(0.0, 1.0, "a share from 0 to 1 (percents divided by 100)")
