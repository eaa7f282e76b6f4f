"""Errors of training that the command line knows too; without torch, so that it starts at once."""

from __future__ import annotations

import errno
from collections.abc import Collection

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


class WorkersDied(Exception):
    """Workers ended before their cells did, for reasons that a launcher knows of each."""

    def __init__(self, reason: str, told_to: Collection[str]) -> None:
        super().__init__(reason)
        self.told_to = frozenset(told_to)
        """Cells whose worker somebody has ended."""


class StoreLost(UserError):
    """A store is away for too long, or full; no fault of the cell in the works, and nothing can be written of it."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def no_room(error: BaseException | None, place: object = None) -> StoreLost | None:
    """A full disk, or a quota that is used up, as a StoreLost, also where another error came of it, as torch's do.

    None where it is none of these. place: what was to be written.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return StoreLost(
                f"'{error.filename or place or 'a file'}' can't be written: {error.strerror}; make room and run the "
                f"same command again, which goes on from the last checkpoints"
            )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None
