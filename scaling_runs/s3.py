"""s3fs, of which a host that says nothing is told within seconds."""

from __future__ import annotations

import socket
from typing import Any

from botocore.handlers import add_expect_header
from s3fs import S3FileSystem

STALLED_AFTER_S = 20
"""A host that has stopped taking what is sent, or acknowledging it, is given up."""


class PromptS3(S3FileSystem):
    """Leaves it to `outages.py` to ask again.

    By botocore's default an upload sends its headers and waits for the host's `100 Continue`, and aiohttp counts no
    time until the body is out: on a host that accepts a connection and says nothing s3fs 2026.9 waits for ever. So the
    body is sent along, and what follows from there has its `read_timeout`. That a host stops in the midst of a body
    no client's time-out covers: its sockets have TCP's own (RFC 5482), where the system has it.
    """

    connect_timeout = 5
    read_timeout = 15
    retries = 1
    config_kwargs: dict[str, Any]
    _prompted: Any = None
    """The client that this was told to."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.config_kwargs = {**self.config_kwargs, "connector_args": {"socket_factory": _socket}}

    async def set_session(self, *arguments: Any, **options: Any) -> Any:
        client = await super().set_session(*arguments, **options)
        if client is not self._prompted:
            client.meta.events.unregister("before-call.s3", add_expect_header)
            self._prompted = client
        return client


def _socket(address: Any) -> socket.socket:
    """address: (family, type, protocol, name, address), as getaddrinfo gives it."""
    made = socket.socket(*address[:3])
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * STALLED_AFTER_S)
    return made
