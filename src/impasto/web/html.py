"""What the page says of a painting, as HTML."""

from __future__ import annotations

import base64
import math
import re
from html import escape

from impasto.painting.callbacks import in_words, terms_in_words
from impasto.web.job import Job

__all__ = ["EMPTY", "as_labels", "finished", "label", "live", "problem", "said"]

EMPTY = "<p class='empty'>The picture appears here while it is painted.</p>"
WIDTH, HEIGHT = 320, 64  # of the loss curve's box
DOWNLOADS = (
    ("picture?format=png", "PNG"),
    ("picture?format=jpeg", "JPEG"),
    ("picture?format=webp", "WebP"),
)


def problem(text: str) -> str:
    """What is wrong, for the place where the state is said."""
    text = as_labels(text)
    return f"<p role='alert' class='problem'>{escape(text[:1].upper() + text[1:])}.</p>"


def as_labels(text: str) -> str:
    """Options by the labels that they have on the page: "Size of" for --size-of."""
    return re.sub(r"--([a-z][a-z-]*[a-z])", lambda found: f"“{label(found[1])}”", text)


def label(name: str) -> str:
    """A field's, or an option's, name on the page."""
    return name.replace("_", " ").replace("-", " ").capitalize()


def said(job: Job, before: int) -> str:
    """The state in one sentence; it changes seldom, and screen readers say it."""
    seconds = f"{job.progress.seconds:.1f} s" if job.progress else ""
    steps = job.progress.step if job.progress else 0
    text = {
        "waiting": f"In the queue: {before} "
        f"{'painting comes' if before == 1 else 'paintings come'} first."
        if before
        else "Starting.",
        "painting": "Painting.",
        "paused": "Paused. Others may be painted meanwhile.",
        "done": f"Done, in {seconds}.",
        "stopped": f"Stopped after {steps} of {job.config.steps} steps, in {seconds}.",
        "cancelled": "Cancelled.",
    }
    if job.state == "failed":
        return problem(job.error)
    note = f" {job.note[:1].upper()}{job.note[1:]}." if job.note else ""
    return f"<p role='status'>{escape(text[job.state] + note)}</p>"


def live(job: Job) -> str:
    """The newest live picture with level, step, curve and time left."""
    if not job.frame or job.progress is None:
        return EMPTY
    done = job.progress
    left = "" if job.over else in_words(done.seconds_left) or "…"
    numbers = (
        f"level {done.level}/{done.levels} · step {done.step}/{done.steps} · {done.seconds:.1f} s"
    )
    picture = (
        ""  # by then it is shown beside the photograph
        if job.finished
        else f"<img alt='The painting at step {done.step} of {done.steps}' "
        f"src='data:image/jpeg;base64,{base64.b64encode(job.frame).decode()}'>"
    )
    bar = (
        ""
        if job.over
        else f"<progress max='1' value='{done.fraction:.4f}' aria-label='share of the work "
        "done'></progress>"
    )
    return (
        f"{bar}<p class='numbers'><strong>{left}</strong> "
        f"{numbers}</p><figure>{picture}<figcaption>"
        f"{_curve(job)}<p "
        f"class='numbers'>{escape(terms_in_words(done.terms))}</p></figcaption></figure>"
    )


def _curve(job: Job) -> str:
    """The objective of every step on a log scale, from level to level, as a small drawing."""
    points = [
        (k, level, math.log(value))
        for k, (level, value) in enumerate(job.curve)
        if value and value > 0
    ]
    if len(points) < 2:
        return ""
    low, high = min(each[2] for each in points), max(each[2] for each in points)
    span, last = (high - low) or 1.0, max(job.config.steps - 1, 1)
    drawn = "".join(
        _line([p for p in points if p[1] == level], low, span, last)
        for level in {p[1] for p in points}
    )
    first, now = math.exp(points[0][2]), math.exp(points[-1][2])
    return (
        f"<svg class='curve' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' preserveAspectRatio='none' "
        f"aria-label='Loss curve: {first:.3g} at first, {now:.3g} now'>{drawn}</svg>"
        f"<p class='numbers'>objective {now:.3g}</p>"
    )


def _line(points: list[tuple[int, int, float]], low: float, span: float, last: int) -> str:
    """One level's part of the curve: another size is another objective."""
    places = " ".join(
        f"{k / last * WIDTH:.1f},{2 + (HEIGHT - 4) * (1 - (v - low) / span):.1f}"
        for k, _, v in points
    )
    return f"<polyline points='{places}' vector-effect='non-scaling-stroke'/>"


def finished(job: Job) -> str:
    """A finished painting: beside the photograph, and to take home."""
    return _compared(job) + _links(job)


def _compared(job: Job) -> str:
    """Before and after, with a slider between that keys move too."""
    where = f"api/paintings/{job.id}"
    return (
        f"<div class='compared'><img src='{where}/after' alt='The painting'>"
        f"<img class='before' src='{where}/before' alt='The photograph'>"
        "<input type='range' min='0' max='100' value='50' aria-label='Share of the photograph "
        "that is shown' "
        "oninput=\"this.parentElement.style.setProperty('--at', this.value + '%')\"></div>"
    )


def _links(job: Job) -> str:
    found = [
        f"<a download href='api/paintings/{job.id}/{where}'>{what}</a>" for where, what in DOWNLOADS
    ]
    if job.timelapse:
        found.append(
            f"<a download href='api/paintings/{job.id}/timelapse'>Time-lapse "
            f"({job.timelapse[1:]})</a>"
        )
    found.append(f"<a target='_blank' href='api/paintings/{job.id}/curve'>Loss curves</a>")
    return f"<nav aria-label='Downloads'><span>Download</span> {' '.join(found)}</nav>"
