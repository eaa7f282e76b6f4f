"""What the terminal says when something is wrong."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fit.errors import UserError
from scaling_runs import stopping, usage
from scaling_runs.config import Config, register, typed
from scaling_runs.errors import StoreLost
from scaling_runs.grid import SweepConfig
from scaling_runs.usage import (
    choices,
    plain_errors,
    ranks_replace_launchers,
    refuse_lists,
    refuse_misread,
)
from tests.configs import ROOT


def sentence_of(*overrides: str) -> str:
    """What is said of these options, which Hydra, OmegaConf or our dataclasses refuse."""
    register()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        try:
            typed(compose("config", overrides=list(overrides)))
        except (UserError, HydraException, OmegaConfBaseException) as error:
            return usage.sentence(error)
    raise AssertionError(f"{overrides} were taken")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("val_tokens=0.5", "val_tokens is '0.5'; it must be a whole number"),
        ("store=null", "store is null; it must have a value"),
        ("model.tied=perhaps", "model.tied is 'perhaps'; it must be true or false"),
        ("data.paths=text", "data.paths is one value; it must be a list, as in data.paths=[a,b]"),
        (
            "+model.widht=3",
            "'model.widht' is not an option; did you mean model.width? options of model: aspect",
        ),
        (
            "+recipe.beta3=1",
            "'recipe.beta3' is not an option; did you mean recipe.beta2? options of recipe: batch_",
        ),
        ("~model", "model.name has no value; give it one"),
        ("~model.family", "'~model.family' can't be; an option can be changed and not taken away"),
        ("trackin=off", "'trackin' is not an option; did you mean tracking?"),
        (
            "tracking=of",
            "'tracking=of' is unknown; did you mean tracking=off? choose one of off, offline, online",
        ),
        ("tracking=xyz", "'tracking=xyz' is unknown; choose one of off, offline, online"),
        ("seed", "'seed' can't be read; options are written name=value, as in budget=1e12"),
        ("seed=[1", "'seed=[1' can't be read; "),
        ("seed=1,2", "'seed=1,2' gives several values, where one is expected; run once for each"),
        ("seed=range(3)", "'seed=range(3)' gives several values, where one is expected; run once for each"),
        (
            "data.paths=a,b",
            "'data.paths=a,b' gives several values, where one is expected; write data.paths=[a,b]",
        ),
        ("hydra.sweeep.dir=x", "'hydra.sweeep.dir' is not an option; it is of Hydra's own"),
    ],
)
def test_each_way_to_mistype_an_option_has_its_sentence(override: str, sentence: str) -> None:
    """Truth: the sentence names the option, the value, what was expected and the choices, in one line."""
    said = sentence_of(override)
    assert said.startswith(sentence)
    assert "\n" not in said


def test_every_option_is_offered_to_who_misspells_it() -> None:
    """Truth: the dataclasses' own fields, for every group."""
    config = OmegaConf.structured(Config)
    groups = {"": config, "sweep": OmegaConf.structured(SweepConfig)}
    groups |= {name: config[name] for name in ("model", "data", "recipe", "tracking")}
    for group, options in groups.items():
        prefix = f"{group}." if group else ""
        for option in map(str, options):
            misspelt = f"{prefix}{option}x"
            assert re.search(rf"did you mean {re.escape(prefix + option)}\?", choices(misspelt)), misspelt
        listed = choices(f"{prefix}nothing_like_it_at_all").rsplit(": ", 1)[1].split(", ")
        assert listed == sorted(map(str, options))


def test_lists_that_an_option_takes_are_not_taken_for_several_values() -> None:
    """Truth: Hydra's own grammar: brackets, braces and quotes hold one value."""
    refuse_lists(
        ["sweep.budgets=[1e9,2e9]", "data.paths=['a,b',c]", "store='a,b'", "+x={a:1,b:2}", "seed=1", "~seed"]
    )


@pytest.mark.parametrize(
    "several", ["a=1,2", "a=choice(1,2)", "a=range(1,3)", "a=interval(0,1)", "recipe=glob(*)"]
)
def test_every_kind_of_hydra_sweep_is_refused_in_a_sweep(several: str) -> None:
    """Truth: Hydra's list of sweeps (override grammar, "sweep")."""
    with pytest.raises(UserError, match=re.escape(f"'{several}' gives several values")):
        refuse_lists(["seed=1", several])


