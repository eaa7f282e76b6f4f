"""`python -m fit VERB`: the fit, and the three steps of a planner."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fit.errors import UserError
from fit.verbs import advise, budget, check, compare, downstream, isoflop, power_law, references
from fit.verbs.parser import Parser

VERBS = (isoflop, compare, power_law, downstream, budget, advise, check, references)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; its exit code: 0, or 2 with one sentence on stderr where the user can mend it."""
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a name too long, a folder that may not be read
        print(f"error: '{error.filename}': {error.strerror}; give another file", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m fit", description="Fit an isoFLOP experiment, and decide by a scaling law."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for verb in VERBS:
        verb.add(verbs)
    return parser
