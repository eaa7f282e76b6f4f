"""`python -m fit`: what a user types, what comes back, and what a mistake is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from tests.contract import assert_in_contract, read_json
from tests.fit.conftest import Run, Said
from tests.simulated import TOKENS, Law, parabolas, rows_of, write_csv

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "runs.csv", rows_of(parabolas(noise=0.004)))


def assert_refused(said: Said, *parts: str) -> None:
    """One sentence on stderr, exit code 2, and nothing on stdout."""
    assert (said.code, said.out) == (2, "")
    assert said.error.startswith("error: ")
    assert said.error.count("\n") == 1
    for part in parts:
        assert part in said.error


def started(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_isoflop_prints_writes_and_draws(fit: Run, runs: Path, tmp_path: Path) -> None:
    """Truth: the simulated law's 16.3T tokens and 389B params at 3.8e25, to the noise."""
    json_file, figure = tmp_path / "fit.json", tmp_path / "fit.png"
    said = fit("isoflop", runs, "--predict", "3.8e25", "1e20", "--json", json_file, "--figure", figure)
    assert (said.code, said.error) == (0, "")
    assert "Laws, optimum = A·C^α" in said.out
    content = read_json(json_file)
    assert_in_contract(content)
    assert [prediction["flops"] for prediction in content["predictions"]] == [3.8e25, 1e20]
    low, high = content["predictions"][0]["tokens"]["ci95"]
    assert low < 16.3e12 < high
    assert content["resamples"] == 2000
    assert image.imread(figure).std() > 0


def test_llama_3s_points_print_its_law(fit: Run, llama3_points: Path) -> None:
    """Truth: arXiv 2407.21783, section 3.2.1."""
    said = fit("isoflop", llama3_points, "--predict", "3.8e25")
    assert "D*(C) = 0.299·C^0.537" in said.out
    assert "3.8e+25 FLOPs, 3.6 decades beyond the budgets: 16T tokens [" in said.out
    assert "by the plain law 16.1T tokens" in said.out
    assert "derived from C = 6*N*D" in said.out


def test_a_folder_stands_for_its_runs_and_columns_are_mapped(fit: Run, runs: Path, tmp_path: Path) -> None:
    text = runs.read_text()
    renamed = tmp_path / "foreign.csv"
    renamed.write_text(text.replace("tokens", "seen", 1).replace("loss", "nll", 1))
    ours = fit("isoflop", tmp_path)
    theirs = fit("isoflop", renamed, "--column", "tokens=seen", "--column", "loss=nll")
    assert ours.code == theirs.code == 0
    assert ours.out == theirs.out


def test_budget_is_the_flops_of_a_cluster(fit: Run) -> None:
    """Truth: 100 x 210e12 x 30 x 86,400."""
    days = fit("budget", "--gpus", 100, "--tflops", 210, "--days", 30)
    assert days.out.startswith("5.44e+22 FLOPs")
    assert fit("budget", "--gpus", 100, "--tflops", 210, "--hours", 720).out == days.out


@pytest.mark.parametrize(
    ("flops", "tokens", "params"), [("3.8e25", "16.3T", "389B"), ("5.44e22", "484B", "18.7B")]
)
def test_advise_gives_tokens_and_params_of_a_budget(fit: Run, flops: str, tokens: str, params: str) -> None:
    """Truth: 0.299·C^0.537 and C = 6·N·D."""
    said = fit("advise", "--law", "llama3", "--flops", flops)
    assert said.code == 0
    assert f"tokens  {tokens}" in said.out
    assert f"params  {params}" in said.out


def test_advise_takes_the_json_that_isoflop_wrote(fit: Run, runs: Path, tmp_path: Path) -> None:
    fit("isoflop", runs, "--json", tmp_path / "fit.json")
    said = fit("advise", "--law", tmp_path / "fit.json", "--flops", "1e20")
    assert said.code == 0
    assert str(runs) in said.out
    assert "inside the law's data" in said.out


