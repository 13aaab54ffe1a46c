"""Limit clients' connections: their number, and the time that a slow client may take.

uvicorn limits the time between two requests, and refuses the newest connection where there are too
many: 80 slow clients on 64 file handles stopped all answers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

import h11
import psutil
from uvicorn.protocols.http.h11_impl import H11Protocol

from impasto.web.guard.visitors import network_of

HEAD = 20.0  # seconds for the head of a request, from the connection's beginning or the last answer
STALL = 30.0  # seconds without a byte of a request's body
WHOLE = 600.0  # seconds for the whole body of a request: 50 MB at 83 kB/s
RATE = 1000  # bytes a second of a body, or of an answer that waits to be read, after STALL seconds
LUMP = 2_000_000  # bytes that the systems on the way may hold: when those are read is unknown
BRIEF = 0.1  # seconds that a new connection has to send its request, whatever happens
MOST, LEAST = 1000, 8  # connections at a time
SHARE = 4  # an address with more than this part of the connections makes room for others
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"retry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)


def most_connections() -> int:
    """The number of connections that may be open: half of the free file handles."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return MOST
    handles = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if handles == resource.RLIM_INFINITY:
        return MOST
    free = handles - int(psutil.Process().num_fds())
    return max(LEAST, min(MOST, free // 2))


class _Counting:
    """A transport that counts the bytes written to it."""

    def __init__(self, transport: asyncio.Transport):
        self._transport, self.written = transport, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self._transport.write(data)


class Connection(H11Protocol):
    """A connection that is closed when its client is too slow, or to make room for others.

    Answers may take as long as they like: pages follow a painting for hours.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or refuse it if there are too many and none can be closed instead."""
        self._counting = _Counting(transport)
        super().connection_made(cast(asyncio.Transport, self._counting))
        self._network = network_of(self.client[0] if self.client else "")
        self._state = self.conn.their_state
        self._since = self._heard = self._moved = self._checked = self.loop.time()
        self._received = self._sent = 0  # bytes of the body; bytes of answers that were taken
        self._owed = 0.0  # bytes of answers that should have been taken by now
        self._most = self.limit_concurrency
        self.limit_concurrency = None  # uvicorn would refuse the newest
        if not self._make_room():
            transport.write(FULL)
            transport.close()

    def _make_room(self) -> bool:
        """Close one connection if there are too many: the one that has waited longest for its
        client, or the oldest of an address with too many. False if there is none to close."""
        ours = [other for other in self.connections if isinstance(other, Connection)]
        alive = [other for other in ours if not other.transport.is_closing()]
        if self._most is None or len(alive) <= self._most:
            return True
        oldest = min(alive, key=Connection.waits_since)
        if self.loop.time() - oldest.waits_since() < BRIEF:
            by_network = Counter(other._network for other in alive if other is not self)
            network, count = by_network.most_common(1)[0]
            if count <= max(2, self._most // SHARE):
                return False
            theirs = [other for other in alive if other._network == network]
            oldest = min(theirs, key=lambda other: other._since)
        oldest.transport.abort()
        return True

    def data_received(self, data: bytes) -> None:
        """Note that the client is there."""
        self._heard = self.loop.time()
        self._received += len(data)
        super().data_received(data)
        self._note_state()

    def on_response_complete(self) -> None:
        """Note that the next request is waited for."""
        super().on_response_complete()
        self._note_state()

    def _note_state(self) -> None:
        if self._state is not self.conn.their_state:
            self._state, self._since, self._received = self.conn.their_state, self.loop.time(), 0

    def waits_since(self) -> float:
        """The time since which the server waits for the client; infinite if it does not."""
        if self.transport.get_write_buffer_size():
            return self._moved
        if self._state is h11.IDLE:
            return self._since
        if self._state is not h11.SEND_BODY:
            return float("inf")
        by_drops = self._received < RATE * (self.loop.time() - self._since)
        return self._since if by_drops else self._heard

    def too_slow(self) -> bool:
        """True if the client takes longer than it may. To be called about once a second."""
        now = self.loop.time()
        if self._reads_slowly(now):
            return True
        reading = self._state is h11.IDLE and self.transport.get_write_buffer_size()
        if self.flow.read_paused or reading:  # the server has to act, not the client
            self._since, self._heard, self._received = now, now, 0
        waited = now - self._since
        if self._state is h11.IDLE:
            return waited > HEAD
        if self._state is h11.SEND_BODY:
            too_little = self._received < RATE * (waited - STALL)
            return too_little or now - self._heard > STALL or waited > WHOLE
        return False

    def _reads_slowly(self, now: float) -> bool:
        """True if an answer has long been read at less than RATE."""
        unsent = self.transport.get_write_buffer_size()
        sent, seconds, self._checked = self._counting.written - unsent, now - self._checked, now
        self._owed = max(-LUMP, self._owed - (sent - self._sent))
        if sent != self._sent or not unsent:
            self._sent, self._moved = sent, now
        self._owed = self._owed + RATE * seconds if unsent else min(self._owed, 0.0)
        return self._owed > RATE * STALL

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; where an answer has begun already, only close the connection."""
        if self.cycle is not None:  # the application must not write to it any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """No warning: requests for WebSockets are answered in HTTP."""


def end_slow(connections: Iterable[object]) -> None:
    """Close the connections whose clients are too slow."""
    for connection in list(connections):
        if isinstance(connection, Connection) and connection.too_slow():
            connection.transport.abort()  # `close` would wait until what is unsent is read
