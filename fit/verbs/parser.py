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
        text = _with_hint(message)
        raise UserError(f"{text}{'' if text.endswith('?') else ';'} see {self.prog} --help")


def _with_hint(message: str) -> str:
    verb = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    if verb:
        choices = [choice.strip("' ") for choice in verb.group(2).split(",")]
        near = difflib.get_close_matches(verb.group(1), choices, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        return f"'{verb.group(1)}' is unknown{hint} choose from {', '.join(choices)}"
    return message


def refuse_unknown(parser: argparse.ArgumentParser, verb: str, argument: str) -> NoReturn:
    """UserError for what `verb` has no use for: its nearest option, or the verbs whose option it is."""
    (verbs,) = (one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    flag = argument.partition("=")[0]
    having = [name for name, one in verbs.items() if name != verb and flag in _flags(one)]
    near = difflib.get_close_matches(flag, _flags(verbs[verb]), 1)
    if having:
        text = f"'{argument}' is an option of {' and '.join(having)}, and none of {verb};"
    else:
        kind = "an option" if argument.startswith("-") else "expected here"
        text = f"'{argument}' is not {kind}" + (f", did you mean {near[0]}?" if near else ";")
    raise UserError(f"{text} see {verbs[verb].prog} --help")


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings]