def test_compare_prints_and_writes_how_two_experiments_differ(fit: Run, runs: Path, tmp_path: Path) -> None:
    """Truth: the second's tokens are twice the first's at each budget, so that α is the same."""
    (tmp_path / "other").mkdir()
    other = parabolas(Law(2 * TOKENS.coefficient, TOKENS.exponent), noise=0.004, seed=1)
    write_csv(tmp_path / "other" / "runs.csv", rows_of(other))
    said = fit("compare", runs, tmp_path / "other", "--flops", "1e19", "--json", tmp_path / "both.json")
    assert (said.code, said.error) == (0, "")
    assert "tokens: the data can tell the laws apart" in said.out
    law = json.loads((tmp_path / "both.json").read_text())["laws"]["tokens"]
    assert law["told_apart"] is True
    assert law["exponent"]["ci95"][0] < 0 < law["exponent"]["ci95"][1]
    (ratio,) = law["optima"]
    assert (ratio["flops"], ratio["ci95"][0] < 2 < ratio["ci95"][1]) == (1e19, True)


def test_compare_overwrites_neither_table(fit: Run, runs: Path, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", rows_of(parabolas(noise=0.004, seed=1)))
    for table in (runs, other):
        before = table.read_bytes()
        assert_refused(fit("compare", runs, other, "--json", table), "is the run table itself")
        assert table.read_bytes() == before


def test_compare_maps_the_columns_of_both(fit: Run, runs: Path, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", rows_of(parabolas(noise=0.004, seed=1)))
    plain = fit("compare", runs, other).out
    for table in (runs, other):
        table.write_text(table.read_text().replace("tokens", "seen", 1))
    assert fit("compare", runs, other, "--column", "tokens=seen").out == plain


BAD_OPTIONS: list[tuple[list[str], list[str]]] = [
    ([], ["the following arguments are required: VERB"]),
    (["isoflops", "x"], ["'isoflops' is unknown, did you mean isoflop? choose from isoflop, compare"]),
    (["isoflop"], ["required: SOURCE"]),
    (["isoflop", ""], ["name is empty"]),
    (["isoflop", "x" * 300], ["File name too long"]),
    (["isoflop", "RUNS", "--jsn", "f"], ["'--jsn' is not an option, did you mean --json?"]),
    (["isoflop", "RUNS", "--fig=f.png"], ["'--fig=f.png' is not an option, did you mean --figure?"]),
    (["isoflop", "RUNS", "--pred", "1e20"], ["'--pred' is not an option, did you mean --predict?"]),
    (["isoflop", "RUNS", "more"], ["'more' is not expected here"]),
    (["isoflop", "RUNS", "--html", "x.pdf"], ["--html 'x.pdf' is no page for a browser; name it with .html"]),
    (
        ["compare", "RUNS", "RUNS", "--where", "a=b"],
        ["'--where' is an option of isoflop, and none of compare; see python -m fit compare --help"],
    ),
    (["budget", "--memory", "80"], ["'--memory' is an option of advise, and none of budget"]),
    (["isoflop", "RUNS", "--predict"], ["--predict", "at least one"]),
    (["isoflop", "RUNS", "--predict", "much"], ["'much' is no number"]),
    (["isoflop", "RUNS", "--predict", "0"], ["'0' must be positive and finite"]),
    (["isoflop", "RUNS", "--predict", "-1e20"], ["'-1e20' must be positive and finite"]),
    (["isoflop", "RUNS", "--predict", "nan"], ["'nan' must be positive and finite"]),
    (["isoflop", "RUNS", "--predict", "1e400"], ["'1e400' must be positive and finite"]),
    (
        ["isoflop", "RUNS", "--predict", "1e-120"],
        ["'1e-120' is no number to compute with; give a positive number between 1e-100 and 1e+100"],
    ),
    (["isoflop", "RUNS", "--column", "tokens"], ["--column tokens is not of the form OURS=THEIRS"]),
    (["isoflop", "RUNS", "--column", "size=params"], ["'size' is none of flops"]),
    (["isoflop", "RUNS", "--column", "loss=nll"], ["no column 'nll'"]),
    (["isoflop", "RUNS", "--column", "tokens=loss"], ["'loss' is taken for both"]),
    (
        ["isoflop", "RUNS", "--column", "tokens=a", "--column", "tokens=b"],
        ["tokens is given twice, as a and b"],
    ),
    (
        ["isoflop", "RUNS", "--figure", "f.gif"],
        ["--figure 'f.gif' ends in '.gif'; choose one of .png, .pdf, .svg"],
    ),
    (
        ["isoflop", "RUNS", "--json", "none/fit.json"],
        ["folder 'none' of --json 'none/fit.json' does not exist"],
    ),
    (["isoflop", "RUNS", "--json", "."], ["--json '.' is a folder"]),
    (["isoflop", "RUNS", "--json", ""], ["argument --json: the file's name is empty; name a file"]),
    (["isoflop", "one\ntwo\x1b[31m.csv"], ["'one\\ntwo\\x1b[31m.csv' does not exist"]),
    (["isoflop", "RUNS", "--predict", "-inf"], ["'-inf' must be positive and finite"]),
    (["isoflop", "RUNS", "--json", "/proc/fit.json"], ["'/proc/fit.json' can't be written"]),
    (["isoflop", "RUNS", "--json", "RUNS"], ["is the run table itself, which it would overwrite"]),
    (["isoflop", "RUNS", "--json", "same.png", "--figure", "same.png"], ["is the file of --json too"]),
    (["advise", "--law", "lama3", "--flops", "1e20"], ["law 'lama3' is unknown, did you mean llama3?"]),
    (["advise", "--law", "", "--flops", "1e20"], ["law '' is unknown"]),
    (["advise", "--law", "none.json", "--flops", "1e20"], ["law file 'none.json' does not exist"]),
    (["advise", "--law", "RUNS", "--flops", "1e20"], ["is no JSON"]),
    (["advise", "--law", "hoffmann2", "--flops", "1e20"], ["has no published coefficient"]),
    (["advise", "--law", "llama3", "--flops", "-5"], ["'-5' must be positive"]),
    (["check", "--params", "7e9", "--law", "llama3"], ["1 --params and 0 --tokens are given"]),
    (["compare", "RUNS"], ["required: B"]),
    (["compare", "RUNS", "RUNS"], ["are one table, which can't differ from itself"]),
    (["compare", "RUNS", "none.csv"], ["'none.csv' does not exist"]),
    (["compare", "RUNS", "RUNS", "--flops", "0"], ["'0' must be positive and finite"]),
]


@pytest.mark.parametrize(("arguments", "parts"), BAD_OPTIONS, ids=lambda item: " ".join(item)[:60])
def test_a_mistake_is_one_sentence_and_exit_code_2(
    fit: Run, runs: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], parts: list[str]
) -> None:
    """And the run table stands as it stood, with nothing beside it."""
    monkeypatch.chdir(runs.parent)
    before = runs.read_bytes()
    said = fit(*(str(runs) if argument == "RUNS" else argument for argument in arguments))
    assert_refused(said, *parts)
    assert runs.read_bytes() == before
    assert list(runs.parent.iterdir()) == [runs]


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_the_run_table_is_safe_under_every_name_that_it_has(
    fit: Run, runs: Path, make: Callable[[Path, Path], None]
) -> None:
    link = runs.parent / "other.json"
    make(link, runs)
    before = runs.read_bytes()
    assert_refused(fit("isoflop", runs, "--json", link), "is the run table itself")
    assert_refused(fit("isoflop", runs.parent, "--json", runs), "is the run table itself")
    assert runs.read_bytes() == before


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """The records of two runs, beside the run table."""
    rows = [
        {"run_id": run, "params": size, "tokens": size * step, "loss": 9 - step}
        for run, size in (("a", 1e6), ("b", 2e6))
        for step in (1, 2, 3)
    ]
    return write_csv(tmp_path / "curves.csv", rows)


@pytest.mark.parametrize("option", ["--json", "--figure", "--diagnostics"])
def test_no_output_overwrites_the_curves(fit: Run, runs: Path, curves: Path, option: str) -> None:
    link = curves.with_suffix(".svg")
    link.symlink_to(curves)
    before = curves.read_bytes()
    assert_refused(fit("isoflop", runs, "--curves", curves, option, link), "is the table of --curves")
    assert (link.is_symlink(), curves.read_bytes()) == (True, before)


def test_curves_have_columns_of_their_own_names(fit: Run, runs: Path, curves: Path) -> None:
    """Truth: the same curves under our names."""
    ours = fit("isoflop", runs, "--curves", curves).out
    curves.write_text(curves.read_text().replace("run_id", "name").replace("tokens", "toks"))
    mapped = ("--curves-column", "run_id=name", "--curves-column", "tokens=toks")
    assert fit("isoflop", runs, "--curves", curves, *mapped).out == ours
    assert_refused(fit("isoflop", runs, "--curves", curves, *mapped[2:]), "with --curves-column run_id=NAME")
    assert_refused(fit("isoflop", runs, *mapped), "--curves-column is given without --curves")


def test_no_output_overwrites_the_records_of_a_sweeps_cells(fit: Run, runs: Path, tmp_path: Path) -> None:
    sweep, cell = tmp_path / "results" / "tiny", tmp_path / "results" / "cells" / "a"
    for folder in (sweep, cell):
        folder.mkdir(parents=True)
    (sweep / "runs.csv").write_text("run_id,params\na,1e6\n")
    (cell / "metrics.jsonl").write_text("{}\n")
    for output in (sweep / "runs.csv", cell / "metrics.jsonl"):
        before = output.read_bytes()
        said = fit("isoflop", runs, "--curves", sweep, "--json", output)
        assert_refused(said, "is the table of --curves" if output.suffix == ".csv" else "inside the cells of")
        assert output.read_bytes() == before


def test_a_fit_can_be_written_to_standard_output(runs: Path, tmp_path: Path) -> None:
    """Truth: the JSON that a file gets, then what is printed; into a pipe, and where a file stands for the pipe.

    The link is what /dev/stdout is, which a failure must not harm.
    """
    out = tmp_path / "stdout"
    out.symlink_to("/dev/fd/1")
    piped = started("-m", "fit", "isoflop", runs, "--json", out).stdout
    printed = started("-m", "fit", "isoflop", runs, "--json", tmp_path / "fit.json").stdout
    assert piped == (tmp_path / "fit.json").read_text() + printed
    with (tmp_path / "both.txt").open("w") as both:
        command = [sys.executable, "-m", "fit", "isoflop", str(runs), "--json", str(out)]
        subprocess.run(command, cwd=ROOT, stdout=both, check=True)
    assert (tmp_path / "both.txt").read_text() == piped


BAD_TABLES: dict[str, tuple[str | bytes, str]] = {
    "empty.csv": ("", "is empty"),
    "header.csv": ("flops,tokens,loss\n", "has a header and no rows"),
    "columns.csv": ("flops,loss\n1e18,3\n", "lacks columns"),
    "nan.csv": ("flops,tokens,loss\n1e18,1e9,nan\n", "1 of them: diverged or crashed: loss is NaN"),
    "negative.csv": ("flops,tokens,loss\n1e18,-1e9,3\n", "line 2: tokens is -1000000000.0"),
    "zero.csv": ("flops,tokens,loss\n0,1e9,3\n", "line 2: flops is 0"),
    "infinite.csv": ("flops,tokens,loss\n1e18,inf,3\n", "line 2: tokens is inf"),
    "words.csv": ("flops,tokens,loss\n1e18,lots,3\n", "line 2: tokens is 'lots'"),
    "two_sizes.csv": (
        "flops,tokens,loss\n1e18,1e9,3\n1e18,2e9,3\n1e19,1e9,3\n1e19,2e9,3\n",
        "none of them with 3 different sizes",
    ),
    "one_budget.csv": (
        "flops,tokens,loss\n1e18,1e9,3.1\n1e18,2e9,3\n1e18,4e9,3.1\n1e19,2e9,3\n",
        "fewer than 2 budgets with a minimum inside their grid",
    ),
    "all_losses_equal.csv": (
        "flops,tokens,loss\n"
        + "".join(f"{flops},{tokens},3\n" for flops in (1e18, 1e19) for tokens in (1e9, 2e9, 3e9, 4e9)),
        "fewer than 2 budgets with a minimum inside their grid",
    ),
    "all_runs_equal.csv": ("flops,tokens,loss\n" + 50 * "1e18,1e9,3\n", "has 1 budgets, none of them with 3"),
    "huge.csv": ("flops,tokens,loss\n1e308,1e9,3\n", "line 2: flops is 1e+308"),
    "huge_product.csv": ("params,tokens,loss\n1e99,1e99,3\n", "line 2: flops, by C = 6*N*D, is 6e+198"),
    "column_twice.csv": ("flops,tokens,loss,tokens\n1e18,1e9,3,1e9\n", "has two columns 'tokens'"),
    "boolean.csv": ("flops,tokens,loss\n1e18,1e9,True\n", "line 2: loss is True"),
    "text.parquet": ("flops,tokens,loss\n1e18,1e9,3\n", "can't be read as parquet"),
    "parquet.csv": (b"PAR1" + bytes(range(256)) + b"PAR1", "can't be read as parquet"),
    "failed.csv": ("flops,tokens,loss,status\n1e18,1e9,,failed\n", "no finished runs"),
    "binary.csv": (bytes(range(256)) * 4, "can't be read as CSV"),
    "damaged.parquet": (b"PAR1" + bytes(50) + b"PAR1", "can't be read as parquet"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_refused_and_earlier_results_are_not_harmed(
    fit: Run, tmp_path: Path, name: str
) -> None:
    content, message = BAD_TABLES[name]
    table, json_file, figure = tmp_path / name, tmp_path / "fit.json", tmp_path / "fit.png"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    json_file.write_text("earlier fit")
    figure.write_text("earlier figure")
    assert_refused(fit("isoflop", table, "--json", json_file, "--figure", figure), name, message)
    assert (json_file.read_text(), figure.read_text()) == ("earlier fit", "earlier figure")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_without_runs_and_a_missing_file_are_refused(fit: Run, tmp_path: Path) -> None:
    assert_refused(fit("isoflop", tmp_path), str(tmp_path), "holds no runs.csv")
    assert_refused(fit("isoflop", tmp_path / "none.csv"), "none.csv' does not exist")
    assert_refused(fit("isoflop", tmp_path / "none.csv" / "runs.csv"), "does not exist")


def test_runs_that_failed_are_left_out_and_named(fit: Run, tmp_path: Path) -> None:
    table = [{**row, "status": "finished", "status_reason": ""} for row in rows_of(parabolas())]
    table[0] |= {"status": "failed", "status_reason": "its worker died", "loss": ""}
    said = fit("isoflop", write_csv(tmp_path / "runs.csv", table))
    assert said.code == 0
    assert "run 0: status failed: its worker died" in said.out
    assert "D*(C) = 0.299·C^0.537" in said.out


def test_a_mistake_from_the_shell_has_no_traceback() -> None:
    done = started("-m", "fit", "advise", "--law", "nobody", "--flops", "1e20")
    assert done.returncode == 2
    assert done.stderr.startswith("error: law 'nobody' is unknown")
    assert "Traceback" not in done.stderr


def test_output_that_nobody_reads_to_its_end_is_no_error(runs: Path) -> None:
    """As in `python -m fit isoflop RUNS | head -1`."""
    command = f"'{sys.executable}' -m fit isoflop '{runs}' --json '{runs.parent / 'fit.json'}' | true"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert (runs.parent / "fit.json").exists()


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
@pytest.mark.parametrize("arguments", [["references"], ["--help"]])
def test_a_sign_that_a_terminal_lacks_is_written_out(
    arguments: list[str], environment: dict[str, str]
) -> None:
    """Truth: α is U+03B1."""
    done = started("-m", "fit", *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u03b1" in done.stdout


@pytest.mark.parametrize(
    ("redirection", "code", "error"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        (
            ">/dev/full",
            2,
            "error: the output can't be written: No space left on device; send it to another place\n",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["references", "--help"])
def test_output_that_has_no_place_is_no_traceback(verb: str, redirection: str, code: int, error: str) -> None:
    """Closed output is one that nobody wants; a full disk is told."""
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("a device that is always full is Linux's alone")
    command = f"PYTHONUNBUFFERED= '{sys.executable}' -m fit {verb} {redirection}"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, error)


def test_equal_runs_give_equal_files(fit: Run, runs: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        fit("isoflop", runs, "--json", tmp_path / f"{name}.json", "--figure", tmp_path / f"{name}.png")
        contents.append((tmp_path / f"{name}.json").read_bytes())
    assert contents[0] == contents[1]
    assert np.array_equal(image.imread(tmp_path / "a.png"), image.imread(tmp_path / "b.png"))
