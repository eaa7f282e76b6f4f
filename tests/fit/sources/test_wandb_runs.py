"""Runs of a W&B project through W&B's own client, from a server that answers as the real one does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fit.cli import main
from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.sources import SourceOptions
from fit.table import load_runs
from tests.fit.sources.wandb_server import STRANGER, Recorded, node, serving
from tests.simulated import TOKENS, parabolas

RUNS = parabolas(budgets=[1e18, 1e19, 1e20], sizes=5)
COLUMNS = {"loss": "val/loss", "params": "model.params"}


def nodes() -> list[dict[str, Any]]:
    """The simulated runs, then one that crashed, one whose loss is NaN, one without a loss, one that still runs."""
    finished = [
        node(
            i,
            {"model": {"params": RUNS.params[i], "layers": [1, 2]}, "seed": 7, "loss": 99.0},
            {"flops": RUNS.flops[i], "tokens": RUNS.tokens[i], "val/loss": RUNS.loss[i], "loss": 1.0},
        )
        for i in range(len(RUNS))
    ]
    config, sizes = {"model": {"params": 5}}, {"flops": 1e18, "tokens": 1e9}
    return [
        *finished,
        node(97, config, sizes | {"val/loss": 3.0}, "crashed"),
        node(98, config, sizes | {"val/loss": "NaN"}),
        node(99, config, sizes),
        node(100, config, sizes | {"val/loss": 3.0}, "running"),
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[Recorded]:
    words = node(0, {"N": "big"}, {"tokens": 1e9, "val_loss": 3.0})
    endless = node(1, {"N": 7}, {"tokens": "Infinity", "val_loss": 3.0})
    ours = [
        node(i, {"seed": i}, {"flops": 6e18, "tokens": 1e9, "val_loss": 3.0, "train_loss": 2}) for i in (1, 2)
    ]
    projects = {"acme/isoflops": nodes(), "acme/empty": [], "acme/bad": [words], "acme/endless": [endless]}
    with serving(Recorded(projects | {"acme/ours": ours})) as recorded:
        yield recorded


@pytest.fixture
def wandb_project(server: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Recorded]:
    """The server is the one that W&B's client is logged in to."""
    server.filters.clear()
    for name, value in {
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": "a" * 40,
        "WANDB_DIR": str(tmp_path),
        "WANDB_SILENT": "true",
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / "netrc"),
    }.items():
        monkeypatch.setenv(name, value)
    import wandb

    wandb.teardown()  # what an earlier test was logged in to
    yield server
    wandb.teardown()


def test_a_projects_runs_are_read_page_by_page(wandb_project: Recorded) -> None:
    """Truth: the runs that the server holds, to the last bit; every one is fitted or set aside by name."""
    runs = load_runs("wandb:acme/isoflops", COLUMNS)
    for name in ("flops", "params", "tokens", "loss"):
        assert np.array_equal(getattr(runs, name), getattr(RUNS, name))
    assert list(runs.run_id[:2]) == ["eager-fox-0 (id0)", "eager-fox-1 (id1)"]
    assert list(runs.optional["seed"]) == [7] * len(RUNS)
    assert [(item.run_id, item.reason) for item in runs.set_aside] == [
        ("eager-fox-97 (id97)", "status crashed"),
        ("eager-fox-98 (id98)", "diverged or crashed: loss is NaN or missing"),
        ("eager-fox-99 (id99)", "diverged or crashed: loss is NaN or missing"),
        ("eager-fox-100 (id100)", "status running"),
    ]
    assert len(wandb_project.filters) == 10
    law = fit_isoflop(runs, resamples=0).laws["tokens"]
    assert law is not None
    assert law.exponent == pytest.approx(TOKENS.exponent, abs=1e-6)


def test_a_filter_is_the_servers_to_apply(wandb_project: Recorded) -> None:
    states = {"state": {"$in": ["finished"]}}
    runs = load_runs("wandb:acme/isoflops", COLUMNS, SourceOptions(wandb_filter=states))
    assert [item.run_id for item in runs.set_aside] == ["eager-fox-98 (id98)", "eager-fox-99 (id99)"]
    assert all(asked == states for asked in wandb_project.filters)


def test_a_name_is_looked_up_in_the_summary_then_in_the_config(wandb_project: Recorded) -> None:
    """Truth: the summary's loss is 1, the config's 99."""
    runs = load_runs("wandb:acme/isoflops", {"params": "model.params", "loss": "loss"})
    assert set(runs.loss) == {1.0}


def test_runs_that_this_project_tracks_need_no_mapping(wandb_project: Recorded) -> None:
    """Truth: the columns that a cell's records have; params follow from C = 6·N·D."""
    runs = load_runs("wandb:acme/ours")
    assert list(runs.params) == [1e9, 1e9]
    assert list(runs.optional["seed"]) == [1, 2]


def test_the_command_line_reads_a_project(
    wandb_project: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the simulated law."""
    options = ["--column", "loss=val/loss", "--column", "params=model.params"]
    assert main(["isoflop", "wandb:acme/isoflops", *options, "--wandb-filter", "{}"]) == 0
    out = capsys.readouterr().out
    assert "D*(C) = 0.299·C^0.537" in out
    assert "eager-fox-97 (id97): status crashed" in out


@pytest.mark.parametrize(
    ("project", "filters", "message"),
    [
        ("acme", None, "'wandb:acme' is not of the form wandb:ENTITY/PROJECT"),
        ("acme/a/b", None, "not of the form"),
        ("acme/", None, "not of the form"),
        ("acme/none", None, "W&B knows no project 'acme/none'"),
        ("acme/empty", None, "'wandb:acme/empty' has no runs;"),
        ("acme/isoflops", {"state": {"$in": ["pending"]}}, "has no runs that match --wandb-filter"),
        ("acme/isoflops", {"$bad": 1}, r"did not list the runs of .*unknown operator \$bad"),
        ("acme/bad", None, r"'wandb:acme/bad' run eager-fox-0 \(id0\): N is 'big', where a positive number"),
        ("acme/endless", None, r"run eager-fox-1 \(id1\): tokens is inf"),
        ("acme/isoflops", {"state": {"$in": ["crashed"]}}, "1 of them: status crashed"),
    ],
)
def test_a_project_that_cannot_be_fitted_is_refused_in_one_sentence(
    wandb_project: Recorded, project: str, filters: dict[str, Any] | None, message: str
) -> None:
    columns = COLUMNS if project == "acme/isoflops" else {}
    with pytest.raises(UserError, match=message) as caught:
        load_runs(f"wandb:{project}", columns, SourceOptions(wandb_filter=filters))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "No API key configured"),
        ("short", "API key must have 40"),
        (STRANGER, "Failed to verify credentials .*user is not logged in"),
    ],
)
def test_without_a_login_that_the_server_takes_the_way_in_is_said(
    wandb_project: Recorded, monkeypatch: pytest.MonkeyPatch, key: str, message: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(
        UserError, match=rf"did not let us read 'wandb:acme/isoflops' \(.*{message}"
    ) as caught:
        load_runs("wandb:acme/isoflops", COLUMNS)
    assert "wandb login" in str(caught.value)
    assert "\n" not in str(caught.value)
