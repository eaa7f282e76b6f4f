"""Every command of README.md, CONTRIBUTING.md and docs/*.md: run, with its output compared where the page shows it, or,
where it takes minutes, a cluster or the network, read as far as it can be without: options composed and checked.

A command that none of the ways below takes fails.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from fit.cli import _parser, main
from scaling_runs.config import register, typed
from scaling_runs.slurm.options import SlurmOptions
from scaling_runs.usage import refuse_lists, refuse_misread
from tests.configs import ROOT
from tests.docs.commands import PAGES, Command, commands, differs, snippets, words
from tests.fit.conftest import POINTS
from tests.launching import OFFLINE, launch
from tests.simulated import Surface

FOUND = [command for page in PAGES for command in commands(page)]
REMOTE = ("wandb:", "hf:", "s3://")
"""Sources on the network: tests/fit/sources/ reads each from a server of its own."""
LLAMA3 = "llama3_isoflops.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages' commands read, by the names that they use."""
    folder = tmp_path_factory.mktemp("pages")
    for name, seed in (("SOURCE", 0), ("runs.csv", 0), ("A", 0), ("B", 1), ("TABLE", 0)):
        _write_runs(folder / name, seed)
    small = folder / "results" / "isoflop_small"
    small.mkdir(parents=True)
    _write_runs(small / "runs.csv", 0)
    (folder / "plans.csv").write_text(
        "name,params,tokens\nsmall and long,7e9,10e12\nlarge and short,70e9,1e12\n"
    )
    (folder / "own.yaml").write_text(
        "nova: {tflops: {bf16: 500}, memory_gb: 96, watts: 450, hour_price: 1.9}\n"
    )
    if POINTS.exists():
        shutil.copy(POINTS, folder / LLAMA3)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        assert main(["isoflop", str(small / "runs.csv"), "--json", str(small / "fit.json")]) == 0
        shutil.copy(small / "fit.json", "fit.json")
    return folder


def _write_runs(path: Path, seed: int) -> None:
    """A run table by the surface of Hoffmann et al., with a task's accuracy as a sigmoid of the loss."""
    runs = Surface().runs(noise=0.002, seed=seed)
    accuracy = 0.25 + 0.7 / (1 + np.exp(4 * (runs.loss - np.median(runs.loss))))
    rows = zip(runs.budget, runs.flops, runs.params, runs.tokens, runs.loss, accuracy, strict=True)
    lines = ["budget,flops,params,tokens,loss,acc", *(",".join(repr(float(x)) for x in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def run_fit(command: Command, arguments: list[str]) -> str | None:
    """What is printed; None where only the options were read, for the source is on the network."""
    if any(word.startswith(REMOTE) for word in arguments):
        _parser().parse_args(arguments)
        return None
    if not arguments[1:]:  # a verb that a sentence speaks of
        assert not arguments or arguments[0] in _verbs() | {"VERB"}
        return None
    if LLAMA3 in arguments and not POINTS.exists():
        pytest.skip(f"Llama 3's points are not at {POINTS}")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(arguments)
    _require_code(command, code, out.getvalue())
    return out.getvalue()


def _require_code(command: Command, code: int, said: str) -> None:
    """2 where the page shows that the command is refused."""
    refused = command.printed is not None and command.printed[0].startswith("error: ")
    assert code == (2 if refused else 0), said


def _verbs() -> set[str]:
    return {name for action in _parser()._actions for name in getattr(action, "choices", None) or ()}


def run_launch(command: Command, arguments: list[str]) -> str | None:
    """Composed and checked as launch.py does before it loads torch; run where the page shows what it prints."""
    refuse_misread(arguments)
    register()
    if command.printed is not None:
        ran = launch(*arguments, cwd=Path.cwd(), **OFFLINE)
        _require_code(command, ran.code, ran.err)
        return ran.out + ran.err
    overrides = [word for word in arguments if not word.startswith("--cfg") and word != "job"]
    refuse_lists(overrides)
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("config", overrides=overrides, return_hydra_config=True)
    typed(config)
    launcher = dict(config.hydra.launcher)
    if launcher["_target_"].endswith("SlurmLauncher"):
        SlurmOptions(**{name: value for name, value in launcher.items() if name != "_target_"})
    return None


def read_torchrun(command: Command, arguments: list[str]) -> None:
    """torchrun's own options read by its own parser; several processes are started in tests/test_torchrun*.py."""
    from torch.distributed.run import get_args_parser

    options = get_args_parser().parse_args(arguments)
    assert options.training_script == "launch.py"
    run_launch(command, options.training_script_args)


def read_scaling_runs(command: Command, arguments: list[str]) -> None:
    """Options read as each verb reads them. Sweeps are watched in tests/test_*.py, a bench is minutes of a machine."""
    from scaling_runs.__main__ import VERBS
    from scaling_runs.__main__ import main as scaling_runs
    from scaling_runs.bench.settings import read_options

    if not arguments:  # a sentence that speaks of the program
        return
    verb, rest = arguments[0], arguments[1:]
    assert verb in VERBS
    if verb == "prepare":
        run_launch(command, rest)
    elif verb == "bench" and rest[:1] != ["compare"]:
        read_options(rest)
    else:  # files and sweeps that are not in the folder, which is told, and not how the command is written
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = scaling_runs(arguments)
        assert (code, "usage: " in said.getvalue()) == (2, False)


def read_benchmark(command: Command, arguments: list[str]) -> None:
    """A script of minutes: it is there, and has the options."""
    script = (ROOT / arguments[0]).read_text()
    for option in (word for word in arguments[1:] if word.startswith("--")):
        assert f'"{option}"' in script


def read_make(command: Command, arguments: list[str]) -> None:
    """CI runs each target."""
    makefile = (ROOT / "Makefile").read_text()
    for target in (word for word in arguments if "=" not in word):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def read_pip(command: Command, arguments: list[str]) -> None:
    """Installs nothing: each package is one that pyproject.toml names."""
    assert arguments[0] == "install"
    project = (ROOT / "pyproject.toml").read_text()
    for name in (re.match(r"[\w-]+", word) for word in arguments[1:]):
        assert name is not None
        assert f'"{name[0]}' in project


WAYS: dict[str, Callable[[Command, list[str]], str | None]] = {
    "python -m fit": run_fit,
    "python -m scaling_runs": read_scaling_runs,
    "python launch.py": run_launch,
    "python docs/generate.py": lambda command, arguments: None,  # tests/docs/test_generated.py runs it
    "python": read_benchmark,
    "torchrun": read_torchrun,
    "make": read_make,
    "pip": read_pip,
}
"""By how a command begins; the first that fits."""


@pytest.mark.parametrize("command", FOUND, ids=str)
def test_a_command_of_the_docs_does_what_they_say(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["launch.py"])
    out: str | None = None
    for line in command.lines:
        asked = words(line)
        start = next(start for start in WAYS if asked[: len(start.split())] == start.split())
        out = WAYS[start](command, asked[len(start.split()) :])
    if command.printed is not None:
        assert out is not None, "its output is shown, and nothing here runs it"
        assert not (difference := differs(command.printed, out)), difference


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(snippets(page), page.name, "exec"), {})


def test_the_commands_are_found() -> None:
    """Truth: lines of the pages that begin as a command does, counted another way."""
    for page in PAGES:
        shown = re.findall(r"^(?:    )?(?:\$ )?(?:python|torchrun|make|pip) ", page.read_text(), re.MULTILINE)
        in_blocks = [command for command in FOUND if command.page == page.name]
        assert sum(len(command.lines) for command in in_blocks) >= len(shown)
