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


class RankFailed(RankLost):
    """This rank can't go on, where others may: they wait for it in vain, so it ends, and they with it."""

    def __init__(self, rank: int, cell_id: str, error: BaseException, *, written: bool = True) -> None:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        reason = next(iter(str(error).splitlines()), "no reason given")
        UserError.__init__(
            self,
            f"rank {rank} has failed in cell {cell_id}, and the other ranks end with it ({kind}{reason}); "
            f"{'its failure.json has' if written else 'HYDRA_FULL_ERROR=1 shows'} the traceback; run the same command "
            f"again to go on from the checkpoints",
        )


class StoreLost(UserError):
    """A store at a URL is away for too long; no fault of the cell in the works, and nothing can be written of it."""
