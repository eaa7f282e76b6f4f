"""`python -m fit check`: a choice of params and tokens against a law."""

from __future__ import annotations

import argparse
from typing import Any

from fit.verbs.arguments import LAW_HELP, number


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("check", help="a choice of params and tokens against a law")
    verb.add_argument("--params", type=number, required=True)
    verb.add_argument("--tokens", type=number, required=True)
    verb.add_argument("--law", required=True, help=LAW_HELP)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the verdict."""
    from fit.advise import check, load_law
    from fit.report.advice import render_check

    print(render_check(check(load_law(options.law), options.params, options.tokens)))
