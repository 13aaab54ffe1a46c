"""Show the progress of a batch on the terminal: bars, notes and failures."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from impasto.painting.callbacks import format_time_left


class BatchProgress:
    """A bar for the batch, and one for each worker; a quiet console shows only what went wrong."""

    def __init__(self, console: Console):
        self._console = console
        self.painted = self.before = self.doubts = 0
        self.failures: list[str] = []
        self._count = 0  # of the paintings to be made
        self._unplanned = 0  # failures that are not among them
        self._lines: dict[str, TaskID] = {}
        self._in_progress: dict[str, float] = {}  # by worker, in paintings
        self._began = time.monotonic()
        self._bar = Progress(
            BarColumn(24),
            TextColumn("{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True)),
            console=console,
            disable=console.quiet,
            expand=True,
        )
        self._total = self._bar.add_task("", total=1.0, text="", visible=False)

    def __enter__(self) -> BatchProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hide the bars."""
        if self._bar.live.is_started:
            self._bar.stop()

    def begin(self, count: int) -> None:
        """Start a batch of `count` paintings; what failed until now is not among them."""
        self._count, self._unplanned = count, len(self.failures)
        self._began = time.monotonic()
        if count:
            self._bar.update(self._total, visible=True)
            self._bar.start()
            self._refresh()

    def note(self, message: str) -> None:
        """Tell the user something."""
        if self._console.quiet:
            click.echo(f"impasto: {message}", err=True)
        else:
            self._bar.console.print(message, markup=False, soft_wrap=True)

    def failed(self, message: str) -> None:
        """Note why a painting could not be made."""
        self.failures.append(message)
        if not self._console.quiet:
            self.note(f"failed: {message}")
        self._refresh()

    def doubted(self, message: str) -> None:
        """Note why a finished painting is doubtful."""
        self.doubts += 1
        self.note(message)

    def done_before(self) -> None:
        """Count a painting that an earlier call has made."""
        self.before += 1

    def done(self) -> None:
        """Count a painting that has been made."""
        self.painted += 1
        self._refresh()

    def show(self, worker: str, text: str, in_progress: float, fraction: float) -> None:
        """Show what a worker is painting.

        Args:
            worker: its name.
            text: what it is painting; "" removes its bar.
            in_progress: the work done on that, in paintings.
            fraction: how far its bar goes.
        """
        self._in_progress[worker] = in_progress
        if not text and worker in self._lines:
            self._bar.remove_task(self._lines.pop(worker))
        elif text:
            if worker not in self._lines:
                self._lines[worker] = self._bar.add_task("", total=1.0, text="")
            text = f"{worker}  {text}".strip()
            self._bar.update(self._lines[worker], completed=fraction, text=text)
        self._refresh()

    def _refresh(self) -> None:
        ended = self.painted + len(self.failures) - self._unplanned
        done = min(float(self._count), ended + sum(self._in_progress.values()))
        seconds = time.monotonic() - self._began
        parts = [f"{self.painted} of {self._count} painted", *self._others()]
        if 0 < done < self._count:
            parts.append(format_time_left(seconds * (self._count - done) / done))
        self._bar.update(self._total, completed=done / max(1, self._count), text=", ".join(parts))

    def _others(self) -> list[str]:
        before = [f"{self.before} before"] if self.before else []
        return before + ([f"{len(self.failures)} failed"] if self.failures else [])

    def summary(self, folder: str) -> None:
        """Say at the end what there is, and list what failed."""
        if not self._console.quiet:
            parts = ", ".join([f"{self.painted} painted", *self._others()])
            click.echo(f"{folder}  ({parts})")
        for message in self.failures:
            click.echo(f"impasto: {message}", err=True)
