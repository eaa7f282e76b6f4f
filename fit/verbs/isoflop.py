"""`python -m fit isoflop RUNS`: the optima and the laws of a run table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.verbs.arguments import column_map, number, require_places


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("isoflop", help="optima and laws of a run table")
    verb.add_argument("runs", metavar="RUNS", help="a CSV or parquet file, or a sweep's folder")
    verb.add_argument(
        "--predict", type=number, nargs="+", default=[], metavar="FLOPS", help="optima at these budgets too"
    )
    verb.add_argument("--json", type=Path, metavar="FILE", help="write the fit here")
    verb.add_argument("--figure", type=Path, metavar="FILE", help="draw it here: .png, .pdf or .svg")
    verb.add_argument(
        "--column", action="append", default=[], metavar="OURS=THEIRS", help="as in tokens=D; may be repeated"
    )
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, fit, write what was asked for, print."""
    from fit.report.figures import FORMATS, draw_isoflop
    from fit.table import load_runs, table_file

    source = table_file(options.runs)
    require_places(source, options.json, options.figure)
    if options.figure is not None and options.figure.suffix not in FORMATS:
        raise UserError(
            f"--figure {options.figure} ends in none of {', '.join(FORMATS)}; choose one of these"
        )
    columns = column_map(options.column)
    from fit.isoflop import fit_isoflop
    from fit.report.summary import render
    from fit.result import write_fit

    fit = fit_isoflop(load_runs(options.runs, columns), predict=options.predict)
    if options.json is not None:
        write_fit(fit, options.json)
    if options.figure is not None:
        draw_isoflop(fit, options.figure)
    print(render(fit))
