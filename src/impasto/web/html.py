"""The state of a painting as HTML for the page."""

from __future__ import annotations

import base64
import math
import re
from html import escape

from impasto.painting.callbacks import format_terms, format_time_left
from impasto.web.job import Job

__all__ = [
    "EMPTY",
    "EXAMPLE",
    "as_labels",
    "error",
    "label",
    "line",
    "preview",
    "quick_look",
    "result",
    "sentence",
    "status",
]

EMPTY = "<p class='empty'>The picture appears here while it is painted.</p>"
# moves from the photograph to the painting, by the style sheet
EXAMPLE = (
    "<figure class='example'><div><img src='api/example/after' alt='A painting of a mountain lake, "
    "in thick strokes'><img class='before' src='api/example/before' alt=''></div><figcaption>A "
    "photograph becomes a painting: choose a picture and a style, then press Paint.</figcaption>"
    "</figure>"
)
WIDTH, HEIGHT = 320, 64  # of the loss curve's box
DOWNLOADS = (
    ("picture?format=png", "PNG"),
    ("picture?format=jpeg", "JPEG"),
    ("picture?format=webp", "WebP"),
)


def label(name: str) -> str:
    """The label of a field, or of an option, on the page."""
    return name.replace("_", " ").replace("-", " ").capitalize()


def as_labels(text: str) -> str:
    """The text with labels in place of options: "Size of" for --size-of."""
    return re.sub(r"--([a-z][a-z-]*[a-z])", lambda option: f"“{label(option[1])}”", text)


def error(text: str) -> str:
    """An error, in place of the state."""
    return f"<p role='alert' class='error'>{escape(sentence(text))}</p>"


def sentence(text: str) -> str:
    """An error's line as a sentence with the labels of the page."""
    text = as_labels(text)
    return f"{text[:1].upper()}{text[1:]}."


def line(text: str) -> str:
    """A state, which screen readers read aloud when it changes."""
    return f"<p role='status'>{escape(text)}</p>"


def status(job: Job, before: int) -> str:
    """The state in one sentence. before: the number of paintings that come first."""
    if job.state == "failed":
        return error(job.error)
    seconds = f"{job.progress.seconds:.1f} s" if job.progress else ""
    steps = job.progress.step if job.progress else 0
    first = "1 painting comes" if before == 1 else f"{before} paintings come"
    text = {
        "waiting": f"In the queue: {first} first." if before else "Starting.",
        "painting": "Painting.",
        "paused": "Paused. Others may be painted meanwhile.",
        "done": f"Done, in {seconds}.",
        "stopped": f"Stopped after {steps} of {job.config.steps} steps, in {seconds}.",
        "cancelled": "Cancelled.",
    }[job.state]
    return line(f"{text} {job.note[:1].upper()}{job.note[1:]}." if job.note else text)


def preview(job: Job) -> str:
    """The newest live picture with level, step, curve and time left."""
    if not job.frame or job.progress is None:
        return EMPTY
    now = job.progress
    bar = picture = left = ""
    if not job.over:
        left = format_time_left(now.seconds_left) or "…"
        label = "aria-label='share of the work done'"
        bar = f"<progress max='1' value='{now.fraction:.4f}' {label}></progress>"
    if not job.finished:  # then it is shown beside the photograph
        picture = (
            f"<img alt='The painting at step {now.step} of {now.steps}' "
            f"src='data:image/jpeg;base64,{base64.b64encode(job.frame).decode()}'>"
        )
    numbers = f"level {now.level}/{now.levels} · step {now.step}/{now.steps} · {now.seconds:.1f} s"
    terms = escape(format_terms(now.terms))
    return (
        f"{bar}<p class='numbers'><strong>{left}</strong> {numbers}</p><figure>{picture}"
        f"<figcaption>{_curve(job)}<p class='numbers'>{terms}</p></figcaption></figure>"
    )


def _curve(job: Job) -> str:
    """The objective of every step on a log scale, one line for each level: another size is another
    objective."""
    points = [
        (step, level, math.log(value))
        for step, (level, value) in enumerate(job.curve)
        if value and value > 0
    ]
    if len(points) < 2:
        return ""
    low, high = min(point[2] for point in points), max(point[2] for point in points)
    across, down = WIDTH / max(job.config.steps - 1, 1), (HEIGHT - 4) / ((high - low) or 1.0)
    lines: dict[int, list[str]] = {}
    for step, level, value in points:
        lines.setdefault(level, []).append(f"{step * across:.1f},{2 + (high - value) * down:.1f}")
    drawn = "".join(
        f"<polyline points='{' '.join(places)}' vector-effect='non-scaling-stroke'/>"
        for places in lines.values()
    )
    first, now = math.exp(points[0][2]), math.exp(points[-1][2])
    return (
        f"<svg class='curve' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' preserveAspectRatio='none' "
        f"aria-label='Loss curve: {first:.3g} at first, {now:.3g} now'>{drawn}</svg>"
        f"<p class='numbers'>objective {now:.3g}</p>"
    )


def _remarks(job: Job) -> str:
    """Where the painting was saved, and the notes on how it was painted."""
    lines = [f"Saved as {job.saved}"] if job.saved else []
    lines += [as_labels(note[:1].upper() + note[1:]) for note in job.notes]
    items = "".join(f"<li>{escape(text)}</li>" for text in lines)
    return f"<ul class='notes'>{items}</ul>" if items else ""


def result(job: Job) -> str:
    """A finished painting: compared with the photograph by a slider, which keys move too, and as
    downloads."""
    at = f"api/paintings/{job.id}"
    links = [f"<a download href='{at}/{path}'>{kind}</a>" for path, kind in DOWNLOADS]
    if job.timelapse:
        kind = job.timelapse[1:]
        links.append(f"<a download href='{at}/timelapse'>Time-lapse ({kind})</a>")
    links.append(f"<a target='_blank' href='{at}/curve'>Loss curves</a>")
    return (
        f"<div class='viewer'><div class='compared'><img src='{at}/after' "
        f"data-real='{at}/picture' alt='The painting'>"
        f"<img class='before' src='{at}/before' alt='The photograph'>"
        "<input type='range' min='0' max='100' value='0' "
        "aria-label='Share of the photograph that is shown' "
        "oninput=\"this.parentElement.style.setProperty('--at', this.value + '%')\"></div></div>"
        "<p class='view'>"
        "<button data-view='hold' title='Key: P'>Hold to see the photograph</button>"
        "<button data-view='full' title='Key: F'>Full screen</button>"
        "<button data-view='real' title='Key: R' aria-pressed='false'>Real pixels</button></p>"
        f"<nav aria-label='Downloads'><span>Download</span> {' '.join(links)}</nav>{_remarks(job)}"
    )


def quick_look(picture: bytes) -> str:
    """A quick look at what would be painted. picture: a JPEG."""
    data = base64.b64encode(picture).decode()
    return (
        "<figure><img class='look' alt='A quick look at the painting' "
        f"src='data:image/jpeg;base64,{data}'><figcaption>A quick look, painted small. "
        "Paint makes the painting itself, with all its strokes.</figcaption></figure>"
    )