@settings(deadline=None)
@given(
    st.sampled_from(["seed", "store", "sweep", "dry_run", "sweep.name"]),
    st.text("abc123-=./,", min_size=1).filter(lambda value: value != "null"),
)
def test_what_is_written_name_value_is_never_misread(name: str, value: str) -> None:
    """Truth: nothing is refused here but dashes in front, groups that are null and a sweep's options without one."""
    given = [f"{name}={value}", "--help", "--cfg", "job", "--config-dir=x", "seed=null"]
    refuse_misread([*given, "sweep=isoflop_tiny"])
    if name.startswith("sweep."):
        with pytest.raises(UserError, match=r"is an option of a sweep, and none is named"):
            refuse_misread(given)
    with pytest.raises(UserError, match="written without dashes"):
        refuse_misread([f"--{name}={value}"])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--dry_run", "as in dry_run=true"),
        ("--dry-run", "as in dry_run=true"),
        ("--audit", "as in audit=true"),
        ("--budget=1e9", "as in budget=1e9"),
        ("--seed", "as in seed=VALUE"),
        ("-m", "is not needed; a sweep's file asks for it"),
        ("--multirun", "is not needed; a sweep's file asks for it"),
        ("model=null", "names no file of configs/model/; name one or leave model out"),
    ],
)
def test_options_as_other_programs_write_them_are_answered_with_ours(argument: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"'{argument}'")) as refused:
        refuse_misread([argument])
    assert said in str(refused.value)


@pytest.mark.parametrize("launcher", ["slurm", "ray"])
def test_torchrun_refuses_a_launcher_that_trains_elsewhere(
    monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    """Truth: torchrun's variables, and the command line, which without it may name any launcher."""
    arguments = ["launch.py", "sweep=isoflop_tiny", f"hydra/launcher={launcher}"]
    monkeypatch.setattr(sys, "argv", list(arguments))
    monkeypatch.setenv("WORLD_SIZE", "1")
    ranks_replace_launchers()
    assert sys.argv == arguments
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        UserError, match=rf"'hydra/launcher={launcher}' starts cells elsewhere, and torchrun trains"
    ):
        ranks_replace_launchers()


def raised_in(error: BaseException) -> int:
    """The exit code that becomes of it."""
    with pytest.raises(SystemExit) as exit_, plain_errors():
        raise error
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restored afterwards: plain_errors sets it
    monkeypatch.delenv("RANK", raising=False)


def test_a_users_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: the house's rule."""
    assert raised_in(UserError("budget is -1; give more")) == 2
    assert tuple(capsys.readouterr()) == ("", "error: budget is -1; give more\n")


def test_a_users_mistake_is_found_below_what_was_raised_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: Hydra wraps what a dataclass raises at composition."""
    wrapped = HydraException("Error instantiating")
    wrapped.__cause__ = UserError("threads is 0; it must be at least 1")
    assert raised_in(wrapped) == 2
    assert capsys.readouterr().err == "error: threads is 0; it must be at least 1\n"


def test_a_bug_keeps_its_traceback() -> None:
    """Truth: an error that no user can cause passes through."""
    with pytest.raises(ZeroDivisionError), plain_errors():
        raise ZeroDivisionError


def test_a_full_disk_is_one_sentence_also_where_torch_makes_another_error_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Truth: the system's words and the file; exit code 1, for it is no mistake. Other errors keep their traceback."""
    full = OSError(errno.ENOSPC, "No space left on device", "results/a.csv")
    torchs = RuntimeError("unexpected pos 1024 vs 918")
    torchs.__context__ = full
    for error in (full, torchs):
        assert raised_in(error) == 1
        assert capsys.readouterr().err == (
            "error: 'results/a.csv' can't be written: No space left on device; make room and run the same command "
            "again, which goes on from the last checkpoints\n"
        )
    with pytest.raises(OSError, match="Input/output"), plain_errors():
        raise OSError(errno.EIO, "Input/output error")


