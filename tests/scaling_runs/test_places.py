"""A store at a URL does what one in a folder does: in memory, by file://, and what is said where it can't be."""

from __future__ import annotations

import builtins
import itertools
import json
import math
import os
import re
import socket
import threading
import time
import uuid
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs import leases, meetings, outages, places
from scaling_runs.errors import StoreLost
from scaling_runs.files import appending, read_json, whole_file, write_json, write_text
from scaling_runs.holder import Held
from scaling_runs.job import run_cell
from scaling_runs.launchers import SideBySide
from scaling_runs.locks import holding, is_held
from scaling_runs.places import is_local, place, require_place, staged
from scaling_runs.store import CellBusy, Store
from scaling_runs.sweeper import run_sweep
from tests.configs import config_of
from tests.scaling_runs.conftest import RealText
from tests.scaling_runs.test_job import quiet
from tests.scaling_runs.test_store import assert_named
from tests.scaling_runs.test_train import KilledError, kill_before
from tests.scaling_runs.test_trunk import wsd

PatientPath = pytest.importorskip(
    "scaling_runs.patient_path", reason="universal_pathlib is optional"
).PatientPath
CLOCKS = ("wall_s", "tokens_per_s", "mfu")


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}"


@given(st.from_regex(r"[a-z/._-]{1,20}", fullmatch=True))
def test_what_is_no_url_is_the_folder_that_it_names(name: str) -> None:
    """Truth: pathlib's own path; file:// is the same folder."""
    assert place(name) == Path(name)
    assert place(f"file://{name}") == Path(name)
    assert is_local(place(name))


def test_a_file_that_fails_half_way_leaves_the_old_one(url: str) -> None:
    """Truth: the bytes that were there, and no other object."""
    path = place(url) / "cells" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError), whole_file(path) as file:
        file.write("half")  # type: ignore[arg-type]
    assert read_json(path) == {"a": 1}
    assert [one.name for one in path.parent.iterdir()] == ["a.json"]


def test_a_line_is_there_once_it_is_written(url: str) -> None:
    """Truth: the lines, also of a file that is opened again."""
    path = place(url) / "curve.jsonl"
    for line in ("one", "two"):
        with appending(path) as write:
            write(line)
            assert path.read_text().endswith(f"{line}\n")
    assert path.read_text() == "one\ntwo\n"


def test_one_alone_holds_a_lease(url: str) -> None:
    """Truth: another is refused while it is held, and let in after; nothing of it stays."""
    path = place(url) / ".lock"
    with holding(path), pytest.raises(Held), holding(path):
        pass
    with holding(path):
        pass
    assert not list(path.parent.glob("*"))


@pytest.mark.parametrize(("after_s", "free"), [(60, False), (-1, True)])
def test_a_lease_whose_holder_died_lapses(url: str, after_s: float, free: bool) -> None:
    """Truth: what a holder leaves that no longer renews it, before its time and after."""
    path = place(url) / ".lock"
    left = {"owner": "gone", "until": time.time() + after_s}
    write_text(path.with_name(".lock.3"), json.dumps(left))
    if free:
        with holding(path):
            assert [one.name for one in path.parent.iterdir()] == [".lock.4"]
    else:
        with pytest.raises(Held), holding(path):
            pass


def test_of_many_that_take_over_a_lapsed_lease_no_two_have_it_together(tmp_path: Path) -> None:
    """Truth: who is inside, counted by eight that start at once, where only one can create a file."""
    path = cast(Path, PatientPath(f"file://{tmp_path}")) / ".lock"
    assert not is_local(path)
    write_text(path.with_name(".lock.1"), json.dumps({"owner": "gone", "until": 0}))
    start, counting = threading.Barrier(8), threading.Lock()
    inside, most, entered = 0, 0, 0

    def take() -> None:
        nonlocal inside, most, entered
        start.wait()
        try:
            with holding(path):
                with counting:
                    inside, entered = inside + 1, entered + 1
                    most = max(most, inside)
                time.sleep(0.05)
                with counting:
                    inside -= 1
        except Held:
            return

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert entered >= 1


def test_a_lease_is_renewed_while_it_is_held(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: its time, read at the store."""
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.01)
    path = place(url) / ".lock"
    with holding(path):
        first = json.loads(path.with_name(".lock.1").read_text())["until"]
        deadline = time.monotonic() + 10
        while json.loads(path.with_name(".lock.1").read_text())["until"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_who_comes_too_late_to_renew_a_lease_ends_and_touches_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: a lease that has run out, as for a process that slept; another's is there by then, and stays."""
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.05)
    path = place(url) / ".lock"

    def sleep_through() -> None:
        with holding(path):
            write_text(
                path.with_name(".lock.2"), json.dumps({"owner": "another", "until": time.time() + 500})
            )
            path.with_name(".lock.1").unlink()
            monkeypatch.setattr(leases, "LEASE_S", -1.0)
            time.sleep(10)

    with pytest.raises(
        StoreLost, match=r"lease memory:.*\.lock\.1 could not be renewed for -0.875 s, .*run the same"
    ):
        sleep_through()
    assert [one.name for one in path.parent.iterdir()] == [".lock.2"]


