"""Paintings, sheets and films as HTML for the page: their state, and what they became."""

from __future__ import annotations

import base64
import math
import re
from html import escape
from pathlib import Path

from impasto.painting.callbacks import format_terms, format_time_left
from impasto.web.jobs.job import Job, Progress

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
    first = "1 painting comes" if before == 1 else f"{before} paintings come"
    text = {
        "waiting": f"In the queue: {first} first." if before else "Starting.",
        "painting": {"painting": "Painting.", "sheet": "Trying all styles."}.get(
            job.kind, "Painting three frames." if job.film.preview else "Painting the film."
        ),
        "paused": "Paused. Others may be painted meanwhile.",
        "done": f"Done, in {seconds}.",
        "stopped": f"Stopped after {_done(job)}, in {seconds}.",
        "cancelled": "Cancelled.",
    }[job.state]
    if job.kind == "sheet" and job.finished:
        text += " Choose a picture to paint in its style."
    return line(f"{text} {job.note[:1].upper()}{job.note[1:]}." if job.note else text)


def _done(job: Job) -> str:
    """The finished part of a stopped job: "3 of 40 frames"."""
    now = job.progress
    if now is None:
        return "no step"
    if job.kind == "painting":
        return f"{now.step} of {job.config.steps} steps"
    return f"{now.frame} of {now.frames} {'styles' if job.kind == 'sheet' else 'frames'}"


def preview(job: Job) -> str:
    """The progress of a job: a bar, the time left, and what there is to see of it."""
    now = job.progress
    if now is None or not (job.frame or job.kind == "sheet"):
        return EMPTY
    if job.finished and job.kind != "painting":
        return ""  # what it was is in the state
    if job.kind == "sheet":
        numbers = f"{now.frame} of {now.frames} styles · {now.seconds:.1f} s"
        return _bar(job, now, numbers) + cells(job, False)
    if job.kind == "film":
        numbers = f"frame {now.frame}/{now.frames} · step {now.step}/{now.steps}"
        numbers += f" · {now.seconds:.1f} s"
        return f"{_bar(job, now, numbers)}<figure>{_picture(job, now)}</figure>"
    numbers = f"level {now.level}/{now.levels} · step {now.step}/{now.steps} · {now.seconds:.1f} s"
    terms = escape(format_terms(now.terms))
    return (
        f"{_bar(job, now, numbers)}<figure>{_picture(job, now)}"
        f"<figcaption>{_curve(job)}<p class='numbers'>{terms}</p></figcaption></figure>"
    )


def _bar(job: Job, now: Progress, numbers: str) -> str:
    """The share of the work that is done, the time left, and the numbers."""
    if job.over:
        return f"<p class='numbers'>{numbers}</p>"
    left = format_time_left(now.seconds_left) or "…"
    label = "aria-label='share of the work done'"
    return (
        f"<progress max='1' value='{now.fraction:.4f}' {label}></progress>"
        f"<p class='numbers'><strong>{left}</strong> {numbers}</p>"
    )


def _picture(job: Job, now: Progress) -> str:
    """The live picture; none at the end: then the result is shown."""
    if job.finished:
        return ""
    data = base64.b64encode(job.frame).decode()
    alt = f"The painting at step {now.step} of {now.steps}"
    return f"<img alt='{alt}' src='data:image/jpeg;base64,{data}'>"


def cells(job: Job, buttons: bool) -> str:
    """The paintings of a sheet so far. buttons: each can be chosen."""
    items = ""
    for number, why in sorted(job.cells.items()):
        name = escape(Path(job.styles[number]).stem)
        if why:
            items += f"<li class='missing'><span>{name}: {escape(why)}</span></li>"
            continue
        picture = f"<img alt='' src='api/paintings/{job.id}/cells/{number}'><span>{name}</span>"
        if buttons:
            about = f"data-act='style' data-id='{job.id}' data-cell='{number}'"
            picture = f"<button {about} aria-label='Paint in the style {name}'>{picture}</button>"
        items += f"<li>{picture}</li>"
    return f"<ul class='cells'>{items}</ul>"


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


def quick_look(picture: bytes) -> str:
    """A quick look at what would be painted. picture: a JPEG."""
    data = base64.b64encode(picture).decode()
    return (
        "<figure><img class='look' alt='A quick look at the painting' "
        f"src='data:image/jpeg;base64,{data}'><figcaption>A quick look, painted small. "
        "Paint makes the painting itself, with all its strokes.</figcaption></figure>"
    )


def _remarks(job: Job) -> str:
    """The path of the saved copy, and the notes on how it was painted."""
    lines = [f"Saved as {job.saved}"] if job.saved else []
    lines += [as_labels(note[:1].upper() + note[1:]) for note in job.notes]
    items = "".join(f"<li>{escape(text)}</li>" for text in lines)
    return f"<ul class='notes'>{items}</ul>" if items else ""


def result(job: Job) -> str:
    """The product of a finished job."""
    if job.kind == "sheet":
        return _sheet(job)
    return _film(job) if job.kind == "film" else _painting(job)


def _painting(job: Job) -> str:
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
        f"{_downloads('Download', *links)}{_remarks(job)}"
    )


def _sheet(job: Job) -> str:
    """A photograph in all styles; choosing one begins a painting."""
    at = f"api/paintings/{job.id}"
    link = f"<a download href='{at}/picture'>PNG</a>"
    return cells(job, True) + _downloads("Download the sheet", link)


def _film(job: Job) -> str:
    """A finished film, or the picture of three of its frames."""
    at = f"api/paintings/{job.id}"
    if not job.is_film:
        link = f"<a download href='{at}/picture'>PNG</a>"
        shown = f"<img class='three' src='{at}/after' alt='Three frames of the clip, and painted'>"
        return shown + _downloads("Download", link) + _remarks(job)
    if job.movie == ".gif":
        shown = f"<img class='film' src='{at}/film' alt='The film'>"
    else:
        shown = (
            f"<video class='film' src='{at}/film' poster='{at}/after' controls loop playsinline "
            "aria-label='The film'></video>"
        )
    kind = job.movie[1:]
    kind = {"webm": "WebM"}.get(kind, kind.upper())
    link = f"<a download href='{at}/film'>{kind}</a>"
    return shown + _downloads("Download", link) + _remarks(job)


def _downloads(label: str, *links: str) -> str:
    return f"<nav aria-label='Downloads'><span>{label}</span> {' '.join(links)}</nav>"
