"""`python -m scaling_runs VERB …`: what is done beside a sweep, before it or while it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fit.errors import UserError
from scaling_runs.status import status_of

STATUS = "python -m scaling_runs status SWEEP [store=FOLDER-OR-URL]"
PREPARE = "python -m scaling_runs prepare [data=NAME] [data.OPTION=VALUE …]"
USAGE = f"usage: {STATUS}"


def main(arguments: Sequence[str]) -> int:
    """0; 2 where the user is mistaken, with one sentence."""
    if {"-h", "--help"} & set(arguments):
        print(f"{USAGE}\n       {PREPARE}")
        return 0
    if arguments and arguments[0] == "prepare":
        from scaling_runs.prepare_verb import run_prepare  # loads Hydra, for which status need not wait

        run_prepare(arguments[1:])
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
        raise UserError(f"{given}; {USAGE.replace(chr(10), ' or ')}")
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
            raise UserError(f"'{argument}' can't be read; {USAGE.replace(chr(10), ' or ')}")
    if not sweep:
        raise UserError(f"no sweep is named; {USAGE.replace(chr(10), ' or ')}")
    return sweep, store


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
