"""Any run table in: read, its columns named, runs that can't be fitted set aside, the rest as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fit.aside import (
    LOGGED_AGAIN,
    SetAside,
    by_reason,
    kind_of,
    logged_again,
    repeat_reason,
    repeats,
    unusable,
)
from fit.budgets import cluster_budgets, require_budgets
from fit.columns import (
    SIZE_COLUMNS,
    conventions,
    derive,
    find_columns,
    named_as,
    optional_columns,
    other_candidates,
    run_numbers,
    texts,
)
from fit.errors import UserError
from fit.sources import SourceOptions, read_source
from fit.sources.rows import Rows
from fit.text import one_line

MOST_REASONS = 3
"""That an error gives."""


@dataclass(frozen=True)
class RunTable:
    """Contract 1 as arrays, one entry a run that can be fitted."""

    source: str
    budget: np.ndarray
    """Nominal FLOPs; runs of one budget share the very same number."""
    flops: np.ndarray
    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    """Nats a token."""
    run_id: np.ndarray
    params_under: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Params under each convention that the table has a `params_*` column for, by its name: all, no_embedding, body."""
    params_convention: str | None = None
    """Which of these `params` is; None where the table does not say."""
    flops_convention: str | None = None
    """Which of the `flops_*` columns `flops` is: exact, 6nd; None where the table does not say."""
    notes: tuple[str, ...] = ()
    """What was derived or found rather than read."""
    set_aside: tuple[SetAside, ...] = ()
    flops_under: Mapping[str, np.ndarray] = field(default_factory=dict)
    """FLOPs under each convention that the table has a `flops_*` column for, by its name."""
    optional: Mapping[str, np.ndarray] = field(default_factory=dict)
    """`seed`, `unique_tokens`, `lr`, `batch_tokens`, `vocab_size`, where they are there; NaN for what is missing."""

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def budgets(self) -> np.ndarray:
        """(k,) the nominal budgets, ascending."""
        return np.unique(self.budget)


def load_runs(
    source: str | Path, columns: Mapping[str, str] | None = None, options: SourceOptions | None = None
) -> RunTable:
    """The runs of a CSV or parquet file or a sweep's folder, here or at a URL, of wandb:ENTITY/PROJECT or of
    hf:OWNER/DATASET[:CONFIG].

    `columns` maps `flops`, `params`, `tokens`, `loss`, `budget` and others of `fit.columns` to a column of another
    name. One of the first three may be missing: it follows from C = 6·N·D (Kaplan et al., arXiv 2001.08361, eq. 2.1),
    and a note says so. Without a `budget` column, budgets are the clusters of log FLOPs. Columns `params_*` and
    `flops_*` of the known conventions are read where they are there.

    Set aside, by name: rows whose `status` is not "finished"; without a loss or a size; of a run_id that a later row
    has too; equal to an earlier one. UserError names the source, the row and the column of whatever else can't be used.
    """
    mapped = columns or {}
    rows = read_source(source, options)
    found = find_columns(rows, mapped)
    again, notes = logged_again(rows, found)
    reasons = unusable(rows, found)
    reasons[again] = LOGGED_AGAIN
    kept = np.flatnonzero(reasons == "")
    _require_some(rows, kept, reasons)
    values = run_numbers(rows, found, kept)
    notes = (
        list(rows.notes) + derive(values, rows, kept) + other_candidates(rows.frame, found, mapped) + notes
    )
    seed = rows.frame[found["seed"]].iloc[kept] if "seed" in found else None
    repeated = repeats(values, seed)
    reasons[kept[repeated]] = repeat_reason(seeded=seed is not None)
    values = {name: column[~repeated] for name, column in values.items()}
    kept = kept[~repeated]
    if "budget" not in values:
        values["budget"] = cluster_budgets(values["flops"])
        require_budgets(values["budget"], values["flops"], rows.name)
        notes.append(
            f"no budget column: {len(np.unique(values['budget']))} budgets found as clusters of log FLOPs"
        )
    under, passed_over = conventions(rows.frame, found, kept)
    names = _run_ids(rows, found)
    return RunTable(
        source=one_line(str(source)),
        **{name: values[name] for name in ("budget", *SIZE_COLUMNS, "loss")},
        run_id=names[kept].astype(str),
        params_under=under["params"],
        params_convention=named_as(values["params"], under["params"]),
        flops_convention=named_as(values["flops"], under["flops"]),
        notes=(*notes, *passed_over),
        set_aside=_set_aside(names, reasons),
        flops_under=under["flops"],
        optional=optional_columns(rows.frame, found, kept),
    )


def _run_ids(rows: Rows, found: Mapping[str, str]) -> np.ndarray:
    """(n,) what each row is called: by its run_id, and where it has none by its place."""
    if "run_id" not in found:
        return np.array([rows.where(i) for i in range(len(rows.frame))], dtype=object)
    ids = texts(rows.frame[found["run_id"]])
    names = np.asarray(ids.astype(str).to_numpy(dtype=object))
    for i in np.flatnonzero(ids.isna().to_numpy()):
        names[i] = rows.where(int(i))
    return names


def _set_aside(names: np.ndarray, reasons: np.ndarray) -> tuple[SetAside, ...]:
    gone = np.flatnonzero(reasons != "")
    why = reasons[gone]  # objects: as an array of text each would take the room of the longest
    kinds = {reason: kind_of(reason) for reason in set(why.tolist())}
    return tuple(map(SetAside, names[gone].tolist(), why.tolist(), map(kinds.__getitem__, why.tolist())))


def _require_some(rows: Rows, kept: np.ndarray, reasons: Sequence[str] | np.ndarray) -> None:
    if len(kept):
        return
    counts = {reason: len(items) for reason, items in by_reason(SetAside("", r) for r in reasons).items()}
    most = sorted(counts, key=lambda reason: -counts[reason])[:MOST_REASONS]
    said = "; ".join(f"{counts[reason]} of them: {reason}" for reason in most)
    more = f"; and {len(counts) - len(most)} other reasons" if len(counts) > len(most) else ""
    raise UserError(
        f"'{rows.name}' has no finished runs that can be fitted: its {len(rows.frame)} rows are set aside "
        f"({said}{more}); train them again, or map status and loss to other columns with --column"
    )
