"""`python -m fit downstream TABLE`: a task's accuracy by loss and, with a fit's loss law, by compute."""

from __future__ import annotations

import argparse
from typing import Any

from fit.errors import UserError
from fit.verbs.arguments import nonnegative, number, place, print_notes


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("downstream", help="a task's accuracy by loss, and at a budget")
    verb.add_argument("table", metavar="TABLE", help="a CSV or parquet file, here or at a URL, a row a model")
    verb.add_argument("--loss", default="loss", metavar="COLUMN", help="nats; 'loss' where not given")
    verb.add_argument("--accuracy", default="accuracy", metavar="COLUMN", help="'accuracy' where not given")
    verb.add_argument(
        "--chance", type=nonnegative, help="the accuracy of a guess, as the sigmoid's floor: 0.25"
    )
    verb.add_argument("--law", type=place, metavar="FILE", help="the JSON file of a fit that has a loss law")
    verb.add_argument("--flops", type=number, nargs="+", default=[], help="the accuracy at these budgets")
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, fit, print."""
    if (options.law is None) != (not options.flops):
        given, missing = ("--flops", "--law") if options.flops else ("--law", "--flops")
        raise UserError(f"{given} is given without {missing}; an accuracy at a budget needs both")
    from fit.columns import load_columns
    from fit.downstream import fit_link
    from fit.laws import read_fit
    from fit.limits import LOSS, SHARE
    from fit.losslaw import loss_law_of
    from fit.report.downstream import render_downstream

    names = {"loss": options.loss, "accuracy": options.accuracy}
    columns, notes = load_columns(options.table, names, {"loss": LOSS, "accuracy": SHARE})
    law = None if options.law is None else loss_law_of(read_fit(options.law), options.law)
    link = fit_link(columns["loss"], columns["accuracy"], options.chance)
    print(render_downstream(link, law, options.flops))
    print_notes(notes)
