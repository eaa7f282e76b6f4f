"""An audit in words and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from scaling_runs.audit.effect import MAX_MOVE, Effect, Move, Noise
from scaling_runs.audit.report import BEST, audit_to_dict, render_audit
from scaling_runs.audit.study import Study
from scaling_runs.cell import Cell
from scaling_runs.numbers import count
from tests.scaling_runs.audit.conftest import trained


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """lr x2 is better for the larger models of the top budget alone."""

    def change(cell: Cell) -> float:
        return -0.03 if cell.budget > 1e12 and cell.params > 1e5 else 0.02

    return trained(tmp_path_factory.mktemp("audit"), {"lr x2": change}, noise=1e-4).study()


def with_moves(study: Study, moves: dict[str, tuple[Move, Move]]) -> Study:
    """Its effects with these moves of tokens and params, and without the best."""
    effects = {
        name: dataclasses.replace(
            study.effects[name], moves=dict(zip(("tokens", "params"), pair, strict=True))
        )
        for name, pair in moves.items()
    }
    return dataclasses.replace(study, effects=effects, best=None)


def sure(value: float) -> Move:
    return Move(value, 1e-4, 9)


def unsure(value: float, half_width: float) -> Move:
    return Move(value, half_width / 1.959964, math.inf)


def test_the_table_and_the_json_give_the_same_numbers(study: Study) -> None:
    """Truth: the study itself, to the digits that are printed."""
    text, found = render_audit(study), audit_to_dict(study)
    rows = {
        line[:10].strip(): line[10:].split() for line in text.splitlines() if "±" in line and ":" not in line
    }
    effects: dict[str, Effect] = {**study.effects}
    assert study.best is not None
    effects[BEST] = study.best
    written = {one["name"]: one for one in found["perturbations"]} | {BEST: found["best_tried"]}
    assert list(rows) == list(effects)
    for name, effect in effects.items():
        move = effect.moves["tokens"]
        assert rows[name][:4] == [f"{nats:+.4f}" for nats in effect.changes.ravel()]
        assert rows[name][4:6] == [f"{factor:.2f}" for factor in np.exp(effect.shifts["params"])]
        assert rows[name][6:8] == [f"{move.value:+.3f}", f"±{move.half_width:.3f}"]
        assert written[name]["loss_changes"] == effect.changes.tolist()
        assert written[name]["tokens"]["exponent_move"] == move.value
        assert written[name]["tokens"]["ci95"] == move.ci95
        assert written[name]["tokens"]["verdict"] == move.verdict
    json.dumps(found, allow_nan=False)


def test_a_setting_that_is_better_at_one_end_only_is_named_there(study: Study) -> None:
    """Truth: how the losses were made: the rule is best at three of four places."""
    text = render_audit(study)
    sizes = [count(size) for budget in study.audit.budgets for size in study.audit.sizes(budget)]
    assert (
        f"best tried at 1.8e+11 FLOPs: the rule at {sizes[0]} params, the rule at {sizes[1]} params\n" in text
    )
    gain = r"lr x2 \(0.0[23]\d\d below the rule\)"
    assert re.search(
        rf"best tried at 1.3e\+12 FLOPs: the rule at {sizes[2]} params, {gain} at {sizes[3]}", text
    )
    assert audit_to_dict(study)["best_tried"]["settings"] == [["rule", "rule"], ["rule", "lr x2"]]


def test_a_gain_that_noise_could_give_is_said_to_be_within_it(study: Study) -> None:
    """Truth: 0.03 nats are less than Student's 2.3 times 0.03·√2 of a difference."""
    noisy = dataclasses.replace(study, noise=Noise(0.03, 9, "seeds"))
    assert re.search(r"lr x2 \(0.0[23]\d\d below the rule, within the noise\) at", render_audit(noisy))


def test_what_is_robust_what_is_not_and_what_is_hidden_are_three_sentences(study: Study) -> None:
    """Truth: intervals inside ±0.02, outside it and across its edge; 0.06 is three times 0.02, so nine times the
    seeds."""
    text = render_audit(
        with_moves(
            study,
            {
                "lr x2": (sure(0.001), sure(-0.001)),
                "lr /2": (sure(0.05), sure(-0.01)),
                "batch x2": (unsure(0.01, 0.06), unsure(0.02, 0.05)),
            },
        )
    )
    assert f"  robust: lr x2, lr /2 (α of params): α moves by {MAX_MOVE} at most, noise and all\n" in text
    assert f"  NOT robust: lr /2 (α of tokens): α moves by more than {MAX_MOVE}" in text
    assert "  not told: batch x2: the noise of the runs leaves ±0.050 to ±0.060" in text
    assert "; 9x the seeds would leave ±0.02" in text


def test_where_no_seeds_would_do_none_are_asked_for(study: Study) -> None:
    """Truth: ±0.5 would take 625 times the seeds."""
    text = render_audit(with_moves(study, {"lr x2": (unsure(0, 0.5), unsure(0, 0.5))}))
    assert "no number of seeds is a remedy" in text


def test_without_known_noise_nothing_is_called_robust(study: Study) -> None:
    """Truth: a move without an error is neither inside nor outside a threshold."""
    bare = Move(0.0, None, math.inf)
    text = render_audit(dataclasses.replace(with_moves(study, {"lr x2": (bare, bare)}), noise=None))
    assert "not told: lr x2: the noise of a run is not known; give sweep.seeds=[2] or more sizes" in text
    assert "robust:" not in text


def test_what_is_lacking_is_told_and_null(study: Study) -> None:
    """Truth: a study without an effect, a parabola or a noise."""
    empty = dataclasses.replace(
        study, effects={"lr x2": dataclasses.replace(study.effects["lr x2"], moves={}, shifts={})}, best=None
    )
    empty = dataclasses.replace(empty, noise=None, lacking=("no parabola",))
    text, found = render_audit(empty), audit_to_dict(empty)
    assert text.endswith("  no parabola")
    assert "best tried" not in text
    assert (found["best_tried"], found["run_noise"]) == (None, None)
    assert found["perturbations"][0]["tokens"] is None


def test_a_line_is_no_wider_than_a_screen_but_for_its_sentences(study: Study) -> None:
    """Truth: 120 columns."""
    table = render_audit(study).split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 120


def test_an_audit_of_a_shared_setting_everywhere_is_robust(tmp_path: Path) -> None:
    """Truth: 0.1 nats more at every size move nothing, and noise of 1e-5 nats hides nothing."""
    text = render_audit(trained(tmp_path, {}, noise=1e-5).study())
    assert "robust: lr x2, lr /2, batch x2, batch /2, best tried: α moves by 0.02 at most" in text
    assert "NOT robust" not in text
    assert "not told" not in text