def test_who_asks_for_a_lease_in_vain_until_it_lapses_ends_before_that(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: a store whose answer to a renewal never comes: no later than its lease, the holder is told to end."""
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.05)
    monkeypatch.setattr(leases, "LEASE_S", 2.0)
    path, answer, dated = place(url) / ".lock", threading.Event(), leases._dated
    calls, held_at = itertools.count(), math.inf

    def dated_late(content: dict[str, Any]) -> str:
        if next(calls):  # the first creates it
            answer.wait(60)
        return dated(content)

    def outlast() -> None:
        nonlocal held_at
        with holding(path):
            held_at = time.time()
            time.sleep(10)

    monkeypatch.setattr(leases, "_dated", dated_late)
    try:
        with pytest.raises(StoreLost, match=r"could not be renewed for 1\.75 s"):
            outlast()
        assert time.time() - held_at < 2.0
    finally:
        answer.set()


def test_whether_a_lease_is_held_is_seen_without_taking_it(url: str) -> None:
    """Truth: what lies at the store, before, in and after."""
    path = place(url) / ".lock"
    assert not is_held(path)
    with holding(path):
        assert is_held(path)
        assert [one.name for one in path.parent.iterdir()] == [".lock.1"]
    assert not is_held(path)


def test_a_lease_that_nobody_renews_is_waited_for_and_one_that_is_renewed_is_not(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: what lies at the store: the lease of a holder that died runs for 1 s more; that of a living one is new."""
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.05)
    path = place(url) / ".lock"
    left = {"host": "gone", "pid": 1, "since": 0, "until": time.time() + 1}
    write_text(path.with_name(".lock.3"), json.dumps(left))
    with pytest.raises(Held), holding(path):
        pass
    with holding(path, patiently=True):
        assert time.time() > left["until"]
        assert [one.name for one in path.parent.iterdir()] == [".lock.4"]
        began = time.monotonic()
        with pytest.raises(Held), holding(path, patiently=True):
            pass
        assert time.monotonic() - began < leases.LEASE_S / 4
    assert re.fullmatch(
        r"nobody renews \S+/\.lock; it is waited for to lapse, in 1 s\n", capsys.readouterr().err
    )


def test_a_lease_that_another_has_by_the_same_name_is_not_given_back(url: str) -> None:
    """Truth: the object, which after a jump of this machine's clock may be another's."""
    path = place(url) / ".lock"
    with holding(path):
        others = json.dumps({"mark": "another", "until": time.time() + 60})
        write_text(path.with_name(".lock.1"), others)
    assert path.with_name(".lock.1").read_text() == others


def test_files_that_are_made_in_a_folder_are_sent(url: str) -> None:
    """Truth: one that was there and stays, one that changes, one that goes and one that is new."""
    folder = place(url) / "sweep"
    for name in ("stays", "changes", "goes"):
        write_text(folder / name, name)
    with staged(folder) as local:
        assert is_local(local)
        assert local.name == "sweep"
        (local / "changes").write_text("changed")
        (local / "goes").unlink()
        (local / "new").write_text("new")
    told = {one.name: one.read_text() for one in folder.iterdir()}
    assert told == {"stays": "stays", "changes": "changed", "new": "new"}


def test_a_folder_stands_for_itself(tmp_path: Path) -> None:
    with staged(tmp_path) as local:
        assert local is tmp_path


