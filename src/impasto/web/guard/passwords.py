"""Answer wrong passwords late, and check only a few a second of each address."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TypeVar

from impasto.web.guard.visitors import network_of

EACH = 0.5  # seconds that a wrong password costs its address
MOST_DUE = 5.0  # seconds that an address may owe; while it owes more, no password is checked
TRUSTED = 20  # passwords a second that are checked even then, where the right one has come from
PENDING = 8  # late answers at a time, of all addresses: each holds a connection
ADDRESSES = 4096  # that are remembered
LOG_EVERY = 10.0  # seconds between two lines in the log about an address
log = logging.getLogger("impasto.studio")
T = TypeVar("T")


@dataclass
class _Guesser:
    """An address that wrong passwords have come from; times by time.monotonic().

    due: when they are paid for. checked: until when a trusted address has used its checks.
    """

    due: float = 0.0
    checked: float = 0.0
    count: int = 0
    logged: float = float("-inf")


class Guesses:
    """The wrong passwords of each address.

    A right password is never answered late; while too many wrong ones come from its address it may
    be refused unchecked. An address that the right one has come from gets more checks: visitors
    may share it with whoever guesses, behind a router or a proxy.
    """

    def __init__(self) -> None:
        self._guessers: dict[str, _Guesser] = {}
        self._trusted: dict[str, None] = {}
        self._pending = 0

    def too_many(self, address: str) -> bool:
        """True if a password from there must not be checked now."""
        now, network = time.monotonic(), network_of(address)
        guesser = self._guessers.get(network)
        if guesser is None or guesser.due - now <= MOST_DUE:
            return False
        if network not in self._trusted or guesser.checked > now + 1:
            return True
        guesser.checked = max(now, guesser.checked) + 1 / TRUSTED
        return False

    def right(self, address: str) -> None:
        """Note that the right password came from there."""
        _remember(self._trusted, network_of(address), None)

    async def wrong(self, address: str) -> None:
        """Note a wrong password and wait until it may be answered."""
        now, network = time.monotonic(), network_of(address)
        guesser = self._guessers.get(network) or _Guesser()
        _remember(self._guessers, network, guesser)
        guesser.due = min(max(now, guesser.due) + EACH, now + MOST_DUE + EACH)
        guesser.count += 1
        if now - guesser.logged > LOG_EVERY:
            guesser.logged = now
            log.warning("a wrong password from %s (%d so far)", network, guesser.count)
        if self._pending < PENDING:
            self._pending += 1
            try:
                await asyncio.sleep(guesser.due - now)
            finally:
                self._pending -= 1


def _remember(known: dict[str, T], network: str, value: T) -> None:
    """Note it as the newest, and forget the oldest of too many."""
    known.pop(network, None)
    known[network] = value
    if len(known) > ADDRESSES:
        del known[next(iter(known))]
