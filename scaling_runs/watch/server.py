"""The live page's server: on this machine alone unless told otherwise, until Ctrl-C."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from fit.errors import UserError
from fit.report.html.page import page
from scaling_runs.errors import StoreLost
from scaling_runs.watch.state import SweepView

USAGE = "usage: python -m scaling_runs watch SWEEP [store=FOLDER-OR-URL] [port=0] [host=127.0.0.1]"
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
STATE = "/state.json"


class LiveServer(ThreadingHTTPServer):
    """Serves one sweep's page and, to whoever polls, how it stands."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], view: SweepView) -> None:
        self.view, self.looking = view, Lock()
        self.page = page(
            "live.html.j2",
            {},
            None,
            package="scaling_runs.watch",
            scripts=["live.js"],
            styles=["live.css"],
            title=view.sweep,
        ).encode()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def state(self) -> bytes:
        """As JSON; one sentence under `error` where the store does not answer, for the page to show and ask again."""
        with self.looking:
            try:
                state = self.view.state()
            except StoreLost:
                state = {
                    "error": f"store '{self.view.store}' does not answer at the moment, and is asked again"
                }
            except UserError as error:
                state = {"error": str(error)}
        return json.dumps(state, allow_nan=False).encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has gone away in mid answer is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def answers_to(self, host: str) -> bool:
        """Whether a request for this host is meant for it: of another site, a page in the same browser asks for it."""
        return (
            self.server_address[0] not in LOOPBACK or host.rpartition(":")[0] in LOOPBACK or host in LOOPBACK
        )


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not self.server.answers_to(self.headers.get("Host", "")):
            self._send(HTTPStatus.FORBIDDEN, b"not of this host", "text/plain")
        elif path == STATE:
            self._send(HTTPStatus.OK, self.server.state(), "application/json")
        elif path == "/":
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        else:
            self._send(HTTPStatus.NOT_FOUND, b"no such page", "text/plain")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a line a poll would fill the terminal."""


def watch(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C, which is its way to end: 0. UserError where there is no such sweep, or the port is taken."""
    sweep, store, host, port = _read(arguments)
    host = host.removeprefix("[").removesuffix("]")
    view = SweepView(sweep, store)
    view.state()  # what is wrong is told at once, here
    try:
        server = LiveServer((host, port), view)
    except OSError as error:
        raise UserError(
            f"{host}:{port} can't be listened on ({error.strerror or error}); give another port=, or port=0 for any "
            f"that is free"
        ) from None
    with server:
        shown = f"[{host}]" if ":" in host else host
        print(f"{sweep} at http://{shown}:{server.server_address[1]}/ until Ctrl-C", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nstopped; the sweep itself goes on")
    return 0


def _read(arguments: Sequence[str]) -> tuple[str, str, str, int]:
    """(sweep, store, host, port)."""
    given = {"sweep": "", "store": "results", "host": "127.0.0.1", "port": "0"}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals and not given["sweep"]:
            name, value = "sweep", argument
        if name not in given or not value:
            raise UserError(f"'{argument}' can't be read; {USAGE}")
        given[name] = value
    if not given["sweep"]:
        raise UserError(f"no sweep is named; {USAGE}")
    port = given["port"]
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise UserError(f"port is '{port}'; it must be 0, for any that is free, to 65535, such as port=8000")
    return given["sweep"], given["store"], given["host"], int(port)
