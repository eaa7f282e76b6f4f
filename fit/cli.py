"""`python -m fit VERB`: the fit, and the three steps of a planner."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from fit.errors import UserError
from fit.text import one_line
from fit.verbs import advise, budget, check, compare, downstream, isoflop, power_law, references
from fit.verbs.parser import Parser, refuse_unknown

VERBS = (isoflop, compare, power_law, downstream, budget, advise, check, references)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; its exit code: 0, or 2 with one sentence on stderr where the user can mend it."""
    _open_streams()
    try:
        _run(arguments)
    except UserError as error:
        return _refused(str(error))
    except BrokenPipeError:  # whoever read the output, `head` say, has had enough
        _drop_output()
        return 0
    except OSError as error:
        if error.filename is None:  # what is printed goes to no file by name: a disk that is full
            _drop_output()
            return _refused(f"the output can't be written: {error.strerror}; send it to another place")
        # a name too long, a folder that may not be read
        return _refused(f"'{error.filename}': {error.strerror}; give another file")
    return 0


def _run(arguments: Sequence[str] | None) -> None:
    try:
        parser = _parser()
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            refuse_unknown(parser, options.verb, unknown[0])
        options.run(options)
    finally:  # --help too leaves by an exception
        sys.stdout.flush()


def _open_streams() -> None:
    """Closed ones (`>&-`) print to nowhere; a sign that a terminal's encoding lacks is written out: \\u03b1 for α."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, open until Python ends
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """What is still to be written goes nowhere, or Python would fail on it once more as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(sentence: str) -> int:
    print(f"error: {one_line(sentence)}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m fit", description="Fit an isoFLOP experiment, and decide by a scaling law."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for verb in VERBS:
        verb.add(verbs)
    return parser
