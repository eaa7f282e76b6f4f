"""`python -m fit VERB`: the fit, and the three steps of a planner."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fit.errors import UserError

SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; its exit code: 0, or 2 with one sentence on stderr where the user can mend it."""
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def number(text: str) -> float:
    """A positive number: 7e9, 7B, 10T. argparse turns the error into a sentence."""
    suffix = text[-1:].upper()
    digits, factor = (text[:-1], SUFFIXES[suffix]) if suffix in SUFFIXES else (text, 1.0)
    try:
        value = float(digits.replace("_", "")) * factor
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number; write it as 7e9 or 7B") from None
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"'{text}' must be positive and finite")
    return value


class _Parser(argparse.ArgumentParser):
    """Errors as the rest of the project says them: one sentence, with the nearest legal word."""

    def error(self, message: str) -> NoReturn:
        raise UserError(_with_hint(message, self) + f"; see {self.prog} --help")


def _with_hint(message: str, parser: argparse.ArgumentParser) -> str:
    known = [flag for action in parser._actions for flag in action.option_strings]
    verb = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    if verb:
        choices = [choice.strip("' ") for choice in verb.group(2).split(",")]
        near = difflib.get_close_matches(verb.group(1), choices, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        return f"'{verb.group(1)}' is unknown{hint} choose from {', '.join(choices)}"
    unknown = re.search(r"unrecognized arguments: (\S+)", message)
    if unknown:
        near = difflib.get_close_matches(unknown.group(1), known, 1)
        return f"'{unknown.group(1)}' is not an option" + (f", did you mean {near[0]}?" if near else "")
    return message


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m fit", description="Fit an isoFLOP experiment, and decide by a scaling law."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    isoflop = verbs.add_parser("isoflop", help="optima and laws of a run table")
    isoflop.add_argument("runs", metavar="RUNS", help="a CSV or parquet file, or a sweep's folder")
    isoflop.add_argument(
        "--predict", type=number, nargs="+", default=[], metavar="FLOPS", help="optima at these budgets too"
    )
    isoflop.add_argument("--json", type=Path, metavar="FILE", help="write the fit here")
    isoflop.add_argument("--figure", type=Path, metavar="FILE", help="draw it here: .png, .pdf or .svg")
    isoflop.add_argument(
        "--column", action="append", default=[], metavar="OURS=THEIRS", help="as in tokens=D; may be repeated"
    )
    isoflop.set_defaults(run=_isoflop)

    budget = verbs.add_parser("budget", help="FLOPs of a cluster for a time")
    budget.add_argument("--gpus", type=number, required=True)
    budget.add_argument("--tflops", type=number, required=True, help="that each GPU reaches, not its peak")
    duration = budget.add_mutually_exclusive_group(required=True)
    duration.add_argument("--days", type=number)
    duration.add_argument("--hours", type=number)
    budget.set_defaults(run=_budget)

    advise = verbs.add_parser("advise", help="optimal tokens and params of a budget")
    advise.add_argument("--law", required=True, help="llama3, hoffmann, or the JSON file of a fit")
    advise.add_argument("--flops", type=number, required=True)
    advise.set_defaults(run=_advise)

    check = verbs.add_parser("check", help="a choice of params and tokens against a law")
    check.add_argument("--params", type=number, required=True)
    check.add_argument("--tokens", type=number, required=True)
    check.add_argument("--law", required=True, help="llama3, hoffmann, or the JSON file of a fit")
    check.set_defaults(run=_check)
    return parser


def _isoflop(options: argparse.Namespace) -> None:
    from fit.report.figures import FORMATS, draw_isoflop

    for path in (options.json, options.figure):
        if path is not None and not path.resolve().parent.is_dir():
            raise UserError(f"folder '{path.parent}' of '{path}' does not exist; make it first")
    if options.figure is not None and options.figure.suffix not in FORMATS:
        raise UserError(
            f"--figure {options.figure} ends in none of {', '.join(FORMATS)}; choose one of these"
        )
    columns = dict(_column(text) for text in options.column)
    from fit.isoflop import fit_isoflop
    from fit.report.summary import render
    from fit.result import write_fit
    from fit.table import load_runs

    fit = fit_isoflop(load_runs(options.runs, columns), predict=options.predict)
    print(render(fit))
    if options.json is not None:
        write_fit(fit, options.json)
    if options.figure is not None:
        draw_isoflop(fit, options.figure)


def _column(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals or not ours or not theirs:
        raise UserError(f"--column {text} is not of the form OURS=THEIRS, such as tokens=D")
    return ours, theirs


def _budget(options: argparse.Namespace) -> None:
    from fit.advise import budget_flops

    hours = options.hours if options.hours is not None else options.days * 24
    flops = budget_flops(options.gpus, options.tflops, hours)
    print(f"{flops:.3g} FLOPs: {options.gpus:g} GPUs at {options.tflops:g} TFLOP/s each for {hours:g} hours")


def _advise(options: argparse.Namespace) -> None:
    from fit.advise import advise, load_law
    from fit.report.advice import render_advice

    print(render_advice(advise(load_law(options.law), options.flops)))


def _check(options: argparse.Namespace) -> None:
    from fit.advise import check, load_law
    from fit.report.advice import render_check

    print(render_check(check(load_law(options.law), options.params, options.tokens)))
