"""The numbers in the README's sentences are those of its commands."""

from __future__ import annotations

import contextlib
import io

from fit.cli import main
from tests.configs import ROOT


def test_the_readmes_numbers_are_those_that_are_printed() -> None:
    section = (ROOT / "README.md").read_text().split("## From a law to a decision")[1].split("\n## ")[0]
    month = ["--gpu", "a800", "--tflops", "210", "--gpus", "100", "--days", "30"]
    at_40 = [word for word in month if word not in ("--tflops", "210")]
    for arguments, parts in (
        (["budget", *month], ["5.44e+22 FLOPs", "72,000", "44,928 kWh"]),
        (
            ["advise", "--law", "llama3", *month],
            ["18.7B", "484B", "5,632", "56,489 steps", "12.8B to 27.4B", "0.7 decades"],
        ),
        (["advise", "--law", "epoch", *month], ["21.6B", "421B"]),
        (["advise", "--law", "llama3", *at_40], ["3.23e+22", "14.7B", "366B"]),
    ):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(arguments) == 0
        for part in parts:
            assert part in out.getvalue()
            assert part in section.replace("3.23e22", "3.23e+22")
