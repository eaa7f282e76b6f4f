"""Files of record: whole, or as they were."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fit.errors import UserError
from scaling_runs.files import read_json, remove_abandoned, whole_file, write_json, write_text


def test_what_is_written_is_read_back_byte_for_byte(tmp_path: Path) -> None:
    """Truth: the bytes on disk, UTF-8 with the line ends that were given."""
    write_text(tmp_path / "deep" / "er" / "summary.txt", "α × 10\nnaïve\r\n")
    assert (tmp_path / "deep" / "er" / "summary.txt").read_bytes() == "α × 10\nnaïve\r\n".encode()
    write_json(tmp_path / "fit.json", {"A": 0.1 + 0.2, "α": [1, None]})
    assert read_json(tmp_path / "fit.json") == {"A": 0.1 + 0.2, "α": [1, None]}


def test_a_write_that_fails_midway_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    write_text(path, "old")

    def fail_midway() -> None:
        with whole_file(path) as file:
            file.write(b"half of the ne")
            file.flush()
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail_midway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_killed_midway_leaves_the_old_file_and_what_it_left_can_be_removed(tmp_path: Path) -> None:
    """Truth: a real process that SIGKILL ends between its first byte and its last."""
    path = tmp_path / "runs.csv"
    write_text(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from scaling_runs.files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2], check=False)
    assert run.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path, value: float) -> None:
    """Truth: RFC 8259, section 6: "Infinity and NaN are not permitted"."""
    path = tmp_path / "result.json"
    write_json(path, {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": value})
    assert json.loads(path.read_text()) == {"loss": 1.0}


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """Truth: every version that a second process writes is one letter, a million times."""
    path = tmp_path / "progress.json"
    write_text(path, "a" * 1_000_000)
    code = (
        "import sys; from pathlib import Path; from scaling_runs.files import write_text\n"
        "for letter in 'bcdefghij' * 2: write_text(Path(sys.argv[1]), letter * 1_000_000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2])
    while writer.poll() is None:
        text = path.read_text()
        assert len(text) == 1_000_000
        assert len(set(text)) == 1
    assert writer.returncode == os.EX_OK
    assert path.read_text() == "j" * 1_000_000


@pytest.mark.parametrize("damage", [b'{"x":', b"", b"\xff\xfe"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(damage)
    with pytest.raises(
        UserError, match=r"spec\.json is damaged .*; remove its folder .* and run the same command again"
    ):
        read_json(path)
