"""`python -m fit check`: choices of params and tokens against a law, one, a few, a table, or the known models."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from fit.errors import UserError
from fit.verbs.arguments import LAW_HELP, column_map, number, print_notes
from fit.verbs.budget_options import add_budget_options, budget_of

if TYPE_CHECKING:
    from fit.laws import PlannerLaw


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("check", help="choices of params and tokens against a law")
    verb.add_argument(
        "table", nargs="?", metavar="TABLE", help="a CSV or parquet file with params and tokens, a row a plan"
    )
    verb.add_argument(
        "--models", action="store_true", help="the models whose params and tokens are published"
    )
    verb.add_argument(
        "--params", type=number, nargs="+", default=[], metavar="N", help="one plan's, or several plans'"
    )
    verb.add_argument("--tokens", type=number, nargs="+", default=[], metavar="N", help="in the same order")
    verb.add_argument("--law", required=True, help=LAW_HELP)
    verb.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="of TABLE: params=N, tokens=D, name=model; may be repeated",
    )
    add_budget_options(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the verdicts."""
    if options.tokens and not options.params:
        raise UserError("--tokens is given without --params; give as many of each, a pair a plan")
    ways = {"TABLE": options.table is not None, "--models": options.models, "--params": bool(options.params)}
    given = [name for name, there in ways.items() if there]
    if len(given) != 1:
        said = f"{' and '.join(given)} are given" if given else "nothing to check is given"
        raise UserError(f"{said}; give one of --params with --tokens, TABLE, and --models")
    if options.column and options.table is None:
        raise UserError("--column is given without TABLE, whose columns it names; give both")
    from fit.laws import load_law

    budget = budget_of(options)
    flops = None if budget is None else budget.flops
    law = load_law(options.law)
    if options.models:
        _known_models(law, flops)
    elif options.table is not None:
        _table(options, law, flops)
    else:
        _plans(options, law, flops)


def _plans(options: argparse.Namespace, law: PlannerLaw, budget: float | None) -> None:
    from fit.check import check
    from fit.report.check import render_checks

    if len(options.params) != len(options.tokens):
        raise UserError(
            f"{len(options.params)} --params and {len(options.tokens)} --tokens are given; give as many of "
            f"each, a pair a plan"
        )
    pairs = zip(options.params, options.tokens, strict=True)
    print(render_checks([check(law, params, tokens, budget) for params, tokens in pairs]))


def _known_models(law: PlannerLaw, budget: float | None) -> None:
    from fit.check import check
    from fit.known_models import known_models
    from fit.report.check import render_check_table, render_sources

    models = known_models()
    print(render_check_table([check(law, one.params, one.tokens, budget, one.name) for one in models]))
    print()
    print(render_sources(models))


def _table(options: argparse.Namespace, law: PlannerLaw, budget: float | None) -> None:
    from fit.check import check
    from fit.columns import load_plans
    from fit.report.check import render_check_table

    plans, notes = load_plans(options.table, column_map(options.column))
    print(render_check_table([check(law, params, tokens, budget, name) for name, params, tokens in plans]))
    print_notes(notes)
