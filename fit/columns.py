"""Which column is which, and its numbers; what can't be fitted is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit.errors import UserError
from fit.limits import LARGEST, LOSS, POSITIVE, Limits
from fit.sources import read_source
from fit.sources.rows import Rows
from fit.text import one_line

if TYPE_CHECKING:
    import pandas as pd

NAMES: dict[str, tuple[str, ...]] = {
    "flops": ("flops", "C", "compute", "total_flops", "train_flops", "training_flops"),
    "params": ("params", "N", "parameters", "n_params", "num_params", "model_size"),
    "tokens": ("tokens", "D", "n_tokens", "num_tokens", "train_tokens", "training_tokens"),
    "loss": ("loss", "val_loss", "validation_loss", "eval_loss", "final_loss", "val/loss", "eval/loss"),
}
"""Names that a column goes by where it is not mapped, the contract's own first; in any case, if not a letter."""
SIZE_COLUMNS = ("flops", "params", "tokens")
OPTIONAL = ("seed", "unique_tokens", "lr", "batch_tokens", "vocab_size", "wall_s", "mfu")
"""Numbers that are read where they are there, missing ones as NaN."""
OTHERS = ("budget", "run_id", "status", "status_reason", *OPTIONAL)
"""Go by their own name where they are not mapped, or by those of ALIASES."""
ALIASES = {
    "lr": ("learning_rate", "peak_lr", "max_lr"),
    "batch_tokens": ("batch_size_tokens", "tokens_per_batch", "tokens_per_step"),
}
CONVENTIONS: dict[str, tuple[str, ...]] = {
    "params": ("all", "no_embedding", "body"),
    "flops": ("exact", "6nd"),
}
"""Ways of counting that a column `params_NAME` or `flops_NAME` may hold, as `models/flops.py` defines them."""
PLAN_NAMES = ("name", "model", "run_id")
"""Columns that say what a plan is called."""
MOST_CHARACTERS = 60
"""Of a value, in an error."""
MOST_NAMES = 40
"""Columns that an error lists."""


def find_columns(rows: Rows, mapped: Mapping[str, str], option: str = "--column") -> dict[str, str]:
    """Our name -> the table's, of all that are there. UserError where one is in doubt, or too few are there.

    option: that of the command line by which `mapped` is given.
    """
    there = list(rows.frame.columns)
    for ours, theirs in mapped.items():
        if ours not in (*NAMES, *OTHERS):
            raise UserError(
                f"{option} {ours}={theirs}: '{ours}' is none of {', '.join((*NAMES, *OTHERS))}; choose one of these"
            )
        if theirs not in there:
            raise UserError(f"'{rows.name}' has no column '{theirs}'; its columns are {_listed(there)}")
    found = dict(mapped)
    for ours, aliases in (NAMES | {name: (name, *ALIASES.get(name, ())) for name in OTHERS}).items():
        # a size may not be taken for another, but a column that is mapped need not be what it is called too
        free = [name for name in _going_by(aliases, there) if ours in NAMES or name not in mapped.values()]
        if ours not in found and free:
            found[ours] = free[0]
    _require_distinct(rows.name, found, there)
    if "loss" not in found or sum(name in found for name in SIZE_COLUMNS) < 2:
        raise UserError(
            f"'{rows.name}' lacks columns: needed are loss and two of flops, params and tokens, found are "
            f"{_listed(there)}; map others with {option}, as in {option} tokens=D"
        )
    return found


def _going_by(aliases: tuple[str, ...], there: list[str]) -> list[str]:
    """Columns of these names, as they are written or, where a name is longer than a letter, in another case."""
    folded = [alias.casefold() for alias in aliases if len(alias) > 1]
    found = [alias for alias in aliases if alias in there]
    others = [name for alias in folded for name in there if name.casefold() == alias]
    return list(dict.fromkeys(found + others))


def _require_distinct(source: str, found: Mapping[str, str], there: list[str]) -> None:
    for name, theirs in found.items():
        if there.count(theirs) > 1 or f"{theirs}.1" in there:  # pandas's name for a CSV's second
            raise UserError(f"'{source}' has two columns '{theirs}'; remove or rename one")
        for other in found:
            if other != name and found[other] == theirs:
                raise UserError(
                    f"'{source}' column '{theirs}' is taken for both {name} and {other}; map each to one of "
                    f"its own"
                )


