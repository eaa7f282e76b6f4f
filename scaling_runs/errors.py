"""Errors of training that the command line knows too; without torch, so that it starts at once."""

from __future__ import annotations

from fit.errors import UserError


class RankLost(UserError):
    """Another rank has ended, so this one can't go on; no fault of the cell in the works."""

    def __init__(self, rank: int, error: BaseException) -> None:
        reason = str(error).splitlines()[0].partition("This is typically")[0].strip()
        super().__init__(
            f"rank {rank} has lost another rank, which was killed, failed or hangs, and ends too; run the same command "
            f"again, with any number of ranks, to go on from the checkpoints ({reason})"
        )
