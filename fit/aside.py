"""Runs that are not fitted, each by name with its reason: failed, without a number, or there twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from fit.columns import SIZE_COLUMNS, floats, texts
from fit.sources.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["failed", "repeated", "untuned"]
FINISHED = "finished"
DIVERGED = "diverged or crashed: loss is NaN or missing"
LOGGED_AGAIN = "logged twice: a later row has the same run_id"
SAME_MODEL = 1.01
"""Rows of one run_id whose params differ by more than this factor are different runs."""


class SetAside(NamedTuple):
    """A run that is not fitted, and why. A tuple, for a table may have a million of them."""

    run_id: str
    reason: str
    kind: Kind = "failed"
    """`repeated`: another row stands for it; `untuned`: another learning rate or batch does better."""


def by_reason(set_aside: Iterable[SetAside]) -> dict[str, list[SetAside]]:
    """Grouped, the reasons in the order in which they come first."""
    groups: dict[str, list[SetAside]] = {}
    for item in set_aside:
        groups.setdefault(item.reason, []).append(item)
    return groups


def unusable(rows: Rows, found: Mapping[str, str]) -> np.ndarray:
    """(n,) why each row has nothing to fit, as text; empty where it has: its status, its loss, its sizes."""
    frame = rows.frame
    reasons = np.full(len(frame), "", dtype=object)
    if "status" in found:
        status = texts(frame[found["status"]])
        failed = np.flatnonzero((status != FINISHED).fillna(True).to_numpy(dtype=bool))
        words = status.iloc[failed].astype(object).where(status.iloc[failed].notna(), "missing")
        why = frame[found["status_reason"]].iloc[failed] if "status_reason" in found else [None] * len(failed)
        reasons[failed] = [
            " ".join(f"status {text}{f': {reason}' if isinstance(reason, str) and reason else ''}".split())
            for text, reason in zip(words, why, strict=True)
        ]
    missing = {name: frame[found[name]].isna().to_numpy() for name in _needed(found)}
    reasons[(reasons == "") & missing.pop("loss")] = DIVERGED
    for row in np.flatnonzero((reasons == "") & np.any(list(missing.values()), axis=0)):
        names = [name for name, gone in missing.items() if gone[row]]
        reasons[row] = f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} missing"
    return reasons


def logged_again(rows: Rows, found: Mapping[str, str]) -> tuple[np.ndarray, list[str]]:
    """(n,) which rows have a later one of the same run_id, seed and budget; notes.

    A run_id whose rows differ in params names no single run: its rows are all kept, and a note says so.
    """
    nothing = np.zeros(len(rows.frame), dtype=bool)
    if "run_id" not in found:
        return nothing, []
    import pandas as pd

    keys = pd.DataFrame(
        {name: texts(rows.frame[found[name]]) for name in ("run_id", "seed", "budget") if name in found}
    )
    shared = (keys.duplicated(keep=False) & keys["run_id"].notna()).to_numpy()
    if not shared.any():
        return nothing, []
    at = np.flatnonzero(shared)
    part = keys.iloc[at]
    params = pd.Series(_params(rows.frame.iloc[at], found), index=part.index)
    groups = params.groupby([part[key] for key in part], dropna=False)
    one_run = ~((groups.transform("max") / groups.transform("min")) > SAME_MODEL).to_numpy()
    again = part.duplicated(keep="last").to_numpy() & one_run
    nothing[at[again]] = True
    strangers = part["run_id"][~one_run].nunique()
    notes = [f"{strangers} run_ids name rows that differ in params, which are taken for different runs"]
    return nothing, notes if strangers else []


def repeats(values: Mapping[str, np.ndarray], seed: pd.Series | None) -> np.ndarray:
    """(k,) which runs have an earlier one of the same flops, params, tokens, loss and, where it is known, seed."""
    import pandas as pd

    keys = pd.DataFrame({name: values[name] for name in (*SIZE_COLUMNS, "loss")})
    if seed is not None:
        keys["seed"] = texts(seed).to_numpy()
    return np.asarray(keys.duplicated(keep="first").to_numpy())


def repeat_reason(seeded: bool) -> str:
    """What a run is told that `repeats`."""
    return f"duplicate: an earlier run has the same flops, params, tokens{', loss and seed' if seeded else ' and loss'}"


def _needed(found: Mapping[str, str]) -> list[str]:
    return [name for name in ("loss", *SIZE_COLUMNS, "budget") if name in found]


def _params(frame: pd.DataFrame, found: Mapping[str, str]) -> np.ndarray:
    """(n,) up to a factor that all rows share."""
    if "params" in found:
        return floats(frame, found["params"])
    with np.errstate(all="ignore"):  # nothing is known yet of what the columns hold
        return floats(frame, found["flops"]) / floats(frame, found["tokens"])
