"""The studio's counters, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from impasto.web.jobs.job import OVER, Job, State

SECONDS = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800)


class Metrics:
    """Counters and gauges of one studio, in a registry of their own."""

    def __init__(self, count: Callable[[State], int]):
        """count: gives the number of jobs in a state."""
        self._registry = at = CollectorRegistry()
        queue = Gauge("impasto_queue_length", "paintings that wait for a worker", registry=at)
        queue.set_function(partial(count, "waiting"))
        jobs = Gauge("impasto_jobs", "unfinished paintings, by state", ["state"], registry=at)
        jobs.labels("painting").set_function(partial(count, "painting"))
        jobs.labels("paused").set_function(partial(count, "paused"))
        self._over = Counter("impasto_paintings", "ended paintings", ["outcome"], registry=at)
        self._seconds = Histogram(
            "impasto_painting_seconds", "seconds of a painting", buckets=SECONDS, registry=at
        )
        self.refused = Counter("impasto_refused", "refused requests", ["reason"], registry=at)
        for outcome in OVER:  # a counter that is not there yet is no zero to Prometheus
            self._over.labels(outcome)
        for reason in ("busy", "invalid"):
            self.refused.labels(reason)

    def over(self, job: Job, state: State) -> None:
        """Count a job that ends in `state`."""
        self._over.labels(state).inc()
        if state in ("done", "stopped") and job.progress:
            self._seconds.observe(job.progress.seconds)

    def text(self) -> bytes:
        """All counters in Prometheus's text format."""
        return bytes(generate_latest(self._registry))
