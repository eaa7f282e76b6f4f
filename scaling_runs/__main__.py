"""What can be asked of sweeps and of this machine: `python -m scaling_runs VERB …`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from fit.errors import UserError
from scaling_runs.stopping import plain_interrupts, stop_as_by_ctrl_c

USAGE = """usage: python -m scaling_runs status SWEEP [store=FOLDER-OR-URL]   how a sweep stands, while it runs or after
       python -m scaling_runs watch SWEEP [store=…] [port=0]       the same as a live page, until Ctrl-C
       python -m scaling_runs prepare [data=NAME] [data.…=…]       a sweep's corpus, by itself and beforehand
       python -m scaling_runs bench [shape=W,…] [batch=N,…] […=…]  what this machine does with a training step
       python -m scaling_runs bench compare A.json B.json …        profiles of several machines side by side"""
STATUS = "usage: python -m scaling_runs status SWEEP [store=FOLDER-OR-URL]"


def main(arguments: Sequence[str]) -> int:
    """0; 2 where the user is mistaken, with one sentence."""
    if any(argument in ("-h", "--help") for argument in arguments[:2]):
        print(USAGE)
        return 0
    try:
        if not arguments or arguments[0] not in VERBS:
            given = f"'{arguments[0]}' is no verb" if arguments else "no verb is given"
            raise UserError(
                f"{given}; choose one of {', '.join(VERBS)}, as in python -m scaling_runs status SWEEP"
            )
        return VERBS[arguments[0]](arguments[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _status(arguments: Sequence[str]) -> int:
    from scaling_runs.status import status_of

    print(status_of(*_sweep_and_store(arguments)))
    return 0


def _watch(arguments: Sequence[str]) -> int:
    from scaling_runs.watch.server import watch

    return watch(arguments)


def _prepare(arguments: Sequence[str]) -> int:
    from scaling_runs.prepare_verb import run_prepare  # loads Hydra

    run_prepare(arguments)
    return 0


def _bench(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "compare":
        from scaling_runs.bench.compare import compare

        print(compare(arguments[1:]))
        return 0
    from scaling_runs.bench.command import bench  # loads torch

    return bench(arguments)


def _sweep_and_store(arguments: Sequence[str]) -> tuple[str, str]:
    sweep, store = "", "results"
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == "store" and value:
            store = value
        elif name == "sweep" and value:
            sweep = value
        elif not equals and not sweep:
            sweep = argument
        else:
            raise UserError(f"'{argument}' can't be read; {STATUS}")
    if not sweep:
        raise UserError(f"no sweep is named; {STATUS}")
    return sweep, store


VERBS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "status": _status,
    "watch": _watch,
    "prepare": _prepare,
    "bench": _bench,
}


if __name__ == "__main__":
    stop_as_by_ctrl_c()
    with plain_interrupts():
        sys.exit(main(sys.argv[1:]))
