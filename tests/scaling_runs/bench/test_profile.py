"""Profiles on disk, and side by side."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fit.errors import UserError
from scaling_runs.__main__ import main
from scaling_runs.bench.compare import compared
from scaling_runs.bench.profile import Profile, named_profile, read_profile, write_profile
from scaling_runs.numbers import count
from tests.scaling_runs.bench.profiles import PEAK_FLOPS_PER_S, profile_of, row_of, setting_of


@pytest.fixture
def profile() -> Profile:
    rows = [row_of(setting_of(width)) for width in (16, 32)]
    return profile_of(rows, start_s=3.0, beside_s=0.4, left_out=("joules: none",))


def test_a_profile_is_read_as_it_was_written(profile: Profile, tmp_path: Path) -> None:
    write_profile(tmp_path / "a.json", profile)
    assert read_profile(tmp_path / "a.json") == profile
    assert named_profile(f"{tmp_path}/a.json") == profile
    assert named_profile("h100") is named_profile(None) is None


def test_a_row_measured_again_takes_the_place_of_the_first(profile: Profile) -> None:
    again = row_of(setting_of(16), 2e10)
    assert set(profile.with_row(again).rows) == {again, profile.rows[1]}


def test_speeds_follow_from_the_seconds_of_a_step() -> None:
    """Truth: tokens and FLOPs by hand: 2 devices, 512 tokens each, a step of as many seconds as 1e10 FLOP/s needs."""
    row = row_of(setting_of(32, 8, devices=2))
    assert row.flops_per_s == pytest.approx(1e10)
    assert row.tokens_per_s == pytest.approx(2 * 1e10 / row.setting.flops_per_token)
    assert profile_of([row]).mfu(row) == pytest.approx(1e10 / PEAK_FLOPS_PER_S)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("{", "is no profile of a machine, for it is no JSON"),
        ("[1]", "is no profile of a machine"),
        ('{"schema": 1}', "is no profile of a machine"),
        ('{"schema": 1, "rows": [{}]}', "is a damaged profile"),
        ('{"schema": 1, "rows": [], "machine": "x"}', "is a damaged profile"),
    ],
)
def test_a_file_that_is_no_profile_is_told(held: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(held)
    with pytest.raises(UserError, match=said):
        read_profile(tmp_path / "x.json")


@pytest.mark.parametrize(("key", "value"), [("step_s", 0), ("step_s", "quick"), ("eval_token_s", -1)])
def test_a_speed_that_is_none_is_told(key: str, value: object, profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_profile(path, profile)
    held = json.loads(path.read_text())
    held["rows"][0][key] = value
    path.write_text(json.dumps(held))
    with pytest.raises(UserError, match="is a damaged profile"):
        read_profile(path)


def test_machines_stand_side_by_side_row_by_row(profile: Profile) -> None:
    """Truth: the figures of each row; a row that one machine alone has is counted and not shown."""
    other = profile_of([row_of(setting_of(32), 3e10)], machine="another")
    text = compared([Path("here.json"), Path("there.json")], [profile, other])
    (line,) = (line for line in text.splitlines() if "w32" in line)
    speeds = [count(one.rows[-1].tokens_per_s) for one in (profile, other)]
    assert line.split()[6:10] == [*speeds, "10%", "30%"]
    assert "w16" not in text
    assert "1 row of here is not in all" in text
    assert "there: another, 2 devices, torch 2.13" in text


def test_profiles_of_other_shapes_can_not_be_compared(profile: Profile) -> None:
    other = profile_of([row_of(setting_of(64))])
    with pytest.raises(UserError, match=r"no row in common.*\(a has w16-d2-h2, w32-d2-h2; b has w64-d2-h2\)"):
        compared([Path("a.json"), Path("b.json")], [profile, other])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no profile is given, and a comparison takes two or more; usage"),
        (["a.json"], "only 'a.json' is given"),
        (["a.json", "b.json"], "profile 'b.json' is not there; make one by python -m scaling_runs bench"),
    ],
)
def test_a_comparison_that_can_not_be_is_told_in_one_sentence(
    profile: Profile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_profile(Path("a.json"), dataclasses.replace(profile))
    assert main(["bench", "compare", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
