"""A store that is away is asked again, and given up in the end."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from scaling_runs import outages
from scaling_runs.errors import StoreLost
from scaling_runs.outages import impatient, riding_out


@pytest.fixture(autouse=True)
def _in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No outage is left over from another test, and waits are of milliseconds."""
    monkeypatch.setattr(outages, "_outage", outages._Outage())
    monkeypatch.setattr(outages, "FIRST_WAIT_S", 0.001)


def failing(times: int, error: Exception) -> tuple[Callable[[], str], list[float]]:
    """What fails so often and then works; when it was asked."""
    asked: list[float] = []

    def ask() -> str:
        asked.append(time.monotonic())
        if len(asked) <= times:
            raise error
        return "done"

    return ask, asked


def test_what_fails_for_a_while_is_done_in_the_end_and_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: three failures, each waited for longer than the one before."""
    ask, asked = failing(3, ConnectionResetError(104, "Connection reset by peer"))
    assert riding_out("s3://bucket/a", ask) == "done"
    waits = [after - before for before, after in pairwise(asked)]
    assert [wait >= 0.001 * 2**i for i, wait in enumerate(waits)] == [True] * 3
    warning, over = capsys.readouterr().err.splitlines()
    assert warning == (
        "warning: s3://bucket/a can't be read or written (Connection reset by peer); trying again for up to 90 s"
    )
    assert over == "the store answers again, after 0 s"


def test_an_outage_that_lasts_is_given_up_and_nothing_is_asked_after_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the client's own reason; the process is to end, and would else wait once more for each of its cells."""
    monkeypatch.setattr(outages, "PATIENCE_S", 0.05)
    ask, asked = failing(1000, TimeoutError("no answer"))
    with pytest.raises(
        StoreLost, match=r"^s3://bucket/a could not be read or written for 0 s \(no answer\); run "
    ):
        riding_out("s3://bucket/a", ask)
    tried = len(asked)
    assert tried >= 3
    with pytest.raises(StoreLost, match=r"s3://bucket/a .*\(no answer\)"):
        riding_out("s3://bucket/b", ask)
    assert len(asked) == tried
    assert capsys.readouterr().err.count("\n") == 1


def test_an_outage_may_end_with_a_no(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: two outages, each of which ends with the answer that there is no such file, and is said."""
    for _ in range(2):
        ask, asked = failing(1, OSError("away"))

        def look(ask: Callable[[], str] = ask) -> None:
            raise FileNotFoundError(ask())

        with pytest.raises(FileNotFoundError):
            riding_out("s3://bucket/a", look)
        assert len(asked) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith("warning") for line in said] == [True, False, True, False]


def test_an_upload_that_fails_after_hours_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: a first try that takes longer than patience itself, and a second that works."""
    monkeypatch.setattr(outages, "PATIENCE_S", 0.05)
    tries = []

    def send() -> None:
        tries.append(1)
        if len(tries) == 1:
            time.sleep(0.1)
            raise ConnectionResetError

    riding_out("s3://bucket/a", send)
    assert len(tries) == 2


@pytest.mark.parametrize(
    "error", [FileNotFoundError(), FileExistsError(), ValueError(), TypeError(), KeyError()]
)
def test_an_answer_and_a_bug_are_no_outage(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: asked once, with the error that came."""
    ask, asked = failing(5, error)
    with pytest.raises(type(error)):
        riding_out("s3://bucket/a", ask)
    assert len(asked) == 1
    assert capsys.readouterr().err == ""


def test_who_only_watches_has_no_patience_and_gives_nothing_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: asked once; another thread, and the same one after that, are patient."""
    ask, asked = failing(1, OSError("away"))
    with impatient():
        with pytest.raises(StoreLost):
            riding_out("s3://bucket/a", ask)
        assert len(asked) == 1
        patient, _ = failing(1, OSError("away"))
        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(riding_out("s3://bucket/a", patient)))
        thread.start()
        thread.join()
        assert answers == ["done"]
    assert capsys.readouterr().err.count("\n") == 2
    again, _ = failing(1, OSError("away"))
    assert riding_out("s3://bucket/a", again) == "done"


def test_a_worker_can_send_the_news_home() -> None:
    """Truth: pickle, by which a worker's process sends what its cell raised."""
    lost = pickle.loads(pickle.dumps(StoreLost("gone for good")))
    assert (type(lost), str(lost)) == (StoreLost, "gone for good")
