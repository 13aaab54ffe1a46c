"""The order of the queue, and which paintings are deleted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from impasto.web.job import Job

__all__ = ["abandoned", "in_turn", "is_to_give_way", "surplus"]

HISTORY = 60  # finished paintings that are kept for a visitor


def in_turn(jobs: Iterable[Job], owners: Sequence[str]) -> list[Job]:
    """The jobs that wait for a worker, the next one first.

    Owners take turns, each with its oldest job (round robin). A painting that was begun and
    resumed comes before all others: it holds memory; a film holds none. owners: the first had the
    last turn.
    """
    queues: dict[str, list[Job]] = {owner: [] for owner in owners}
    for job in jobs:
        if job.state == "waiting":
            queues.setdefault(job.owner, []).append(job)
    for owner in owners[:1]:  # newcomers since then come before it
        queues[owner] = queues.pop(owner)
    rounds = zip_longest(*queues.values())
    waiting = [job for turn in rounds for job in turn if job is not None]
    return sorted(waiting, key=lambda job: not job.begun or job.kind == "film")


def is_to_give_way(job: Job, jobs: Iterable[Job]) -> bool:
    """True if a film keeps other owners waiting: it goes on after them."""
    others = (other for other in jobs if other.owner != job.owner)
    return job.kind == "film" and any(other.state == "waiting" for other in others)


def abandoned(job: Job, jobs: Iterable[Job], keep: float) -> bool:
    """True if a painting is to be deleted, or cancelled if it is not finished.

    A finished one is, `keep` seconds after its end and after its visitor was last there. Another
    is only if somebody else waits, and never if a program asked for it.
    """
    last = max(job.ended, job.last_seen or 0.0)
    if time.time() - last <= keep:
        return False
    if job.over:
        return True
    others = (other for other in jobs if other.owner != job.owner)
    return job.last_seen is not None and any(other.state == "waiting" for other in others)


def surplus(jobs: Sequence[Job], most: int) -> Iterator[tuple[Job, bool]]:
    """Finished paintings that take too much room, and whether all of each is to be deleted, or
    only the pictures that it was made from.

    jobs: oldest first. most: bytes of those pictures, of all paintings together.
    """
    stored, count = 0, Counter[str]()
    for job in reversed(jobs):
        stored += job.input_bytes
        if job.over and job.last_seen is not None:
            count[job.owner] += 1
            if count[job.owner] > HISTORY:
                yield job, True
            elif stored > most:
                yield job, False