def other_candidates(frame: pd.DataFrame, found: Mapping[str, str], mapped: Mapping[str, str]) -> list[str]:
    """A note for each column that was found by its name where another name would have fitted too."""
    notes = []
    for ours, aliases in NAMES.items():
        others = [name for name in _going_by(aliases, list(frame.columns)) if name not in found.values()]
        if ours in found and ours not in mapped and others:
            notes.append(f"{ours} is read from column '{found[ours]}', though there is '{others[0]}' too")
    return notes


def run_numbers(rows: Rows, found: Mapping[str, str], kept: np.ndarray) -> dict[str, np.ndarray]:
    """(k,) each of sizes, loss and budget that is there, at the (k,) rows `kept`. UserError as for `numbers`."""
    return {
        name: numbers(rows, found[name], kept, LOSS if name == "loss" else POSITIVE)
        for name in (*SIZE_COLUMNS, "loss", "budget")
        if name in found
    }


def numbers(rows: Rows, column: str, kept: np.ndarray, limits: Limits = POSITIVE) -> np.ndarray:
    """(k,) the column as floats, at the (k,) rows `kept`. UserError where one is no number, or outside `limits`."""
    values = floats(rows.frame, column)[kept]
    bad = ~limits.hold(values)
    if bad.any():
        first = int(kept[np.argmax(bad)])
        raise UserError(
            f"'{rows.name}' {rows.where(first)}: {column} is {_shown(rows.frame[column].iloc[first])}, where "
            f"{limits.words} is expected; mend or remove the row ({int(bad.sum())} such in this column)"
        )
    return values


def floats(frame: pd.DataFrame, column: str) -> np.ndarray:
    """(n,) NaN for what is no number; dates, booleans and lists are none."""
    import pandas as pd

    series = frame[column]
    if pd.api.types.is_bool_dtype(series) or pd.api.types.is_datetime64_any_dtype(series):
        return np.full(len(series), np.nan)
    try:
        return np.asarray(pd.to_numeric(series, errors="coerce").to_numpy(dtype=float, na_value=np.nan))
    except (TypeError, ValueError):
        return np.full(len(series), np.nan)


def texts(series: pd.Series) -> pd.Series:
    """Numbers, truths and dates as they stand, all else as text in one line; missing values are kept."""
    if series.dtype.kind in "biufcmM":
        return series
    return series.astype(object).map(lambda value: one_line(str(value)), na_action="ignore")


def optional_columns(
    frame: pd.DataFrame, found: Mapping[str, str], kept: np.ndarray
) -> dict[str, np.ndarray]:
    """(k,) each of OPTIONAL that is there, NaN where it holds no number; one without any number is passed over."""
    columns = {name: floats(frame, found[name])[kept] for name in OPTIONAL if name in found}
    finite = {name: np.where(np.abs(values) < LARGEST, values, np.nan) for name, values in columns.items()}
    return {name: values for name, values in finite.items() if not np.isnan(values).all()}


def conventions(
    frame: pd.DataFrame, found: Mapping[str, str], kept: np.ndarray
) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """Columns `params_NAME` and `flops_NAME` of CONVENTIONS, by "params" or "flops" and by NAME; notes.

    A note names each column that looks like one of them and is passed over: of another name, there twice, or not all
    positive numbers.
    """
    there = list(frame.columns)
    columns: dict[str, dict[str, np.ndarray]] = {what: {} for what in CONVENTIONS}
    strange, notes = [], []
    for name in dict.fromkeys(there):
        what, _, way = name.partition("_")
        if what not in CONVENTIONS or not way or (name in found.values() and way not in CONVENTIONS[what]):
            continue
        if way.removesuffix(".1") in CONVENTIONS[what] and way.endswith(".1"):
            continue  # pandas's name for a CSV's second, of which the first tells
        if way not in CONVENTIONS[what]:
            strange.append(name)
        elif there.count(name) > 1 or f"{name}.1" in there:
            notes.append(
                f"column '{name}' is there twice, so neither is taken for a way of counting: remove one"
            )
        elif not (good := POSITIVE.hold(values := floats(frame, name)[kept])).all():
            notes.append(
                f"column '{name}' is not taken for a way of counting: {int(np.sum(~good))} of its {len(good)} values "
                f"are no positive numbers; mend them"
            )
        else:
            columns[what][way] = values
    if strange:
        ways = ", ".join(f"{what}_{way}" for what, names in CONVENTIONS.items() for way in names)
        notes.append(f"{_listed(strange)}: no known way of counting ({ways}), so no law is fitted under it")
    return columns, notes


def named_as(values: np.ndarray, columns: Mapping[str, np.ndarray]) -> str | None:
    """The convention whose column `values` is."""
    return next((name for name, column in columns.items() if np.array_equal(column, values)), None)


