"""`python -m fit power-law TABLE`: a power law of any two columns."""

from __future__ import annotations

import argparse
from typing import Any

from fit.verbs.arguments import number, print_notes


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("power-law", help="y = A·x^α, or E + A·x^-α, of any two columns")
    verb.add_argument("table", metavar="TABLE", help="a CSV or parquet file, here or at a URL")
    verb.add_argument("--x", required=True, metavar="COLUMN", help="what the law is a power of")
    verb.add_argument("--y", required=True, metavar="COLUMN", help="what it gives")
    verb.add_argument("--offset", action="store_true", help="with a floor E, where the points support one")
    verb.add_argument(
        "--space",
        choices=("log", "linear"),
        default="log",
        help="least squares in ln y, for errors that are a share of y (the default), or in y",
    )
    verb.add_argument(
        "--predict", type=number, nargs="+", default=[], metavar="X", help="the law at these x too"
    )
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, fit, check, print."""
    from fit.columns import load_columns
    from fit.curve import fit_curve
    from fit.curve_checks import check_curve
    from fit.report.curve import render_curve
    from fit.text import one_line

    columns, notes = load_columns(options.table, {"x": options.x, "y": options.y})
    curve = fit_curve(columns["x"], columns["y"], options.offset, options.space)
    print(render_curve(curve, check_curve(curve), one_line(options.x), one_line(options.y), options.predict))
    print_notes(notes)
