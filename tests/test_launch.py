"""The command line as a user types it: a sweep, the same again, one cell, dry runs."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.configs import SWEEPS
from tests.contract import assert_in_contract, read_json
from tests.launching import (
    Ran,
    Sweep,
    extended,
    grid,
    launch,
    launch_warm,
    one_cell,
    results,
    side_by_side,
    text_options,
)

CONTRACT = [
    "budget",
    "flops",
    "params",
    "tokens",
    "loss",
    "seed",
    "run_id",
    "bits_per_byte",
    "lr",
    "batch_tokens",
]


def test_a_sweep_ends_with_its_laws_beside_llama3s_and_where_its_files_are(sweep: Sweep) -> None:
    """Truth: what the issue asks the last screen to hold; 0.299 and 0.537 are Llama 3's (arXiv 2407.21783)."""
    assert (sweep.ran.code, sweep.ran.err) == (0, "")
    out = sweep.ran.out
    headings = [
        "6 cells,",
        "Optima,",
        "Laws,",
        "tokens  D*(C) =",
        "params  N*(C) =",
        "0.299·C^0.537",
        "Different here:",
        "files:",
    ]
    places = [out.index(heading) for heading in headings]
    assert places == sorted(places)
    for name in ("runs.csv", "fit.json", "isoflop.png", "summary.txt", "report.html"):
        assert (sweep.folder / name).stat().st_size > 0
        assert str(sweep.folder / name) in out[out.index("files:") :]
    assert (sweep.folder / "isoflop.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_tells_each_cell_in_a_line_where_there_is_no_terminal(sweep: Sweep) -> None:
    """Truth: six cells; each line has its number, loss and the share of FLOPs spent; no bar, no control characters."""
    lines = [line for line in sweep.ran.out.splitlines() if line.startswith("[")]
    told = [
        re.match(r"\[(\d)/6\] \S+ FLOPs, w\d+-d1-h2, seed 0: loss (\S+) in .*% of the FLOPs", line)
        for line in lines
    ]
    assert [match and match.group(1) for match in told] == list("123456")
    assert sorted(match.group(2) for match in told if match) == sorted(
        f"{float(row['loss']):.4f}" for row in sweep.rows()
    )
    assert "\r" not in sweep.ran.out
    assert "\x1b" not in sweep.ran.out


def test_the_run_table_keeps_its_contract(sweep: Sweep) -> None:
    """Truth: contract 1: one row a cell, budgets ascending, sizes ascending in each, and what was planned was spent."""
    table = sweep.rows()
    columns = list(table[0])
    assert (columns[0], columns[-1]) == ("budget", "status_reason")
    assert set(CONTRACT) <= set(columns)
    order = [(float(row["budget"]), int(row["params"])) for row in table]
    assert order == sorted(order)
    assert {budget for budget, _ in order} == {5e8, 1e9}
    for row in table:
        assert row["status"] == "finished"
        assert float(row["flops"]) == pytest.approx(float(row["budget"]), rel=0.03)
        assert 1.5 < float(row["loss"]) < math.log(257)


def test_the_fit_in_the_file_is_that_of_the_table(sweep: Sweep) -> None:
    """Truth: three points determine a parabola; its vertex by the closed form of divided differences."""
    fit = read_json(sweep.folder / "fit.json")
    assert_in_contract(fit)
    for budget in fit["budgets"]:
        runs = [row for row in sweep.rows() if float(row["budget"]) == budget["flops"]]
        x1, x2, x3 = (math.log(float(row["params"])) for row in runs)
        y1, y2, y3 = (float(row["loss"]) for row in runs)
        first, second = (y2 - y1) / (x2 - x1), (y3 - y2) / (x3 - x2)
        vertex = (x1 + x2) / 2 - first / (2 * (second - first) / (x3 - x1))
        assert budget["params"]["optimum"] == pytest.approx(math.exp(vertex), rel=1e-6)


@dataclass(frozen=True)
class Further:
    """What was run beside the small sweep, in stores of their own."""

    another: Sweep
    again: Sweep
    one_cell: Sweep


@pytest.fixture(scope="module")
def further(base: Path, sweep: Sweep) -> Further:
    """A sweep of one budget more; the very same command, in a copy of the store; one cell by itself."""
    same, alone = base / "again", base / "one-cell"
    shutil.copytree(sweep.store, same)
    another, again, cell = side_by_side(
        partial(extended, base),
        lambda: Sweep(launch_warm(*grid(base, same)), same),
        lambda: Sweep(launch_warm(*one_cell(base, alone)), alone),
    )
    return Further(another, again, cell)


@pytest.fixture
def another(further: Further) -> Sweep:
    return further.another


@pytest.fixture
def again(further: Further) -> Sweep:
    return further.again


def _row(sweep: Sweep, budget: str, width: str) -> dict[str, str]:
    return next(row for row in sweep.rows() if (row["budget"], row["width"]) == (budget, width))


def test_a_second_run_trains_nothing_and_tells_the_same(again: Sweep, sweep: Sweep) -> None:
    """Truth: the times of the first run's results, its table, its report."""
    assert (again.ran.code, again.ran.err) == (0, "")
    assert results(again.store) == results(sweep.store)
    assert again.rows() == sweep.rows()
    report = slice(sweep.ran.out.index("Optima,"), sweep.ran.out.index("These numbers"))
    assert sweep.ran.out[report] in again.ran.out
    assert not [line for line in again.ran.out.splitlines() if line.startswith("[")]


def test_another_budget_reuses_the_cells_that_still_apply(another: Sweep, sweep: Sweep) -> None:
    """Truth: the old cells' files are untouched and their rows the same; three cells are new."""
    assert (another.ran.code, another.ran.err) == (0, "")
    before, after = results(sweep.store), results(another.store)
    assert len(after) == 9
    assert {cell: after[cell] for cell in before} == before
    assert [row for row in another.rows() if row["budget"] != "700000000.0"] == sweep.rows()
    assert len([line for line in another.ran.out.splitlines() if line.startswith("[")]) == 3


def test_one_cell_by_itself_is_the_sweeps_cell(further: Further, sweep: Sweep) -> None:
    """Truth: the sweep's own row of that budget, width and seed: same id, same loss to the last bit."""
    ran, store = further.one_cell.ran, further.one_cell.store
    assert (ran.code, ran.err) == (0, "")
    row = _row(sweep, "1000000000.0", "16")
    result = json.loads((store / "cells" / row["run_id"] / "result.json").read_text())
    assert result["loss"] == float(row["loss"])
    assert f"loss {result['loss']:.4f} nats/token" in ran.out
    assert str(store / "cells" / row["run_id"]) in ran.out
    assert set(results(store)) == {row["run_id"]}


def test_wandbs_logs_are_where_the_sync_command_says(another: Sweep) -> None:
    """Truth: a run for each of the three cells that were trained, and one for the sweep."""
    command = next(line for line in another.ran.out.splitlines() if "wandb sync" in line)
    pattern = Path(command.split("wandb sync ")[1])
    assert len(list(pattern.parent.glob(pattern.name))) == 4


@pytest.fixture(scope="module")
def planned(base: Path) -> dict[str, Ran]:
    """A dry run of each sweep in an empty folder, with a proxy for all the network that must hear of nobody."""

    def dry_run(name: str, proxy: str) -> Ran:
        folder = base / f"dry-{name}"
        folder.mkdir()
        env = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"), proxy)
        if name in ("isoflop_small", "isoflop_tiny"):
            ran = launch_warm(f"sweep={name}", "dry_run=true", *text_options(base), cwd=folder, **env)
        else:  # its data is on the hub, and libraries that are loaded already are offline
            ran = launch(f"sweep={name}", "dry_run=true", cwd=folder, HF_HUB_OFFLINE="0", **env)
        assert list(folder.iterdir()) == [], "a dry run writes nothing"
        return ran

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        ran = side_by_side(*(partial(dry_run, name, proxy) for name in SWEEPS))
        with pytest.raises(BlockingIOError):
            server.accept()
    return dict(zip(SWEEPS, ran, strict=True))


@pytest.mark.parametrize("name", SWEEPS)
def test_a_dry_run_of_every_sweep_prints_its_plan_anywhere(planned: dict[str, Ran], name: str) -> None:
    """Truth: a line a cell, as many as the total says. The large sweeps' data sets are not on this machine.

    That nothing is written and no network is tried is checked where they run.
    """
    ran = planned[name]
    assert (ran.code, ran.err) == (0, "")
    total = re.search(r"^(\d+) cells, .* FLOPs .*, about ", ran.out, re.MULTILINE)
    cells = re.findall(r"^ +w\d+-d\d+-h\d+ .* [0-9a-f]{12}$", ran.out, re.MULTILINE)
    assert total
    assert len(cells) == int(total.group(1)) > 10
    assert re.search(r"^\d+ problems? with this plan", ran.out, re.MULTILINE)


def test_the_table_reads_as_csv_everywhere(sweep: Sweep) -> None:
    """Truth: pandas and the standard library agree on it."""
    import pandas as pd

    frame = pd.read_csv(sweep.folder / "runs.csv")
    assert [float(row["loss"]) for row in sweep.rows()] == frame["loss"].tolist()