def test_a_cell_at_a_url_is_that_of_a_folder_and_goes_on_after_a_kill(
    text: RealText, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: result and curve of the same cell in a folder, undisturbed; it leaves its trunk's state at the URL."""
    monkeypatch.setattr(meetings, "SAVE_EVERY_S", -1.0)
    spec = wsd(text, 60)
    undisturbed = Store(tmp_path).add(spec)
    row = run_cell(undisturbed, quiet(text, tmp_path))
    kill_before(monkeypatch, 30)
    store = Store.at(url)
    folder, config = store.add(spec), config_of(*text.options, "tracking=off", f"store={url}")
    with pytest.raises(KilledError):
        run_cell(folder, config)
    assert folder.checkpoint.exists()
    again = run_cell(folder, config)
    assert [again[name] for name in row if name not in CLOCKS] == [
        row[name] for name in row if name not in CLOCKS
    ]
    assert [r["step"] for r in folder.curve()] == [r["step"] for r in undisturbed.curve()]
    assert store.trunk(spec).states() == [spec.trunk_steps]
    assert folder.status() == "finished"


def test_a_cell_whose_store_is_lost_has_not_failed_and_goes_on_from_its_checkpoint(
    text: RealText, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: result and curve of the same cell in a folder; the store is away from its first checkpoint on."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(meetings, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(outages, "PATIENCE_S", 0.1)
    monkeypatch.setattr(outages, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(leases, "LEASE_S", 3.0)
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.1)
    spec = wsd(text, 60)
    undisturbed = Store(tmp_path).add(spec)
    row = run_cell(undisturbed, quiet(text, tmp_path))
    folder, config = Store.at(url).add(spec), config_of(*text.options, "tracking=off", f"store={url}")
    with monkeypatch.context() as away:
        away.setattr(outages, "_outage", outages._Outage())

        def gone(*_: Any, **__: Any) -> Any:
            raise ConnectionResetError("gone")

        def lose(*_: Any) -> None:
            for name in ("_open", "cat_file", "exists", "info", "ls", "rm_file"):
                away.setattr(MemoryFileSystem, name, gone)

        away.setattr(meetings.SaveClock, "saved", lose)
        with pytest.raises(StoreLost, match=r"metrics\.jsonl could not be read or written .*\(gone\)"):
            run_cell(folder, config)
    assert folder.failure() is None
    assert folder.busy()  # its lease could not be given back
    again = run_cell(folder, config)  # once that has lapsed
    assert [again[name] for name in row if name not in CLOCKS] == [
        row[name] for name in row if name not in CLOCKS
    ]
    assert [r["step"] for r in folder.curve()] == [r["step"] for r in undisturbed.curve()]
    first, second = folder.attempts()
    assert (first["from"], first["step"], second["from"]) == ("nothing", 0, "checkpoint")
    assert 0 < second["step"] < spec.steps


def test_a_cell_that_another_trains_at_a_url_is_busy_and_says_by_whom(
    url: str, text: RealText, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: this process, this host and this second."""
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.05)
    folder = Store.at(url).add(wsd(text, 60))
    folder.begin_attempt()
    began = datetime.now().replace(microsecond=0)
    with folder.lock():
        assert folder.busy()
        assert folder.kept()
        with pytest.raises(CellBusy) as busy, folder.lock():
            pass
    assert_named(str(busy.value), os.getpid(), began)
    assert not folder.busy()


def test_a_store_in_memory_is_refused_where_cells_have_processes_of_their_own() -> None:
    """Truth: what one process keeps in memory no other sees."""
    config = config_of("sweep=isoflop_tiny", "store=memory://x")
    with pytest.raises(UserError, match=r"lives in one process.*hydra/launcher=basic"):
        run_sweep(config, lambda cells: [None] * len(cells), side_by_side=SideBySide(2))


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("nonsense://x/y", "nonsense://x/y' (can't be understood|needs a package)"),
        ("gs://bucket/x", "pip install universal_pathlib"),
        ("s3://", "store 's3://' names no bucket; write s3://BUCKET/FOLDER"),
    ],
)
def test_a_url_that_nothing_reads_is_refused(store: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        require_place(store, writable=False)


def test_without_the_package_for_urls_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: an import that fails."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "upath":
            raise ModuleNotFoundError("No module named 'upath'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"No module named 'upath'.*pip install universal_pathlib"):
        place("s3://bucket/x")


def test_a_store_that_says_nothing_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: a socket that listens and never answers."""
    pytest.importorskip("s3fs", reason="s3fs is optional")
    monkeypatch.setattr(places, "ANSWERS_WITHIN_S", 0.5)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}", **places.OPTIONS["s3"]}
        monkeypatch.setitem(places.OPTIONS, "s3", options)
        began = time.monotonic()
        with pytest.raises(
            UserError, match=r"can't be reached, or written to \(no answer within 0\.5 s\); check"
        ):
            require_place("s3://bucket/x", writable=False)
        assert time.monotonic() - began < 10


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="a time-out of TCP on Linux")
def test_a_store_that_stops_in_the_midst_of_an_upload_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: a socket that takes the first bytes of more than the system's buffers hold, and then reads no more."""
    s3 = pytest.importorskip("scaling_runs.s3", reason="s3fs is optional")
    monkeypatch.setattr(s3, "STALLED_AFTER_S", 1)
    monkeypatch.setattr(outages, "PATIENCE_S", 1.0)
    monkeypatch.setattr(outages, "_outage", outages._Outage())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    large = tmp_path / "large"
    large.write_bytes(bytes(30_000_000))
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as stopping:

        def take_a_little() -> None:
            with suppress(OSError):  # closed as the test ends
                while True:
                    accepted.append(stopping.accept()[0])
                    accepted[-1].recv(1024)

        threading.Thread(target=take_a_little, daemon=True).start()
        options = {"endpoint_url": f"http://127.0.0.1:{stopping.getsockname()[1]}", **places.OPTIONS["s3"]}
        monkeypatch.setitem(places.OPTIONS, "s3", options)
        with pytest.raises(StoreLost, match="large could not be read or written for"):
            places.send(large, place("s3://bucket/large"))
    for connection in accepted:
        connection.close()
