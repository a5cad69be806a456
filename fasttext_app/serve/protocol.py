"""The HTTP protocol of uvicorn, with limits on what a slow or endless request can hold.

uvicorn itself waits for a request for as long as its client likes, and keeps headers of any size.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 1 << 16
PATIENCE = 30.0
"""Seconds for a request to arrive whole, and for a client to take a part of its answer."""


class LimitedProtocol(HttpToolsProtocol):
    """A connection."""

    _waits_since: float | None = None
    """When the request that has not yet arrived whole began."""
    _is_in_head = False
    _head_bytes = 0
    _unsent = (0, 0.0)
    """Bytes that the client has not taken, and since when."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._waits_since = self.loop.time()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request."""
        super().on_message_begin()
        self._waits_since = self.loop.time()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Start to answer."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait no longer."""
        self._waits_since = None
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; refuse a head without end."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The headers are too large.")

    def drop_if_stalled(self, now: float) -> None:
        """Close the connection if its client has neither sent nor taken anything for too long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent[0]:
            self._unsent = unsent, now
        is_late = self._waits_since is not None and now - self._waits_since > PATIENCE
        if is_late or (unsent and now - self._unsent[1] > PATIENCE):
            self.transport.abort()


def drop_stalled(state: ServerState, now: float) -> None:
    """Close the connections whose clients have stalled."""
    for connection in [*state.connections]:
        if isinstance(connection, LimitedProtocol):
            connection.drop_if_stalled(now)
