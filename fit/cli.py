"""`python -m fit VERB`: the fit, and the three steps of a planner."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from fit.errors import UserError

SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; its exit code: 0, or 2 with one sentence on stderr where the user can mend it."""
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a name too long, a folder that may not be read
        print(f"error: '{error.filename}': {error.strerror}; give another file", file=sys.stderr)
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
    """Errors as the rest of the project says them: one sentence, with the nearest legal word; no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._negative_number_matcher = re.compile(r"-[.\d]")  # -1e20 too is a number, not an option

    def error(self, message: str) -> NoReturn:
        text = _with_hint(message, self)
        raise UserError(f"{text}{'' if text.endswith('?') else ';'} see {self.prog} --help")


def _with_hint(message: str, parser: argparse.ArgumentParser) -> str:
    known = _flags(parser)
    verb = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    if verb:
        choices = [choice.strip("' ") for choice in verb.group(2).split(",")]
        near = difflib.get_close_matches(verb.group(1), choices, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        return f"'{verb.group(1)}' is unknown{hint} choose from {', '.join(choices)}"
    unknown = re.search(r"unrecognized arguments: (\S+)", message)
    if unknown:
        near = difflib.get_close_matches(unknown.group(1).partition("=")[0], known, 1)
        kind = "an option" if unknown.group(1).startswith("-") else "expected here"
        return f"'{unknown.group(1)}' is not {kind}" + (f", did you mean {near[0]}?" if near else "")
    return message


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """Its own and its verbs': argparse lets the outermost parser complain of what a verb's did not know."""
    found = [flag for action in parser._actions for flag in action.option_strings]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [flag for verb in action.choices.values() for flag in _flags(verb)]
    return found


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
    from fit.table import load_runs, table_file

    source = table_file(options.runs)
    _require_places(source, options.json, options.figure)
    if options.figure is not None and options.figure.suffix not in FORMATS:
        raise UserError(
            f"--figure {options.figure} ends in none of {', '.join(FORMATS)}; choose one of these"
        )
    columns = _columns(options.column)
    from fit.isoflop import fit_isoflop
    from fit.report.summary import render
    from fit.result import write_fit

    fit = fit_isoflop(load_runs(options.runs, columns), predict=options.predict)
    if options.json is not None:
        write_fit(fit, options.json)
    if options.figure is not None:
        draw_isoflop(fit, options.figure)
    print(render(fit))


def _require_places(source: Path, json: Path | None, figure: Path | None) -> None:
    """UserError, before anything is computed, where an output has no folder, is one, or is another file."""
    taken = {source.resolve(): "the run table itself"}
    for option, path in (("--json", json), ("--figure", figure)):
        if path is None:
            continue
        if path.is_dir():
            raise UserError(f"{option} '{path}' is a folder; name a file in it")
        if not path.resolve().parent.is_dir():
            raise UserError(f"folder '{path.parent}' of {option} '{path}' does not exist; make it first")
        same = next((what for other, what in taken.items() if _same_file(path, other)), None)
        if same is not None:
            raise UserError(f"{option} '{path}' is {same}, which it would overwrite; choose another name")
        taken[path.resolve()] = f"the file of {option} too"


def _same_file(path: Path, other: Path) -> bool:
    """Also under another name: a link."""
    return path.resolve() == other or (path.exists() and other.exists() and path.samefile(other))


def _columns(texts: Sequence[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not equals or not ours or not theirs:
            raise UserError(f"--column {text} is not of the form OURS=THEIRS, such as tokens=D")
        if ours in columns:
            raise UserError(f"--column {ours} is given twice, as {columns[ours]} and {theirs}; give it once")
        columns[ours] = theirs
    return columns


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
