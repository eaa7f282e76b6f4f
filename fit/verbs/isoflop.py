"""`python -m fit isoflop SOURCE`: the optima and the laws of a run table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.verbs.arguments import chosen_values, column_map, filters, number, place, require_places

HTML = (".html", ".htm")


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("isoflop", help="optima and laws of a run table")
    verb.add_argument(
        "source",
        metavar="SOURCE",
        help="a CSV or parquet file, a sweep's folder, either of them at a URL (s3://…), wandb:ENTITY/PROJECT or "
        "hf:OWNER/DATASET[:CONFIG]",
    )
    verb.add_argument(
        "--predict", type=number, nargs="+", default=[], metavar="FLOPS", help="optima at these budgets too"
    )
    _add_outputs(verb)
    _add_parabola(verb)
    verb.add_argument(
        "--curves",
        metavar="SOURCE",
        help="learning curves, a sweep's folder or a table with a row a (run, step): their envelope is one approach",
    )
    verb.add_argument(
        "--column", action="append", default=[], metavar="OURS=THEIRS", help="as in tokens=D; may be repeated"
    )
    verb.add_argument(
        "--curves-column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="the same for the table of --curves, such as run_id=name",
    )
    verb.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only rows that hold this value, by the table's own name of the column; may be repeated: of one column "
        "any of the values, of several all",
    )
    verb.add_argument(
        "--wandb-filter",
        type=filters,
        metavar="JSON",
        help='which runs of the project, as W&B\'s API takes it: \'{"config.sweep": "isoflop"}\'',
    )
    verb.add_argument("--split", metavar="NAME", help="of the Hugging Face data set; train by default")
    verb.set_defaults(run=run)


def _add_outputs(verb: Any) -> None:
    verb.add_argument("--json", type=place, metavar="FILE", help="write the fit here")
    verb.add_argument(
        "--figure", type=place, metavar="FILE", help="draw valleys and law here: .png, .pdf or .svg"
    )
    verb.add_argument(
        "--html",
        type=place,
        metavar="FILE",
        help="write a report for a browser here, one file that needs no network",
    )
    verb.add_argument(
        "--diagnostics", type=place, metavar="FILE", help="draw residuals, leverage and approaches here"
    )


def _add_parabola(verb: Any) -> None:
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


def run(options: argparse.Namespace) -> None:
    """Read, fit, write what was asked for, print."""
    from fit.report.canvas import require_format
    from fit.report.diagnostics_figure import draw_diagnostics
    from fit.report.figures import draw_isoflop
    from fit.sources import SourceOptions
    from fit.table import load_runs

    figures = {"--figure": options.figure, "--diagnostics": options.diagnostics}
    require_places(_read(options), {"--json": options.json, "--html": options.html, **figures})
    if options.html is not None and options.html.suffix.lower() not in HTML:
        raise UserError(f"--html '{options.html}' is no page for a browser; name it with {' or '.join(HTML)}")
    for option, path in figures.items():
        if path is not None:
            require_format(option, path)
    columns = column_map(options.column)
    where = chosen_values(options.where)
    curve_columns = column_map(options.curves_column, "--curves-column")
    if curve_columns and options.curves is None:
        raise UserError("--curves-column is given without --curves, whose columns it names; give both")
    from fit.curves import load_curves
    from fit.isoflop import fit_isoflop
    from fit.report.summary import render
    from fit.result import write_fit
    from fit.valley import ParabolaOptions

    parabola = ParabolaOptions(window=options.window, weights=options.weights, robust=options.robust)
    table = load_runs(options.source, columns, SourceOptions(options.wandb_filter, options.split, where))
    curves = () if options.curves is None else load_curves(options.curves, curve_columns)
    if where:  # a curve of a row that was left out is none of this experiment's
        curves = tuple(curve for curve in curves if curve.run_id in set(table.run_id))
    fit = fit_isoflop(table, predict=options.predict, options=parabola, curves=curves)
    if options.json is not None:
        write_fit(fit, options.json)
    if options.figure is not None:
        draw_isoflop(fit, options.figure)
    if options.diagnostics is not None:
        draw_diagnostics(fit, options.diagnostics)
    if options.html is not None:
        from fit.report.html.page import write_report

        fit_json = None if options.json is None else str(options.json)
        write_report(fit, options.html, curves, fit_json=fit_json)
    print(render(fit))


def _read(options: argparse.Namespace) -> list[tuple[str, Path | None]]:
    """The files that are read, as `require_places` takes them."""
    from fit.curves import cells_folder
    from fit.sources import local_source

    source = local_source(options.source)
    read = [("the data set" if source is not None and source.is_dir() else "the run table itself", source)]
    if options.curves is not None:
        read.append(("the table of --curves", local_source(options.curves)))
        read.append(("the cells of --curves", cells_folder(options.curves)))
    return read
