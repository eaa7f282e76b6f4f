"""Options that verbs share: numbers, places for outputs, column names."""

from __future__ import annotations

import argparse
import json as json_format
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.limits import POSITIVE

SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
LAW_HELP = "a published law's name, or the JSON file of a fit"


def number(text: str) -> float:
    """A positive number: 7e9, 7B, 10T. argparse turns the error into a sentence."""
    value = _parsed(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"'{text}' must be positive and finite")
    if not POSITIVE.low <= value <= POSITIVE.high:
        raise argparse.ArgumentTypeError(f"'{text}' is no number to compute with; give {POSITIVE.words}")
    return value


def nonnegative(text: str) -> float:
    """A number from 0 on. argparse turns the error into a sentence."""
    value = _parsed(text)
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"'{text}' must be 0 or more, and finite")
    return value


def _parsed(text: str) -> float:
    suffix = text[-1:].upper()
    digits, factor = (text[:-1], SUFFIXES[suffix]) if suffix in SUFFIXES else (text, 1.0)
    try:
        return float(digits.replace("_", "")) * factor
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number; write it as 7e9 or 7B") from None


def place(text: str) -> Path:
    """A file's name. argparse turns the error into a sentence."""
    if not text:
        raise argparse.ArgumentTypeError("the file's name is empty; name a file")
    return Path(text)


def require_places(read: Sequence[tuple[str, Path | None]], places: Mapping[str, Path | None]) -> None:
    """UserError, before anything is computed, where an output has no folder, is one, or is another file.

    read: what is read, a file or a folder of files, and what a message calls it; None where it is remote. places: each
    output by its option.
    """
    taken = [(what, path) for what, path in read if path is not None]
    for option, path in places.items():
        if path is None:
            continue
        if path.is_dir():
            raise UserError(f"{option} '{path}' is a folder; name a file in it")
        if not Path(os.path.realpath(path)).parent.is_dir():
            raise UserError(f"folder '{path.parent}' of {option} '{path}' does not exist; make it first")
        for what, other in taken:
            if other.is_dir() and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(other)):
                raise UserError(f"{option} '{path}' lies inside {what} '{other}'; choose another folder")
            if _same_file(path, other):
                raise UserError(f"{option} '{path}' is {what}, which it would overwrite; choose another name")
        taken.append((f"the file of {option} too", path))


def _same_file(path: Path, other: Path) -> bool:
    """Also under another name: a link."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return path.exists() and other.exists() and path.samefile(other)


def print_notes(notes: Sequence[str]) -> None:
    """What was found rather than known, below the result."""
    for note in notes:
        print(f"Note: {note}")


def column_map(texts: Sequence[str], option: str = "--column") -> dict[str, str]:
    """Ours -> theirs, of texts OURS=THEIRS. UserError where one is of another form, or a name comes twice."""
    columns: dict[str, str] = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not equals or not ours or not theirs:
            raise UserError(f"{option} {text} is not of the form OURS=THEIRS, such as tokens=D")
        if ours in columns:
            raise UserError(f"{option} {ours} is given twice, as {columns[ours]} and {theirs}; give it once")
        columns[ours] = theirs
    return columns


def chosen_values(texts: Sequence[str]) -> dict[str, list[str]]:
    """Values by column, of texts COLUMN=VALUE; a column may come several times. UserError for another form."""
    values: dict[str, list[str]] = {}
    for text in texts:
        column, equals, value = text.partition("=")
        if not equals or not column or not value:
            raise UserError(f"--where {text} is not of the form COLUMN=VALUE, such as experiment=llama3")
        values.setdefault(column, []).append(value)
    return values


def filters(text: str) -> dict[str, Any]:
    """A W&B filter, a JSON object. argparse turns the error into a sentence."""
    try:
        value = json_format.loads(text)
    except json_format.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'\'{text}\' is no JSON object, such as {{"state": "finished"}}')
    return value