def test_a_store_that_is_lost_is_one_sentence_and_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: exit code 1, that of a sweep whose cells failed."""
    assert raised_in(StoreLost("s3://bucket/a could not be read")) == 1
    assert capsys.readouterr().err == "error: s3://bucket/a could not be read\n"


def test_interruptions_exit_as_a_shell_expects(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: 128 and the signal's number."""
    assert raised_in(KeyboardInterrupt()) == 128 + signal.SIGINT
    assert raised_in(stopping.Terminated()) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == 2 * "interrupted; run the same command again to go on from here\n"


def test_ctrl_c_while_modules_load_is_one_line(tmp_path: Path) -> None:
    """Truth: a process that is interrupted where it begins to load Hydra."""
    (tmp_path / "hydra.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "sweep=isoflop_tiny"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; run the same command again to go on from here\n"


def test_ranks_but_the_first_leave_the_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: rank 0 says it for all; all exit alike. So it is where torchrun keeps no files."""
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    assert raised_in(UserError("no")) == 2
    assert raised_in(KeyboardInterrupt()) == 130
    assert tuple(capsys.readouterr()) == ("", "")


def test_the_first_rank_of_a_node_that_has_something_to_tell_tells_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Truth: torchrun's variables on two nodes of two ranks: one file a rank, in a folder of each node's own."""
    for rank, error in ((1, "a"), (0, "a"), (0, "b"), (3, "a"), (2, "a"), (2, "c")):
        node, local_rank = divmod(rank, 2)
        file = tmp_path / f"{node}" / "attempt_0" / f"{local_rank}" / "error.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        for name, value in {"RANK": rank, "LOCAL_RANK": local_rank, "TORCHELASTIC_ERROR_FILE": file}.items():
            monkeypatch.setenv(name, str(value))
        assert raised_in(UserError(error)) == 2
    host = socket.gethostname()
    assert capsys.readouterr().err.splitlines() == [
        "error: a",
        "error: b",
        f"error: {host}, rank 3: a",
        f"error: {host}, rank 2: c",
    ]


def test_sigterm_unwinds_the_process_once() -> None:
    """Truth: the with-block's own end is reached; a second SIGTERM while it clears up is ignored."""
    before = signal.getsignal(signal.SIGTERM)
    cleared = []

    def work() -> None:
        with plain_errors():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                cleared.append(True)

    try:
        stopping.stop_as_by_ctrl_c()
        with pytest.raises(SystemExit) as exit_:
            work()
        assert exit_.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert cleared == [True]


def test_ranks_train_cells_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: torchrun's WORLD_SIZE; a launcher of processes inside each rank would multiply them."""
    monkeypatch.setattr("sys.argv", ["launch.py", "sweep=isoflop_tiny"])
    usage.ranks_replace_launchers()
    monkeypatch.setenv("WORLD_SIZE", "1")
    usage.ranks_replace_launchers()
    assert usage.sys.argv == ["launch.py", "sweep=isoflop_tiny"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    usage.ranks_replace_launchers()
    assert usage.sys.argv == ["launch.py", "sweep=isoflop_tiny", "hydra/launcher=basic"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs" / "sweep").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_sweep_can_be_run_by_ranks(path: Path) -> None:
    """Truth: Hydra composes the sweep with the launcher that ranks need."""
    register()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("config", [f"sweep={path.stem}", "hydra/launcher=basic"], return_hydra_config=True)
    assert config.hydra.launcher._target_.endswith("BasicLauncher")


@pytest.mark.parametrize(
    ("body", "code"),
    [("pass", 0), ("sys.exit(2)", 2), ("sys.exit('no')", 1), ("1 / 0", 1), ("sys.exit()", 0)],
)
def test_a_rank_ends_without_pythons_clearing_up_and_with_its_own_exit_code(body: str, code: int) -> None:
    """Truth: Python's own exit codes, and what it registers for the end, which runs in one process alone."""
    program = f"""
import atexit, sys
from scaling_runs.usage import ranks_end_at_once
atexit.register(print, "cleared up")
with ranks_end_at_once():
    print("said", end="")
    {body}
"""
    for ranks, said in (("1", "saidcleared up\n"), ("2", "said")):
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "WORLD_SIZE": ranks},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stdout) == (code, said)
        last_words = {"sys.exit('no')": "no\n", "1 / 0": "ZeroDivisionError: division by zero\n"}
        assert ran.stderr.endswith(last_words.get(body, ""))
