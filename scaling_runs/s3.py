"""s3fs, of which a host that says nothing is told within seconds."""

from __future__ import annotations

from typing import Any

from botocore.handlers import add_expect_header
from s3fs import S3FileSystem


class PromptS3(S3FileSystem):
    """Leaves it to `outages.py` to ask again.

    By botocore's default an upload sends its headers and waits for the host's `100 Continue`, and aiohttp counts no
    time until the body is out: on a host that accepts a connection and says nothing s3fs 2026.9 waits for ever. So the
    body is sent along, and what follows from there has its `read_timeout`.
    """

    connect_timeout = 5
    read_timeout = 15
    retries = 1
    _prompted: Any = None
    """The client that this was told to."""

    async def set_session(self, *arguments: Any, **options: Any) -> Any:
        client = await super().set_session(*arguments, **options)
        if client is not self._prompted:
            client.meta.events.unregister("before-call.s3", add_expect_header)
            self._prompted = client
        return client
