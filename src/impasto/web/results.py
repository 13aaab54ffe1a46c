"""Finished paintings, sheets and films as HTML for the page."""

from __future__ import annotations

from html import escape

from impasto.web.html import as_labels, cells
from impasto.web.job import Job

__all__ = ["result"]

DOWNLOADS = (
    ("picture?format=png", "PNG"),
    ("picture?format=jpeg", "JPEG"),
    ("picture?format=webp", "WebP"),
)


def _remarks(job: Job) -> str:
    """Where the painting was saved, and the notes on how it was painted."""
    lines = [f"Saved as {job.saved}"] if job.saved else []
    lines += [as_labels(note[:1].upper() + note[1:]) for note in job.notes]
    items = "".join(f"<li>{escape(text)}</li>" for text in lines)
    return f"<ul class='notes'>{items}</ul>" if items else ""


def result(job: Job) -> str:
    """What a finished job has made."""
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
        f"<nav aria-label='Downloads'><span>Download</span> {' '.join(links)}</nav>{_remarks(job)}"
    )


def _sheet(job: Job) -> str:
    """A photograph in all styles; choosing one begins a painting."""
    at = f"api/paintings/{job.id}"
    links = f"<a download href='{at}/picture'>PNG</a>"
    return (
        f"{cells(job, True)}"
        f"<nav aria-label='Downloads'><span>Download the sheet</span> {links}</nav>"
    )


def _film(job: Job) -> str:
    """A finished film, or the picture of three of its frames."""
    at = f"api/paintings/{job.id}"
    if not job.is_film:
        return (
            f"<img class='three' src='{at}/after' alt='Three frames of the clip, and painted'>"
            f"<nav aria-label='Downloads'><span>Download</span> "
            f"<a download href='{at}/picture'>PNG</a></nav>{_remarks(job)}"
        )
    if job.movie == ".gif":
        shown = f"<img class='film' src='{at}/film' alt='The film'>"
    else:
        shown = (
            f"<video class='film' src='{at}/film' poster='{at}/after' controls loop playsinline "
            "aria-label='The film'></video>"
        )
    kind = job.movie[1:]
    kind = {"webm": "WebM"}.get(kind, kind.upper())
    return (
        f"{shown}<nav aria-label='Downloads'><span>Download</span> "
        f"<a download href='{at}/film'>{kind}</a></nav>{_remarks(job)}"
    )
