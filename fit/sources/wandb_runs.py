"""Runs of a W&B project, through the public API; the only module of `fit` that imports wandb."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fit.errors import UserError
from fit.sources.rows import Rows

if TYPE_CHECKING:
    from wandb.apis.public import Run

PAGE = 500
"""Runs a request."""
NOT_A_NUMBER = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""How W&B writes what JSON has no sign for."""


def read_wandb(project: str, filters: Mapping[str, Any] | None = None) -> Rows:
    """A row a run of `project`, ENTITY/PROJECT: its config and, of the same name, before it its summary.

    Nested keys are joined by dots, lists and media are left out. `run_id` is the run's name and id, `status` its state:
    finished, crashed, failed, killed, running and so on. The server and the key are those of `wandb login`, or of
    WANDB_BASE_URL and WANDB_API_KEY. UserError where the project can't be read or has no runs.
    """
    import pandas as pd

    source = f"wandb:{project}"
    parts = project.split("/")
    if len(parts) != 2 or not all(parts):
        raise UserError(f"'{source}' is not of the form wandb:ENTITY/PROJECT, such as wandb:acme/isoflops")
    rows = [_row(run) for run in _runs(source, project, filters or {})]
    if not rows:
        which = "no runs that match --wandb-filter" if filters else "no runs"
        raise UserError(f"'{source}' has {which}; a run table has a row a run")
    return Rows(source, pd.DataFrame(rows), "run")


def _runs(source: str, project: str, filters: Mapping[str, Any]) -> list[Run]:
    import wandb

    try:
        api = wandb.Api()
    except Exception as error:  # no key, a key that the server refuses, a server that does not answer
        raise UserError(
            f"W&B did not let us read '{source}' ({_first_line(error)}); log in with `wandb login` or set "
            f"WANDB_API_KEY, and check the connection and WANDB_BASE_URL"
        ) from None
    try:
        return list(api.runs(project, filters=dict(filters), per_page=PAGE, lazy=False))
    except ValueError:  # W&B's own, for a project that the server does not know
        raise UserError(
            f"W&B knows no project '{project}', or keeps it from you; give the wandb:ENTITY/PROJECT of "
            f"one that you can read"
        ) from None
    except Exception as error:  # a filter that the server does not take, a connection that breaks
        raise UserError(
            f"W&B did not list the runs of '{source}' ({_first_line(error)}); check --wandb-filter and the connection"
        ) from None


def _row(run: Run) -> dict[str, Any]:
    values = dict(_flat(run.config)) | dict(_flat(run.summary_metrics))
    return values | {"run_id": f"{run.name} ({run.id})", "status": run.state}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            yield f"{prefix}{key}", NOT_A_NUMBER.get(value, value)
        elif value is None or isinstance(value, (bool, int, float)):
            yield f"{prefix}{key}", value


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
