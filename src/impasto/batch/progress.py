"""What the terminal shows of a batch: how much is done, what each worker has in hand, what went
wrong."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from impasto.painting.callbacks import in_words

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["BatchProgress"]


class InHand(NamedTuple):
    """A worker's tasks: its line, and how much of them is done, in paintings."""

    line: TaskID
    part: float


class BatchProgress:
    """A bar for all, and one for each worker; on a quiet console only failures are told."""

    def __init__(self, console: Console):
        self._console = console
        self.painted = self.before = self.doubts = 0
        self.failures: list[str] = []
        self._all = self._failed = 0
        self._hands: dict[str, InHand] = {}
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """The bars go."""
        if self._bar.live.is_started:
            self._bar.stop()

    def begin(self, count: int) -> None:
        """So many are to be painted."""
        self._all, self._failed, self._began = count, 0, time.monotonic()
        if count:
            self._bar.update(self._total, visible=True)
            self._bar.start()
            self._refresh()

    def note(self, words: str) -> None:
        """Tell something that is not as it should be."""
        if self._console.quiet:
            click.echo(f"impasto: {words}", err=True)
        else:
            self._bar.console.print(words, markup=False, soft_wrap=True)

    def failed(self, words: str, before: bool = False) -> None:
        """Nothing came of one; `before`: of an earlier call."""
        self.failures.append(words)
        if not before:
            self._failed += 1
            if not self._console.quiet:
                self.note(f"failed: {words}")
        self._refresh()

    def doubted(self, words: str) -> None:
        """One has been painted that is hardly what was meant."""
        self.doubts += 1
        self.note(words)

    def done_before(self) -> None:
        """One is there from an earlier call."""
        self.before += 1

    def done(self) -> None:
        """One has been painted."""
        self.painted += 1
        self._refresh()

    def show(self, worker: str, words: str, part: float, fraction: float) -> None:
        """What a worker has in hand, and how far it is with that; no words: nothing.

        part: how many paintings that makes, besides those that have been counted as done.
        """
        hand = self._hands.get(worker)
        if not words:
            if hand is not None:
                self._bar.remove_task(hand.line)
                del self._hands[worker]
        else:
            line = self._bar.add_task("", total=1.0, text="") if hand is None else hand.line
            self._hands[worker] = InHand(line, part)
            self._bar.update(line, completed=fraction, text=f"{worker}  {words}".strip())
        self._refresh()

    def _refresh(self) -> None:
        failed = len(self.failures)
        over = min(self._all, self.painted + self._failed)
        share = min(float(self._all), over + sum(hand.part for hand in self._hands.values()))
        parts = [f"{self.painted} of {self._all} painted"]
        parts += [f"{self.before} before"] if self.before else []
        parts += [f"{failed} failed"] if failed else []
        seconds = time.monotonic() - self._began
        if 0 < share < self._all:
            parts.append(in_words(seconds * (self._all - share) / share))
        self._bar.update(self._total, completed=share / max(1, self._all), text=", ".join(parts))

    def summary(self, folder: str) -> None:
        """Say at the end what there is, and list what failed."""
        parts = [f"{self.painted} painted"]
        parts += [f"{self.before} before"] if self.before else []
        parts += [f"{len(self.failures)} failed"] if self.failures else []
        if not self._console.quiet:
            click.echo(f"{folder}  ({', '.join(parts)})")
        for words in self.failures:
            click.echo(f"impasto: {words}", err=True)
