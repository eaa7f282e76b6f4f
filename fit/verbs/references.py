"""`python -m fit references`: published laws, and one's own beside them."""

from __future__ import annotations

import argparse
from typing import Any

from fit.verbs.arguments import LAW_HELP, number


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("references", help="published laws: numbers, sources, conventions")
    verb.add_argument(
        "--flops", type=number, nargs="+", default=[], metavar="FLOPS", help="what each says of these budgets"
    )
    verb.add_argument("--law", help=f"set beside them {LAW_HELP}")
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table."""
    from fit.laws import load_law
    from fit.report.references import render_references

    print(render_references(options.flops, None if options.law is None else load_law(options.law)))
