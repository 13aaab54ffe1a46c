"""What the studio counts, in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from impasto.web.job import OVER

if TYPE_CHECKING:
    from impasto.web.job import Job, State

__all__ = ["Metrics"]

SECONDS = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800)


class Metrics:
    """Counters and gauges of one studio, in a registry of their own."""

    def __init__(self, waiting: Callable[[], int], count: Callable[[State], int]):
        """waiting: how many paintings wait for a worker; count: how many are in a state."""
        self._registry = CollectorRegistry()
        queue = Gauge(
            "impasto_queue_length", "paintings that wait for a worker", registry=self._registry
        )
        queue.set_function(waiting)
        states = Gauge(
            "impasto_jobs", "paintings that are here, by state", ["state"], registry=self._registry
        )
        for state in ("painting", "paused"):
            states.labels(state).set_function(partial(count, state))
        self._over = Counter(
            "impasto_paintings", "paintings that have ended", ["outcome"], registry=self._registry
        )
        for outcome in OVER:
            self._over.labels(outcome)
        self._seconds = Histogram(
            "impasto_painting_seconds",
            "seconds of a painting",
            buckets=SECONDS,
            registry=self._registry,
        )
        self.refused = Counter(
            "impasto_refused", "orders that were not taken", ["reason"], registry=self._registry
        )
        for reason in ("busy", "invalid"):
            self.refused.labels(reason)

    def over(self, job: Job, state: State) -> None:
        """Count a job that has come to its end, `state`."""
        self._over.labels(state).inc()
        if state in ("done", "stopped") and job.progress:
            self._seconds.observe(job.progress.seconds)

    def text(self) -> bytes:
        """All of them, for Prometheus to read."""
        return bytes(generate_latest(self._registry))
