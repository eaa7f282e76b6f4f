"""What is on disk is what is done."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fit.errors import UserError
from scaling_runs import store as store_module
from scaling_runs.holder import Holder
from scaling_runs.spec import CellSpec
from scaling_runs.store import CellBusy, CellFolder, Record, Store

HOLD_A_LOCK = """
import sys
from pathlib import Path
from scaling_runs.store import CellFolder
with CellFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def assert_named(said: str, pid: int, since: datetime) -> None:
    """`said` names a process of this host that has had a cell since then."""
    found = re.search(r"is being trained by process (\d+) on (\S+), since (\S+ \S+); wait", said)
    assert found is not None, said
    assert (int(found[1]), found[2]) == (pid, socket.gethostname())
    assert timedelta(0) <= datetime.fromisoformat(found[3]) - since < timedelta(minutes=1)


def at(step: int, **values: float) -> Record:
    return {"step": step, "flops": 10 * step, **values}


def write_curve(folder: CellFolder, *records: Record) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def folder(tmp_path: Path, spec: CellSpec) -> CellFolder:
    return Store(tmp_path).add(spec)


def test_a_cells_folder_is_named_by_its_spec_and_holds_it(tmp_path: Path, spec: CellSpec) -> None:
    folder = Store(tmp_path).add(spec)
    assert folder.path == tmp_path / "cells" / spec.cell_id
    assert folder.spec() == spec
    assert Store(tmp_path).cell(spec.cell_id) == folder
    assert Store(tmp_path).sweep_folder("tiny") == tmp_path / "tiny"


