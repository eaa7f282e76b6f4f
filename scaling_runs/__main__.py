"""`python -m scaling_runs status SWEEP [store=FOLDER]`: how a sweep stands, while it runs or after."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fit.errors import UserError
from scaling_runs.status import status_of

USAGE = "usage: python -m scaling_runs status SWEEP [store=FOLDER-OR-URL]"


def main(arguments: Sequence[str]) -> int:
    """0; 2 where the user is mistaken, with one sentence."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    try:
        print(status_of(*_read(arguments)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _read(arguments: Sequence[str]) -> tuple[str, str]:
    """(sweep, store)."""
    if not arguments or arguments[0] != "status":
        given = f"'{arguments[0]}' is no verb" if arguments else "no verb is given"
        raise UserError(f"{given}; {USAGE}")
    sweep, store = "", "results"
    for argument in arguments[1:]:
        name, equals, value = argument.partition("=")
        if name == "store" and value:
            store = value
        elif name == "sweep" and value:
            sweep = value
        elif not equals and not sweep:
            sweep = argument
        else:
            raise UserError(f"'{argument}' can't be read; {USAGE}")
    if not sweep:
        raise UserError(f"no sweep is named; {USAGE}")
    return sweep, store


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
