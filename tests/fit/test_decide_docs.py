"""The commands of docs/decide.md print what stands there, and those of the README run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.fit.conftest import Run

ROOT = Path(__file__).parents[2]
DOCS, README = ROOT / "docs" / "decide.md", ROOT / "README.md"
COMMAND = "    $ python -m fit "
BLOCK = re.compile(r"(?:^    .*\n|^\n(?=    [^$]))+", re.MULTILINE)
"""Indented lines, and empty ones between them, up to the next command."""


def examples() -> list[tuple[str, str]]:
    """(command, what it prints) of each block; several commands in a row print what stands below the last."""
    found = []
    for block in BLOCK.findall(DOCS.read_text()):
        lines = block.strip("\n").splitlines()
        commands = [line.removeprefix(COMMAND) for line in lines if line.startswith(COMMAND)]
        if commands:
            found.append(("\n".join(commands), "\n".join(line[4:] for line in lines[len(commands) :])))
    return found


def run(fit: Run, commands: str) -> str:
    """What the last of them prints; `> FILE` is what the shell would see to."""
    for command in commands.splitlines():
        said = fit(*shlex.split(command.partition(" > ")[0]))
        assert (said.code, said.error) == (0, "")
    return said.out


@pytest.mark.parametrize(("commands", "printed"), [one for one in examples() if "fit.json" not in one[0]])
def test_a_command_of_the_docs_prints_what_stands_below_it(fit: Run, commands: str, printed: str) -> None:
    assert run(fit, commands).rstrip().splitlines() == printed.splitlines()


def test_the_fit_of_llama_3s_points_advises_as_the_docs_say(
    fit: Run, llama3_points: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(llama3_points, "llama3_isoflops.csv")
    ((commands, printed),) = [one for one in examples() if "fit.json" in one[0]]
    assert run(fit, commands).rstrip().splitlines() == printed.splitlines()


def test_the_docs_lines_of_known_models_are_those_that_are_printed(fit: Run) -> None:
    said = fit("check", "--models", "--law", "epoch").out
    lines = re.findall(r"^    (?:model|GPT-3|Chinchilla|Llama) .*$", DOCS.read_text(), re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        assert line[4:] in said


def readme_commands() -> list[str]:
    """Of the README's section, less those on a sweep's own results."""
    section = README.read_text().split("## From a law to a decision")[1].split("\n## ")[0]
    commands = re.findall(r"^    python -m fit ([^#\n]*)", section, re.MULTILINE)
    return [command.strip() for command in commands if "results/" not in command]


@pytest.mark.parametrize("command", readme_commands())
def test_a_command_of_the_readmes_section_runs(fit: Run, command: str) -> None:
    said = fit(*shlex.split(command))
    assert (said.code, said.error) == (0, "")


def test_the_readmes_numbers_are_those_that_are_printed(fit: Run) -> None:
    """Truth: the output of its own commands."""
    section = README.read_text().split("## From a law to a decision")[1].split("\n## ")[0]
    month = ["--gpu", "a800", "--tflops", "210", "--gpus", "100", "--days", "30"]
    for arguments, parts in (
        (["budget", *month], ["5.44e+22 FLOPs", "72,000", "44,928 kWh"]),
        (
            ["advise", "--law", "llama3", *month],
            ["18.7B", "484B", "5,632", "56,489 steps", "12.8B to 27.4B", "0.7 decades"],
        ),
        (["advise", "--law", "epoch", *month], ["21.6B", "421B"]),
    ):
        said = fit(*arguments).out
        for part in parts:
            assert part in said
            assert part in section