def test_a_cell_that_another_sweep_added_is_left_alone(folder: CellFolder, spec: CellSpec) -> None:
    """Truth: the spec's own file, which a second `add` must not write again."""
    before = (folder.path / "spec.json").stat()
    Store(folder.path.parents[1]).add(spec)
    after = (folder.path / "spec.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_cell_waits_runs_fails_runs_again_and_finishes(folder: CellFolder) -> None:
    assert folder.status() == "waiting"
    assert (folder.result(), folder.failure(), folder.failed_at()) == (None, None, None)
    folder.begin_attempt()
    assert folder.status() == "running"
    folder.write_failure("the loss is nan", "Traceback …")
    assert folder.status() == "failed"
    assert folder.failure() == "the loss is nan"
    assert folder.failed_at() == (folder.path / "failure.json").stat().st_mtime_ns
    folder.begin_attempt()
    assert folder.status() == "running"
    assert (folder.failure(), folder.failed_at()) == (None, None)
    folder.write_result({"loss": 1.25})
    assert folder.status() == "finished"
    assert folder.result() == {"loss": 1.25}


def test_a_finished_cell_keeps_spec_curve_and_result_alone(folder: CellFolder) -> None:
    folder.begin_attempt()
    write_curve(folder, at(1))
    folder.checkpoint.write_bytes(b"weights")
    folder.write_failure("an earlier reason")
    folder.write_result({"loss": 1.0})
    assert {path.name for path in folder.path.iterdir()} == {"spec.json", "metrics.jsonl", "result.json"}


def test_a_cell_is_finished_before_anything_of_it_goes(
    folder: CellFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: killed while the result is written, the cell still has its checkpoint and can go on."""
    folder.begin_attempt()
    folder.checkpoint.write_bytes(b"weights")

    def killed(path: Path, value: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.write_result({"loss": 1.0})
    assert folder.status() == "running"
    assert folder.checkpoint.read_bytes() == b"weights"


def test_what_a_killed_attempt_left_half_written_goes_with_the_next(folder: CellFolder) -> None:
    (folder.path / ".checkpoint.pt.123.tmp").write_bytes(b"half")
    folder.begin_attempt()
    assert {path.name for path in folder.path.iterdir()} == {
        "spec.json",
        "progress.json",
        "attempt.json",
    }


def test_a_cell_that_another_process_trains_is_busy_until_that_process_dies(folder: CellFolder) -> None:
    """Truth: a second process that holds the lock, then is killed, as a worker without a chance to clean up.

    Its pid, this host and this minute are what the error names.
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", HOLD_A_LOCK, str(folder.path)]
    started = datetime.now().replace(microsecond=0)
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CellBusy, match=folder.path.name) as busy, folder.lock():
            pytest.fail("two processes hold one cell")
        assert_named(str(busy.value), other.pid, started)
        folder.begin_attempt()  # as that process does
        assert folder.busy()
        other.kill()
        other.wait()
        assert not folder.busy()
        with folder.lock():
            assert folder.status() == "running"  # it was, to its end, and is for the next run to go on with


def test_a_busy_cell_is_for_the_user_to_hear_of_in_a_sentence(folder: CellFolder) -> None:
    """Truth: the command line turns a UserError into one sentence and exit code 2."""
    busy: list[BaseException] = []

    def second() -> None:
        try:
            with folder.lock():
                pass
        except CellBusy as error:
            busy.append(error)

    with folder.lock():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    (error,) = busy
    assert isinstance(error, UserError)
    assert folder.path.name in str(error)


def test_a_lock_that_times_out_inside_a_cell_is_not_taken_for_the_cells(folder: CellFolder) -> None:
    from filelock import Timeout

    with pytest.raises(Timeout), folder.lock():
        raise Timeout("some other lock")
    with folder.lock():
        pass  # and it is free again


def test_a_last_line_that_a_kill_cut_short_is_dropped(folder: CellFolder) -> None:
    write_curve(folder, at(1), at(2))
    with folder.metrics_file.open("a") as file:
        file.write('{"step": 3, "tra')
    assert folder.curve() == [at(1), at(2)]
    with folder.metrics(up_to_step=2, write=True, then=lambda record: None) as record:
        record(at(3, train_loss=0.5))
    assert folder.curve() == [at(1), at(2), at(3, train_loss=0.5)]


def test_records_past_the_checkpoint_are_dropped_and_written_again(folder: CellFolder) -> None:
    write_curve(folder, at(1), at(2), at(2, val_loss_probe=3.0), at(3), at(4))
    with folder.metrics(up_to_step=2, write=True, then=lambda record: None) as record:
        assert folder.curve() == [at(1), at(2), at(2, val_loss_probe=3.0)]
        record(at(3, train_loss=0.5))
        assert folder.curve()[-1] == at(3, train_loss=0.5)  # on disk at once, not when the cell ends


def test_an_observer_sees_the_whole_curve_whether_or_not_the_cell_was_interrupted(folder: CellFolder) -> None:
    write_curve(folder, at(1), at(2), at(3))
    seen: list[Record] = []
    with folder.metrics(up_to_step=2, write=True, then=seen.append) as record:
        record(at(3, train_loss=0.5))
        record(at(4))
    assert seen == folder.curve() == [at(1), at(2), at(3, train_loss=0.5), at(4)]


def test_ranks_but_the_first_write_and_show_nothing(folder: CellFolder) -> None:
    seen: list[Record] = []
    with folder.metrics(up_to_step=0, write=False, then=seen.append) as record:
        record(at(1))
    assert seen == []
    assert not folder.metrics_file.exists()


def test_a_record_that_json_cannot_hold_is_refused_and_not_half_written(folder: CellFolder) -> None:
    with folder.metrics(up_to_step=0, write=True, then=lambda record: None) as record:
        record(at(1))
        with pytest.raises(ValueError, match="JSON"):
            record(at(2, train_loss=float("nan")))
    assert folder.curve() == [at(1)]


def test_the_heartbeat_says_how_far_a_cell_has_come(
    folder: CellFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PROGRESS_EVERY_S", -1.0)
    assert folder.progress_flops() == 0
    folder.begin_attempt()
    assert folder.progress_flops() == 0
    with folder.metrics(up_to_step=0, write=True, then=lambda record: None) as record:
        record(at(7))
        assert folder.progress_flops() == 70
    folder.begin_attempt()
    assert folder.progress_flops() == 70  # of an interrupted cell it is still true


def test_what_else_a_lock_file_says_is_left_and_another_process_is_named_as_such(folder: CellFolder) -> None:
    """Truth: a mark such as filelock puts there on a file system that has no locks; the lock itself holds."""
    mark = "12345\nnode7\n"
    (folder.path / ".lock").write_text(mark)
    with folder.lock():
        with pytest.raises(CellBusy, match="is being trained by another process; wait"), folder.lock():
            pass
        assert (folder.path / ".lock").read_text() == mark


def test_attempts_are_kept_with_where_they_went_on_from(folder: CellFolder) -> None:
    """Truth: what was told of each, also once the cell is finished; a line that a kill cut short is none."""
    assert folder.attempts() == []
    folder.begin_training(0, from_trunk=False)
    folder.begin_training(20, from_trunk=False)
    folder.begin_training(60, from_trunk=True)
    folder.write_result({"loss": 1.0})
    with (folder.path / "attempts.jsonl").open("a") as file:
        file.write('{"host": "a')
    told = [(attempt["step"], attempt["from"]) for attempt in folder.attempts()]
    assert told == [(0, "nothing"), (20, "checkpoint"), (60, "trunk")]
    assert {attempt["host"] for attempt in folder.attempts()} == {socket.gethostname()}


def test_a_look_at_a_lock_neither_keeps_a_worker_out_nor_takes_its_name(folder: CellFolder) -> None:
    """Truth: a thread that looks all the while, as `watch` and the conclusion of another sweep do now and then."""
    folder.begin_attempt()
    ended = threading.Event()
    looks = []

    def look() -> None:
        while not ended.is_set():
            looks.append(folder.busy())

    watching = threading.Thread(target=look)
    watching.start()
    try:
        for _ in range(200):
            with folder.lock():
                named = Holder.of((folder.path / ".lock").read_text())
                assert named is not None
                assert named.pid == os.getpid()
    finally:
        ended.set()
        watching.join()
    assert set(looks) == {True, False}
    assert not folder.busy()
