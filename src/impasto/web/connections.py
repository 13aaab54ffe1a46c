"""Clients' connections: so many at a time, and each only for as long as its client keeps up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

import h11
import psutil
from uvicorn.protocols.http.h11_impl import H11Protocol

from impasto.web.addresses import network_of

__all__ = ["Connection", "end_slow", "most_connections"]

HEAD = 20.0  # seconds for the head of a request, from the connection's beginning or the last answer
STALL = 30.0  # seconds without a byte of a request's body
WHOLE = 600.0  # seconds for the whole body of a request: 50 MB at 83 kB/s
# bytes of a body, or of an answer that waits to be read, for each second after the first STALL of
# them
RATE = 1000
# bytes that the systems on the way may hold: of these it cannot be told when they are read
LUMP = 2_000_000
BRIEF = 0.1  # seconds that a new connection has to send its request, also when there are too many
MOST, LEAST = 1000, 8  # connections at a time
# an address that has more than this part of them makes room for others, when nobody is waited for
SHARE = 4
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: "
    b"close\r\ncontent-length: 0\r\n\r\n"
)


def most_connections() -> int:
    """How many connections may be open: half of the free handles; pictures need some, too."""
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
    """A transport that counts what is written to it."""

    def __init__(self, transport: asyncio.Transport):
        self._transport, self.written = transport, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self._transport.write(data)


class Connection(H11Protocol):
    """A connection that ends when its client is too slow, or makes room when there are too many.

    uvicorn's own limit the time between two requests only. Answers may take as long as they like:
    pages follow a painting for hours.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or refuse it if there are too many and nobody has to make room."""
        self._counting = _Counting(transport)
        super().connection_made(cast(asyncio.Transport, self._counting))
        self._where = network_of(self.client[0] if self.client else "")
        self._state = self.conn.their_state
        self._since = self._heard = self._moved = self._checked = self.loop.time()
        self._received = self._gone = 0
        self._owed = 0.0
        self._most = self.limit_concurrency
        self.limit_concurrency = None  # uvicorn would refuse the newest
        if not self._make_room():
            transport.write(FULL)
            transport.close()

    def _make_room(self) -> bool:
        """Whether there is room, once the connection is closed that has waited longest, or one of
        too many."""
        ours = [each for each in self.connections if isinstance(each, Connection)]
        there = [each for each in ours if not each.transport.is_closing()]
        if self._most is None or len(there) <= self._most:
            return True
        oldest = min(there, key=Connection.waits_since)
        if self.loop.time() - oldest.waits_since() < BRIEF:
            where, count = Counter(each._where for each in there if each is not self).most_common(
                1
            )[0]
            if count <= max(2, self._most // SHARE):
                return False
            oldest = min(
                (each for each in there if each._where == where), key=lambda each: each._since
            )
        oldest.transport.abort()
        return True

    def data_received(self, data: bytes) -> None:
        """Note that the client is there."""
        self._heard = self.loop.time()
        self._received += len(data)
        super().data_received(data)
        self._note_state()

    def on_response_complete(self) -> None:
        """Note when the next request is waited for."""
        super().on_response_complete()
        self._note_state()

    def _note_state(self) -> None:
        if self._state is not self.conn.their_state:
            self._state, self._since, self._received = self.conn.their_state, self.loop.time(), 0

    def waits_since(self) -> float:
        """The time since which the client is waited for; infinite while it waits itself."""
        if self.transport.get_write_buffer_size():
            return self._moved
        if self._state is h11.IDLE:
            return self._since
        if self._state is not h11.SEND_BODY:
            return float("inf")
        by_drops = self._received < RATE * (self.loop.time() - self._since)
        return self._since if by_drops else self._heard

    def too_slow(self) -> bool:
        """Whether the client takes longer than it may. To be called every second or so."""
        now = self.loop.time()
        if self._reads_slowly(now):
            return True
        reading = self._state is h11.IDLE and self.transport.get_write_buffer_size()
        # that the server is busy, or has not sent all, is not the client's fault
        if self.flow.read_paused or reading:
            self._since, self._heard, self._received = now, now, 0
        waited = now - self._since
        if self._state is h11.IDLE:
            return waited > HEAD
        if self._state is h11.SEND_BODY:
            too_little = self._received < RATE * (waited - STALL)
            return too_little or now - self._heard > STALL or waited > WHOLE
        return False

    def _reads_slowly(self, now: float) -> bool:
        """Whether an answer that waits to be read has long been read at less than RATE."""
        unsent = self.transport.get_write_buffer_size()
        gone, since, self._checked = self._counting.written - unsent, self._checked, now
        self._owed = max(-LUMP, self._owed - (gone - self._gone))
        if gone != self._gone or not unsent:
            self._gone, self._moved = gone, now
        self._owed = self._owed + RATE * (now - since) if unsent else min(self._owed, 0.0)
        return self._owed > RATE * STALL

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; where an answer has begun already, only close the connection."""
        if self.cycle is not None:  # whoever answers it by now must not write any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: who asks for WebSockets is answered in HTTP."""


def end_slow(connections: Iterable[object]) -> None:
    """Close the connections whose clients are too slow."""
    for each in list(connections):
        if isinstance(each, Connection) and each.too_slow():
            each.transport.abort()  # `close` would wait until what is unsent is read