def derive(values: dict[str, np.ndarray], rows: Rows, kept: np.ndarray) -> list[str]:
    """Fill in the one of flops, params, tokens that is missing, by C = 6·N·D; a note for it.

    values: (k,) each, of the (k,) rows `kept`. UserError where that leads out of all limits.
    """
    missing = next((name for name in SIZE_COLUMNS if name not in values), None)
    if missing is None:
        return []
    if missing == "flops":
        values["flops"] = 6 * values["params"] * values["tokens"]
    else:
        other = "tokens" if missing == "params" else "params"
        values[missing] = values["flops"] / (6 * values[other])
    bad = ~POSITIVE.hold(values[missing])
    if bad.any():
        first = int(np.argmax(bad))
        raise UserError(
            f"'{rows.name}' {rows.where(int(kept[first]))}: {missing}, by C = 6*N*D, is {values[missing][first]:.3g}, "
            f"where {POSITIVE.words} is expected; check the units of the other two columns"
        )
    return [f"{missing} derived from C = 6*N*D: not in the table"]


def load_columns(
    source: str | Path, columns: Mapping[str, str], limits: Mapping[str, Limits] | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """(n,) numbers of each column of any table, by the names we give them; notes on how it was read.

    source: as for `fit.load_runs`. columns: ours -> the table's. limits: by our name; positive numbers without.
    UserError names the source, the row and the column of whatever can't be used.
    """
    rows = read_source(source)
    there = list(rows.frame.columns)
    for option, column in columns.items():
        if column not in there:
            raise UserError(
                f"'{rows.name}' has no column '{column}' for --{option}; its columns are {_listed(there)}"
            )
        if there.count(column) > 1 or f"{column}.1" in there:  # pandas's name for a CSV's second
            raise UserError(f"'{rows.name}' has two columns '{column}'; remove or rename one")
    if len(set(columns.values())) < len(columns):
        options = " and ".join(f"--{option}" for option in columns)
        raise UserError(f"{options} name the same column of '{rows.name}'; give each one of its own")
    every, limits = np.arange(len(rows.frame)), limits or {}
    found = {
        option: numbers(rows, column, every, limits.get(option, POSITIVE))
        for option, column in columns.items()
    }
    return found, rows.notes


def load_plans(
    source: str | Path, mapped: Mapping[str, str]
) -> tuple[list[tuple[str, float, float]], tuple[str, ...]]:
    """(name, params, tokens) of each row of any table; notes on how it was read.

    mapped: ours -> the table's, of params, tokens and name. A row without a name is called by its place. UserError
    names the source, the row and the column of whatever can't be used.
    """
    rows = read_source(source)
    there = list(rows.frame.columns)
    aliases = {"params": NAMES["params"], "tokens": NAMES["tokens"], "name": PLAN_NAMES}
    for ours, theirs in mapped.items():
        if ours not in aliases or theirs not in there:
            raise UserError(
                f"--column {ours}={theirs}: give params, tokens or name, and a column of '{rows.name}': "
                f"{_listed(there)}"
            )
    found = {
        ours: mapped.get(ours) or next(iter(_going_by(names, there)), None) for ours, names in aliases.items()
    }
    lacking = [ours for ours in ("params", "tokens") if found[ours] is None]
    if lacking:
        raise UserError(
            f"'{rows.name}' has no column for {' and '.join(lacking)}; its columns are {_listed(there)}: map one, as "
            f"in --column {lacking[0]}=N"
        )
    used = {ours: theirs for ours, theirs in found.items() if theirs is not None}
    _require_distinct(rows.name, used, there)
    every = np.arange(len(rows.frame))
    params, tokens = (numbers(rows, used[ours], every) for ours in ("params", "tokens"))
    names = [rows.where(int(row)) for row in every]
    if "name" in used:
        given = texts(rows.frame[used["name"]])
        names = [where if given.isna().iloc[row] else str(given.iloc[row]) for row, where in enumerate(names)]
    return list(zip(names, params.tolist(), tokens.tolist(), strict=True)), rows.notes


def _listed(names: list[str]) -> str:
    """A W&B project may have hundreds."""
    shown = [one_line(name) for name in names[:MOST_NAMES]]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more


def _shown(value: Any) -> str:
    text = one_line(str(value))[:MOST_CHARACTERS]
    if text in ("nan", "None", "NaT", "<NA>"):
        return "empty"
    return f"'{text}'" if isinstance(value, str) else text
