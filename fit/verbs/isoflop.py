"""`python -m fit isoflop RUNS`: the optima and the laws of a run table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fit.verbs.arguments import column_map, number, require_places


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("isoflop", help="optima and laws of a run table")
    verb.add_argument("runs", metavar="RUNS", help="a CSV or parquet file, or a sweep's folder")
    verb.add_argument(
        "--predict", type=number, nargs="+", default=[], metavar="FLOPS", help="optima at these budgets too"
    )
    verb.add_argument("--json", type=Path, metavar="FILE", help="write the fit here")
    verb.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw valleys and law here: .png, .pdf or .svg"
    )
    verb.add_argument(
        "--diagnostics", type=Path, metavar="FILE", help="draw residuals, leverage and approaches here"
    )
    verb.add_argument(
        "--window",
        type=number,
        metavar="FACTOR",
        help="fit runs within this factor of the lowest loss's size",
    )
    verb.add_argument(
        "--weights",
        choices=("equal", "near"),
        default="equal",
        help="near: runs near the lowest loss count more",
    )
    verb.add_argument("--robust", action="store_true", help="one bad run does not move a minimum (Huber)")
    verb.add_argument(
        "--column", action="append", default=[], metavar="OURS=THEIRS", help="as in tokens=D; may be repeated"
    )
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, fit, write what was asked for, print."""
    from fit.report.canvas import require_format
    from fit.report.diagnostics_figure import draw_diagnostics
    from fit.report.figures import draw_isoflop
    from fit.table import load_runs, table_file

    figures = {"--figure": options.figure, "--diagnostics": options.diagnostics}
    require_places(table_file(options.runs), {"--json": options.json, **figures})
    for option, path in figures.items():
        if path is not None:
            require_format(option, path)
    columns = column_map(options.column)
    from fit.isoflop import fit_isoflop
    from fit.report.summary import render
    from fit.result import write_fit
    from fit.valley import ParabolaOptions

    parabola = ParabolaOptions(window=options.window, weights=options.weights, robust=options.robust)
    fit = fit_isoflop(load_runs(options.runs, columns), predict=options.predict, options=parabola)
    if options.json is not None:
        write_fit(fit, options.json)
    if options.figure is not None:
        draw_isoflop(fit, options.figure)
    if options.diagnostics is not None:
        draw_diagnostics(fit, options.diagnostics)
    print(render(fit))
