"""`python -m fit compare A B`: two experiments, and whether the data can tell their laws apart."""

from __future__ import annotations

import argparse
from typing import Any

from fit.errors import UserError
from fit.verbs.arguments import column_map, number, place, require_places


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("compare", help="two experiments, and whether their laws differ")
    for name in ("first", "second"):
        verb.add_argument(
            name,
            metavar="A" if name == "first" else "B",
            help="a CSV or parquet file, or a sweep's folder, here or at a URL",
        )
    verb.add_argument(
        "--flops",
        type=number,
        nargs="+",
        default=[],
        help="budgets at which the optima are compared; else the ends of those that both have, and 100x the largest",
    )
    verb.add_argument("--json", type=place, metavar="FILE", help="write the comparison here")
    verb.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="as in tokens=D, of both; may be repeated",
    )
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read and fit both alike, compare, write what was asked for, print."""
    from fit.sources import local_source
    from fit.table import load_runs

    first_file, second_file = (local_source(source) for source in (options.first, options.second))
    same = first_file is not None and second_file is not None and first_file.samefile(second_file)
    if same or options.first == options.second:
        raise UserError(
            f"'{options.first}' and '{options.second}' are one table, which can't differ from itself; give another"
        )
    read = [("the run table itself", file) for file in (first_file, second_file)]
    require_places(read, {"--json": options.json})
    columns = column_map(options.column)
    from fit.compare import compare_fits
    from fit.isoflop import fit_isoflop
    from fit.report.comparison import render_comparison
    from fit.result import write_comparison

    first, second = (fit_isoflop(load_runs(source, columns)) for source in (options.first, options.second))
    comparison = compare_fits(first, second, options.flops)
    if options.json is not None:
        write_comparison(comparison, options.json)
    print(render_comparison(comparison))
