"""Wrong passwords: answered late, and of more than a few a second not even looked at."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TypeVar

from impasto.web.addresses import network_of

__all__ = ["Guesses"]

EACH = 0.5  # seconds that a wrong password costs its address
MOST_DUE = 5.0  # seconds that an address may owe; while it owes more, nothing is looked at
# passwords a second that are looked at, while it owes more, from where the right one has come
# before
TRUSTED = 20
PENDING = 8  # late answers at a time, of all addresses: each holds a connection
ADDRESSES = 4096  # that are remembered
SAY_EVERY = 10.0  # seconds between two lines in the log about an address
log = logging.getLogger("impasto.studio")
T = TypeVar("T")


@dataclass
class _Guesser:
    """An address that wrong passwords have come from.

    due: the time at which they are paid for; looked: up to which it has used up its looks as a
    trusted one.
    """

    due: float = 0.0
    looked: float = 0.0
    count: int = 0
    said: float = float("-inf")


class Guesses:
    """The wrong passwords that have come, by address.

    Right ones are never answered late; while too many wrong ones come from their address, they may
    be refused unseen. Where the right one has come from before, more are looked at, for its
    visitors may share it with whoever guesses: behind one router, or a proxy.
    """

    def __init__(self) -> None:
        self._guessers: dict[str, _Guesser] = {}
        self._trusted: dict[str, None] = {}
        self._pending = 0

    def too_many(self, address: str) -> bool:
        """Whether a password that has come from there is not to be looked at now."""
        now, where = time.monotonic(), network_of(address)
        guesser = self._guessers.get(where)
        if guesser is None or guesser.due - now <= MOST_DUE:
            return False
        if where not in self._trusted or guesser.looked > now + 1:
            return True
        guesser.looked = max(now, guesser.looked) + 1 / TRUSTED
        return False

    def right(self, address: str) -> None:
        """Note that the right password came from there."""
        _put(self._trusted, network_of(address), None)

    async def wrong(self, address: str) -> None:
        """Note a wrong password and wait until it may be answered."""
        now, where = time.monotonic(), network_of(address)
        guesser = self._guessers.get(where) or _Guesser()
        _put(self._guessers, where, guesser)
        guesser.due = min(max(now, guesser.due) + EACH, now + MOST_DUE + EACH)
        guesser.count += 1
        if now - guesser.said > SAY_EVERY:
            guesser.said = now
            log.warning("a wrong password from %s (%d so far)", where, guesser.count)
        if self._pending < PENDING:
            self._pending += 1
            try:
                await asyncio.sleep(guesser.due - now)
            finally:
                self._pending -= 1


def _put(known: dict[str, T], where: str, what: T) -> None:
    """Note it as the newest; the oldest is forgotten where there are too many."""
    known.pop(where, None)
    known[where] = what
    if len(known) > ADDRESSES:
        del known[next(iter(known))]
