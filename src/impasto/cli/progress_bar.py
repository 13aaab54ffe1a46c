"""Progress bars on the terminal, for paintings and downloads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from impasto.figures.contact_sheet import kinds
from impasto.painting.callbacks import format_time_left, seconds_left
from impasto.painting.step import Step

REFRESH = 0.1  # seconds between two updates; each reads the objective, and so waits for the device


def make_console(quiet: bool = False) -> Console:
    """Make the console for progress and messages, on stderr; quiet: it prints nothing."""
    # have rich load its table of widths now: later there may be no file handles left
    cell_len("…")
    return Console(stderr=True, highlight=False, quiet=quiet)


def note(console: Console, message: str) -> None:
    """Print a line as it is: no markup, and not wrapped."""
    console.print(message, markup=False, soft_wrap=True)


@contextmanager
def painting_bar(console: Console, title: str) -> Iterator[Callable[[Step], None]]:
    """Show a bar with time left, step, terms, level and steps per second.

    The title and the bar appear with the first step, so that an earlier error is a single line. On
    a narrow terminal the text is truncated; 80 columns have room for content and style. Yields
    the callback that updates the bar.
    """
    bar = _progress(console)
    task = bar.add_task("", total=1.0, text="", left="")
    shown = -REFRESH
    noted = False

    def show(step: Step) -> None:
        nonlocal shown, noted
        if step.number == 1:
            note(console, title)
            bar.start()
        if step.note and not noted:
            bar.console.print(
                f"{step.note} at step {step.number}: went back to the best picture with a "
                "smaller step"
            )
            noted = True
        if step.seconds - shown < REFRESH and step.fraction < 1:
            return
        shown = step.seconds
        bar.update(
            task,
            completed=step.fraction,
            text=_text(step),
            left=format_time_left(seconds_left(step)),
        )

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


def _progress(console: Console) -> Progress:
    any_character = console.encoding.startswith("utf")
    return Progress(
        SpinnerColumn("dots" if any_character else "line"),
        BarColumn(8),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True)),
        console=console,
        disable=console.quiet,
        expand=True,
    )


def _text(step: Step) -> str:
    """Format a step: "step 80/200  content 0.61  style 1.92  level 2/3  9.8 steps/s"."""
    sums = kinds({name: float(value) for name, value in step.terms.items()})
    terms = "  ".join(f"{kind} {value:.3g}" for kind, value in sums.items())
    rate = step.evaluations / step.seconds if step.seconds else 0.0
    level = f"level {step.level}/{step.levels}"
    return f"step {step.number}/{step.steps}  {terms}  {level}  {rate:.1f} steps/s"


class FilmBar:
    """A bar over all frames of a film, with the frame's steps and the time left.

    The time left is what the frames painted so far took, times those that are left.
    """

    def __init__(self, bar: Progress, frames: int, done: int):
        self._bar, self._frames, self._done, self._painted = bar, frames, done, 0
        self._began = time.monotonic()
        self._task = bar.add_task("", total=frames, completed=done, text="", left="")

    def on_step(self, step: Step) -> None:
        """Show a step of the frame that is being painted."""
        text = f"frame {self._done + 1}/{self._frames}  step {step.number}/{step.steps}"
        self._show(self._done + step.fraction, text)

    def on_frame(self) -> None:
        """Count a painted frame."""
        self._done, self._painted = self._done + 1, self._painted + 1
        self._show(self._done, f"frame {self._done}/{self._frames}")

    def _show(self, done: float, text: str) -> None:
        spent = time.monotonic() - self._began
        each = spent / self._painted if self._painted else None
        left = None if each is None else each * max(0.0, self._frames - done)
        self._bar.update(self._task, completed=done, text=text, left=format_time_left(left))


@contextmanager
def film_bar(console: Console, title: str, frames: int, done: int) -> Iterator[FilmBar]:
    """Show a bar over the frames of a film.

    Args:
        console: for the bar.
        title: the line above it.
        frames: about how many there are.
        done: how many an earlier run has painted.
    """
    note(console, title)
    with _progress(console) as bar:
        yield FilmBar(bar, frames, done)


@contextmanager
def download_bar(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for the download of weights; it appears with the first bytes.

    Yields the callback that updates it, with the bytes done and the total.
    """
    bar = Progress(
        TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console
    )

    def show(done: int, total: int) -> None:
        if not bar.tasks:
            bar.start()
            bar.add_task(name)
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield show
    finally:
        if bar.tasks:
            bar.stop()
