"""What a mistyped option is told."""

from __future__ import annotations

import argparse
import difflib
import re
from typing import Any, NoReturn

from fit.errors import UserError


class Parser(argparse.ArgumentParser):
    """Errors as the rest of the project says them: one sentence, with the nearest legal word; no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        # -1e20 and -inf too are numbers, not options
        self._negative_number_matcher = re.compile(r"-([.\d]|inf|nan)", re.IGNORECASE)

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
