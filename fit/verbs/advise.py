"""`python -m fit advise`: the optimal tokens and params of a budget."""

from __future__ import annotations

import argparse
from typing import Any

from fit.verbs.arguments import LAW_HELP, number


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("advise", help="optimal tokens and params of a budget")
    verb.add_argument("--law", required=True, help=LAW_HELP)
    verb.add_argument("--flops", type=number, required=True)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the advice."""
    from fit.advise import advise, load_law
    from fit.report.advice import render_advice

    print(render_advice(advise(load_law(options.law), options.flops)))
