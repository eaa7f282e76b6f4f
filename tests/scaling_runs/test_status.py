"""How a sweep stands, by its store alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scaling_runs.__main__ import main
from scaling_runs.plan import Plan
from scaling_runs.status import status_of
from scaling_runs.store import Store
from scaling_runs.sweep_record import read_plan, write_plan
from tests.configs import ROOT
from tests.scaling_runs.test_launching import finish


@pytest.fixture
def recorded(store: Store, plan: Plan) -> Store:
    """The store of a sweep that was planned: each cell takes 10 seconds."""
    write_plan(store.sweep_folder(plan.name), plan.cells, {cell.cell_id: 10.0 for cell in plan.cells})
    return store


def test_a_plan_is_read_as_it_was_written(recorded: Store, plan: Plan) -> None:
    """Truth: the cells themselves."""
    found = read_plan(recorded.sweep_folder(plan.name))
    assert [(one.cell_id, one.flops, one.spec_flops) for one in found] == [
        (cell.cell_id, cell.trained_flops, cell.spec.flops) for cell in plan.cells
    ]
    assert {one.gpus for one in found} == {0}
    folder = recorded.sweep_folder("on-gpus")
    write_plan(folder, plan.cells[:1], {plan.cells[0].cell_id: 1.0}, {plan.cells[0].cell_id: 8})
    assert [(one.seconds, one.gpus) for one in read_plan(folder)] == [(1.0, 8)]


def test_each_cell_counts_as_it_stands(recorded: Store, plan: Plan) -> None:
    """Truth: one cell of each kind; half of the running one's FLOPs are done, by its second attempt."""
    done, failed, running, cut_off, *waiting = plan.cells
    finish(recorded, done)
    recorded.cell(failed.cell_id).write_failure("the loss is nan\nand more")
    for cell, share in ((running, 0.5), (cut_off, 0.25)):
        folder = recorded.cell(cell.cell_id)
        folder.begin_attempt()
        (folder.path / "progress.json").write_text(f'{{"step": 1, "flops": {cell.spec.flops * share}}}')
    for step in (0, 1000):
        recorded.cell(running.cell_id).begin_training(step, from_trunk=False)
    with recorded.cell(running.cell_id).lock():
        text = status_of(plan.name, str(recorded.root))
    first, of_running, of_failed = text.splitlines()
    spent = done.trained_flops + 0.5 * running.spec.flops + 0.25 * cut_off.spec.flops
    assert first.startswith(
        f"{plan.name}: {len(plan.cells)} cells: 1 finished, 1 running, {1 + len(waiting)} waiting, 1 failed; "
        f"{spent / plan.flops:.0%} of {plan.flops:.3g} FLOPs; about "
    )
    assert of_running.endswith(f"cell {running.cell_id}: 50%, attempt 2, from step 1,000")
    assert of_failed.endswith(f"cell {failed.cell_id}: the loss is nan")


def test_time_left_is_that_of_what_is_not_done_by_as_many_as_run(recorded: Store, plan: Plan) -> None:
    """Truth: ten seconds a cell."""
    finish(recorded, plan.cells[0])
    left_s = 10 * (len(plan.cells) - 1)
    minutes, seconds = divmod(left_s, 60)
    told = f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
    assert f"about {told} left, 1 at once" in status_of(plan.name, str(recorded.root))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no verb is given; choose one of status, watch, prepare, bench"),
        (["stats", "x"], "'stats' is no verb"),
        (["status"], "no sweep is named"),
        (["status", "x", "y"], "'y' can't be read"),
        (["status", "x", "store="], "'store=' can't be read"),
        (
            ["status", "nothing", "store={store}"],
            "sweep 'nothing' is not in the store '{store}', which has isoflop_tiny;",
        ),
    ],
)
def test_a_wrong_question_is_told_in_one_sentence(
    recorded: Store, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    given = [argument.format(store=recorded.root) for argument in arguments]
    assert main(given) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {said.format(store=recorded.root)}")
    assert err.count("\n") == 1


def test_it_answers_without_torch(recorded: Store, plan: Plan) -> None:
    """Truth: the modules that Python has loaded at the end."""
    code = (
        "import sys\n"
        "from scaling_runs.__main__ import main\n"
        f"assert main(['status', {plan.name!r}, 'store={recorded.root}']) == 0\n"
        "assert not {'torch', 'hydra', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
