"""Runs that are not fitted, each by name with its reason: failed, without a number, or there twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from fit.columns import SIZE_COLUMNS, floats, texts
from fit.sources.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["failed", "incomplete", "repeated", "untuned"]
FINISHED = "finished"
DIVERGED = "diverged or crashed: loss is NaN or missing"
LOGGED_AGAIN = "logged twice: a later row has the same run_id"
IS_MISSING, ARE_MISSING = " is missing", " are missing"
SAME_MODEL = 1.01
"""Rows of one run_id whose sizes differ by more than this factor are different runs."""
SAME_RUN = ("run_id", "seed", "budget", "lr", "batch_tokens")
"""Rows that differ in one of these are different runs."""
STEP_COLUMNS = ("step", "_step", "global_step")
"""Where a table has one of these, a run's rows may be records along its way. `steps` is how many a run had."""


class SetAside(NamedTuple):
    """A run that is not fitted, and why. A tuple, for a table may have a million of them."""

    run_id: str
    reason: str
    kind: Kind = "failed"
    """`incomplete`: trained, but its row lacks a number; `repeated`: another row stands for it; `untuned`: another
    learning rate or batch does better."""


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
        finished = status.astype(object).map(lambda text: str(text).strip().casefold() == FINISHED)
        failed = np.flatnonzero(~finished.to_numpy(dtype=bool))
        words = status.iloc[failed].astype(object).where(status.iloc[failed].notna(), "missing")
        why = (
            texts(frame[found["status_reason"]].iloc[failed])
            if "status_reason" in found
            else [None] * len(failed)
        )
        reasons[failed] = [
            " ".join(f"status {text}{f': {reason}' if isinstance(reason, str) and reason else ''}".split())
            for text, reason in zip(words, why, strict=True)
        ]
    missing = {name: frame[found[name]].isna().to_numpy() for name in _needed(found)}
    reasons[(reasons == "") & missing.pop("loss")] = DIVERGED
    for row in np.flatnonzero((reasons == "") & np.any(list(missing.values()), axis=0)):
        names = [name for name, gone in missing.items() if gone[row]]
        reasons[row] = f"{' and '.join(names)}{ARE_MISSING if len(names) > 1 else IS_MISSING}"
    return reasons


def kind_of(reason: str) -> Kind:
    """That of a row of a table."""
    if reason in (LOGGED_AGAIN, repeat_reason(seeded=True), repeat_reason(seeded=False)):
        return "repeated"
    names = reason.removesuffix(IS_MISSING).removesuffix(ARE_MISSING).split(" and ")
    return "incomplete" if all(name in (*SIZE_COLUMNS, "budget") for name in names) else "failed"


def logged_again(rows: Rows, found: Mapping[str, str]) -> tuple[np.ndarray, list[str]]:
    """(n,) which rows have a later one of the same run_id, seed, budget, learning rate and batch; notes.

    A run_id whose rows differ in size names no single run, as that of a model that is trained at several budgets: its
    rows are all kept, and a note says so. With a budget the size is params; without one flops and tokens too, unless a
    column of steps says that the rows are records along a run.
    """
    nothing = np.zeros(len(rows.frame), dtype=bool)
    if "run_id" not in found:
        return nothing, []
    import pandas as pd

    keys = pd.DataFrame({name: texts(rows.frame[found[name]]) for name in SAME_RUN if name in found})
    shared = (keys.duplicated(keep=False) & keys["run_id"].notna()).to_numpy()
    if not shared.any():
        return nothing, []
    at = np.flatnonzero(shared)
    part = keys.iloc[at]
    by = [part[key] for key in part]
    one_run, differing = np.ones(len(at), dtype=bool), []
    along = "budget" in found or any(name in rows.frame.columns for name in STEP_COLUMNS)
    for name, sizes in _sizes(rows.frame.iloc[at], found, only_params=along).items():
        groups = pd.Series(sizes, index=part.index).groupby(by, dropna=False)
        differs = ((groups.transform("max") / groups.transform("min")) > SAME_MODEL).to_numpy()
        one_run &= ~differs
        differing += [name] if differs.any() else []
    again = part.duplicated(keep="last").to_numpy() & one_run
    nothing[at[again]] = True
    strangers = part["run_id"][~one_run].nunique()
    if not strangers:
        return nothing, []
    listed = " and ".join(filter(None, [", ".join(differing[:-1]), differing[-1]]))
    return nothing, [
        f"{strangers} run_ids name rows that differ in {listed}, which are taken for different runs"
    ]


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


def _sizes(frame: pd.DataFrame, found: Mapping[str, str], only_params: bool) -> dict[str, np.ndarray]:
    """(n,) each, up to a factor that all rows share."""
    there = {name: floats(frame, found[name]) for name in SIZE_COLUMNS if name in found}
    if not only_params:
        return there
    if "params" in there:
        return {"params": there["params"]}
    with np.errstate(all="ignore"):  # nothing is known yet of what the columns hold
        return {"params": there["flops"] / there["tokens"]}
