"""`python -m fit downstream`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fit.losslaw import fit_loss_law, loss_law_to_dict
from tests.fit.conftest import Run
from tests.simulated import write_csv


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Ten models on a sigmoid from 0.25 to 0.9 about 2.5 nats."""
    loss = np.linspace(2.0, 3.2, 10)
    accuracy = 0.25 + 0.65 / (1 + np.exp(-6 * (2.5 - loss)))
    rows = [{"nll": float(a), "arc": float(b)} for a, b in zip(loss, accuracy, strict=True)]
    return write_csv(tmp_path / "models.csv", rows)


@pytest.fixture
def law(tmp_path: Path) -> Path:
    """L* = 1.7 + 2·(C/1e18)^-0.25"""
    flops = np.geomspace(1e18, 1e21, 6)
    content = {"loss_law": loss_law_to_dict(fit_loss_law(flops, 1.7 + 2 * (flops / 1e18) ** -0.25))}
    (tmp_path / "fit.json").write_text(json.dumps(content))
    return tmp_path / "fit.json"


COLUMNS = ("--loss", "nll", "--accuracy", "arc")


def test_the_sigmoid_is_printed(fit: Run, models: Path) -> None:
    """Truth: the sigmoid."""
    said = fit("downstream", models, *COLUMNS, "--chance", "0.25")
    assert (said.code, said.error) == (0, "")
    assert "from 0.25 (given) at high loss to 0.9 at low loss" in said.out
    assert "its middle at 2.5 nats, its slope 6 a nat" in said.out


def test_a_loss_law_gives_the_accuracy_of_a_budget(fit: Run, models: Path, law: Path) -> None:
    """Truth: by hand: L*(1e22) = 1.9 nats, and 0.25 + 0.65/(1 + exp(-6·0.6)) = 0.883."""
    said = fit("downstream", models, *COLUMNS, "--law", law, "--flops", "1e22")
    assert "1e+22 FLOPs: 1.9000 nats" in said.out
    assert "1e+22 FLOPs: 0.883 [" in said.out
    assert "the loss lies beyond the models" in said.out


def test_models_that_get_nothing_right_count_and_so_does_a_chance_of_nought(fit: Run, tmp_path: Path) -> None:
    """Truth: the floor that is given; two accuracies of 0 at high loss."""
    loss = np.append(np.linspace(2.0, 3.2, 10), [3.3, 3.4])
    accuracy = np.append(0.9 / (1 + np.exp(-6 * (2.5 - loss[:10]))), [0, 0])
    rows = [{"loss": float(a), "accuracy": float(b)} for a, b in zip(loss, accuracy, strict=True)]
    said = fit("downstream", write_csv(tmp_path / "models.csv", rows), "--chance", "0")
    assert (said.code, said.error) == (0, "")
    assert "from 0 (given) at high loss" in said.out


def test_percents_are_told_from_shares_with_their_line(fit: Run, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "models.csv", [{"loss": 2.0, "accuracy": 57.0}])
    said = fit("downstream", path)
    assert said.code == 2
    assert "line 2: accuracy is 57.0, where a share from 0 to 1 (percents divided by 100)" in said.error


def test_a_mistake_is_one_sentence(fit: Run, models: Path, law: Path, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"laws": {}}')
    (tmp_path / "bad.json").write_text(
        '{"loss_law": {"optima": {"flops": [1, 2], "loss": [1, -2], "sd": null}}}'
    )
    for options, message in (
        (["--law", law], "--law is given without --flops"),
        (["--flops", "1e22"], "--flops is given without --law"),
        (["--law", tmp_path / "old.json", "--flops", "1e22"], "holds no loss law"),
        (["--law", tmp_path / "bad.json", "--flops", "1e22"], "can't be used (y holds -2"),
        (["--law", models, "--flops", "1e22"], "is no JSON"),
        (["--chance", "1.5"], "--chance is 1.5"),
        (["--chance", "few"], "'few' is no number"),
        (["--chance", "-0.1"], "'-0.1' must be 0 or more"),
    ):
        said = fit("downstream", models, *COLUMNS, *options)
        assert (said.code, said.out, said.error.count("\n")) == (2, "", 1)
        assert message in said.error
