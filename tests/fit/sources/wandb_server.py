"""A W&B server on the loopback that answers the public API's questions as the real one does; it stops by itself."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VIEWER = {
    "id": "VXNlcjox",
    "entity": "acme",
    "username": "someone",
    "email": "",
    "flags": "{}",
    "teams": {"edges": []},
}
STRANGER = "b" * 40
"""An API key that the server does not take."""
PAGE = 2
"""Runs an answer, however many are asked for, so that a client has to turn pages."""


@dataclass
class Recorded:
    """What the server knows, and what it was asked."""

    projects: dict[str, list[dict[str, Any]]]
    """ENTITY/PROJECT -> nodes."""
    url: str = ""
    filters: list[Any] = field(default_factory=list)
    """Of each page that was asked for."""

    def answer(self, query: str, variables: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """HTTP status and body."""
        if "iewer" in query:
            return 200, {"data": {"viewer": VIEWER}}
        assert "query Runs" in query
        filters = json.loads(variables["filters"])
        self.filters.append(filters)
        if "$bad" in filters:
            return 400, {"errors": [{"message": "unknown operator $bad"}]}
        nodes = self.projects.get(f"{variables['entity']}/{variables['project']}")
        if nodes is None:
            return 200, {"data": {"project": None}}
        states = filters.get("state", {}).get("$in")
        chosen = [node for node in nodes if states is None or node["state"] in states]
        return 200, {"data": {"project": _page(chosen, int(variables["cursor"] or 0))}}


def _page(nodes: Sequence[dict[str, Any]], start: int) -> dict[str, Any]:
    edges = [
        {"cursor": str(start + i + 1), "node": node} for i, node in enumerate(nodes[start : start + PAGE])
    ]
    more = start + PAGE < len(nodes)
    end = edges[-1]["cursor"] if edges else None
    return {
        "internalId": "UHJvamVjdDox",
        "runCount": len(nodes),
        "readOnly": True,
        "runs": {"edges": edges, "pageInfo": {"endCursor": end, "hasNextPage": more}},
    }


def node(
    number: int, config: dict[str, Any], summary: dict[str, Any], state: str = "finished"
) -> dict[str, Any]:
    """A run as the server sends it: config and summary are JSON in text, each config value in a `value`."""
    wrapped = {key: {"desc": None, "value": value} for key, value in config.items()}
    moment = "2026-01-01T00:00:00Z"
    return {
        "projectId": "1",
        "id": f"UnVuOnYx{number}",
        "tags": [],
        "name": f"id{number}",
        "displayName": f"eager-fox-{number}",
        "sweepName": None,
        "state": state,
        "config": json.dumps({"_wandb": {"value": {"cli_version": "0.31.0"}}} | wrapped),
        "group": None,
        "jobType": None,
        "commit": None,
        "readOnly": True,
        "createdAt": moment,
        "heartbeatAt": moment,
        "description": None,
        "notes": None,
        "systemMetrics": "{}",
        "summaryMetrics": json.dumps(summary),
        "historyLineCount": 1,
        "user": {"name": "Someone", "username": "someone"},
        "historyKeys": None,
    }


@contextmanager
def serving(recorded: Recorded) -> Iterator[Recorded]:
    """`recorded` with the URL of a server that answers from it while the body runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer = 200, {}  # W&B's client sends its own statistics, too
            stranger = b64encode(f"api:{STRANGER}".encode()).decode()
            if self.headers.get("Authorization") == f"Basic {stranger}":
                status, answer = 401, {"errors": [{"message": "user is not logged in"}]}
            elif self.path == "/graphql":
                asked = json.loads(body)
                status, answer = recorded.answer(asked["query"], asked.get("variables") or {})
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorded.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield recorded
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
