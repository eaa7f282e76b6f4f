"""The live page over HTTP, and the command that serves it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from scaling_runs.__main__ import main
from scaling_runs.plan import Plan
from scaling_runs.store import Store
from scaling_runs.sweep_record import write_plan
from scaling_runs.watch.server import LiveServer
from scaling_runs.watch.state import SweepView
from tests.configs import ROOT
from tests.launching import start
from tests.scaling_runs.test_launching import finish

WATCH = [sys.executable, "-m", "scaling_runs", "watch"]


@pytest.fixture
def recorded(store: Store, plan: Plan) -> Store:
    write_plan(store.sweep_folder(plan.name), plan.cells, {cell.cell_id: 10.0 for cell in plan.cells})
    return store


@pytest.fixture
def server(recorded: Store, plan: Plan) -> Iterator[LiveServer]:
    with LiveServer(("127.0.0.1", 0), SweepView(plan.name, str(recorded.root))) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: LiveServer, path: str, host: str = "127.0.0.1") -> tuple[int, str, bytes]:
    """(status, kind, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request("GET", path, headers={"Host": f"{host}:{server.server_address[1]}"})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_it_serves_at_an_address_of_ipv6(recorded: Store, plan: Plan, host: str) -> None:
    """Truth: what is said there, at the address that it names."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no loopback of IPv6")
    running = start(plan.name, f"store={recorded.root}", f"host={host}", cwd=Path(ROOT), program=WATCH)
    assert running.stdout is not None
    said = running.stdout.readline()
    found = re.fullmatch(r"isoflop_tiny at http://\[::1\]:(\d+)/ until Ctrl-C\n", said)
    assert found, said + running.communicate(timeout=30)[1]
    connection = http.client.HTTPConnection("::1", int(found[1]), timeout=10)
    connection.request("GET", "/state.json", headers={"Host": f"[::1]:{found[1]}"})
    assert connection.getresponse().status == 200
    os.killpg(running.pid, signal.SIGTERM)  # ends it as Ctrl-C does
    assert running.communicate(timeout=30)[1] == ""
    assert running.returncode == 0


def test_the_page_needs_no_network(server: LiveServer) -> None:
    """Truth: no element of it asks for anything, and plotly is in it."""
    status, kind, body = ask(server, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    page = body.decode()
    frame = page[: page.index("<script>")]
    assert not re.findall(r'(?:src|href)="(?!data:|#)', frame)
    assert "<title>isoflop_tiny</title>" in frame
    assert "plotly.js" in page


def test_how_it_stands_is_asked_again_and_again(server: LiveServer, recorded: Store, plan: Plan) -> None:
    assert json.loads(ask(server, "/state.json")[2])["counts"]["finished"] == 0
    finish(recorded, plan.cells[0])
    server.view.next_look = 0.0
    assert json.loads(ask(server, "/state.json?again")[2])["counts"]["finished"] == 1


def test_a_store_that_goes_away_is_told_on_the_page(server: LiveServer, recorded: Store, plan: Plan) -> None:
    (recorded.sweep_folder(plan.name) / "plan.json").unlink()
    status, _, body = ask(server, "/state.json")
    assert status == 200
    assert "is not in the store" in json.loads(body)["error"]


@pytest.mark.parametrize("path", ["/etc/passwd", "/../server.py", "/server.py", "/state.json/x"])
def test_nothing_else_is_served(server: LiveServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_a_page_of_another_site_that_asks_is_refused(server: LiveServer) -> None:
    assert ask(server, "/state.json", host="example.com")[0] == 403
    assert ask(server, "/state.json", host="localhost")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no sweep is named; usage: python -m scaling_runs watch SWEEP"),
        (["isoflop_tiny", "x"], "'x' can't be read; usage"),
        (["isoflop_tiny", "prt=1"], "'prt=1' can't be read; usage"),
        (["isoflop_tiny", "port=http"], "port is 'http'; it must be 0"),
        (["isoflop_tiny", "port=70000"], "port is '70000'; it must be 0"),
        (
            ["isoflop_tny", "store={store}"],
            "sweep 'isoflop_tny' is not in the store '{store}', which has isoflop_tiny",
        ),
        (
            ["isoflop_tiny", "store={store}", "port={taken}"],
            "127.0.0.1:{taken} can't be listened on (Address already",
        ),
        (["isoflop_tiny", "store={store}", "host=256.1.1.1"], "256.1.1.1:0 can't be listened on ("),
    ],
)
def test_what_can_not_be_watched_is_told_in_one_sentence(
    recorded: Store, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"store": recorded.root, "taken": taken.getsockname()[1]}
        assert main(["watch", *(argument.format(**names) for argument in arguments)]) == 2
        out, err = capsys.readouterr()
    assert err.startswith(f"error: {said.format(**names)}")
    assert (out, err.count("\n")) == ("", 1)


def test_it_says_where_it_is_and_ctrl_c_ends_it(recorded: Store, plan: Plan) -> None:
    """Truth: the address answers; exit code 0, nothing on stderr."""
    running = start(plan.name, f"store={recorded.root}", cwd=Path(ROOT), program=WATCH)
    assert running.stdout is not None
    said = running.stdout.readline()
    found = re.fullmatch(r"isoflop_tiny at http://127\.0\.0\.1:(\d+)/ until Ctrl-C\n", said)
    assert found, said
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    connection.request("GET", "/state.json")
    assert connection.getresponse().status == 200
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (0, "")
    assert out.strip() == "stopped; the sweep itself goes on"
