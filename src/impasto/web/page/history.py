"""A visitor's earlier paintings on the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from impasto.web.jobs.job import Job
from impasto.web.jobs.queue import Studio

# what the buttons of the list tell the server
SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) trigger("click", { ...button.dataset });
});
"""
TWO = "<svg viewBox='0 0 16 16' aria-hidden='true'><path d='M1 3h6v10H1zM9 3h6v10H9z'/></svg>"


def finished(studio: Studio, owner: str) -> list[Job]:
    """An owner's paintings, the newest first."""
    return [job for job in reversed(studio.of(owner)) if job.finished]


def caption(job: Job) -> str:
    """The caption of a painting: style, look, strength, size."""
    config = job.config
    if job.kind == "sheet":
        return f"all styles · {Path(job.content).stem}"
    styles = " + ".join(Path(name).stem for name in job.styles) or "parts"
    parts = [styles, config.look]
    if job.kind == "film":
        parts.insert(0, "film" if job.is_film else "three frames")
    if config.strength != 1:
        parts.append(f"strength {config.strength:g}")
    if config.style_scale != 1:
        parts.append(f"brush {config.style_scale:g}")
    if config.color != "style":
        parts.append({"content": "the photo's colors"}.get(config.color, "light and dark"))
    return " · ".join([*parts, str(config.size)])


def history(jobs: Sequence[Job], shown: str, beside: str = "") -> str:
    """The paintings as a list of buttons.

    shown: the id of the one that is on the page now. beside: of the one next to it, if any.
    """
    if not jobs:
        return ""
    paintings = {job.id for job in jobs if job.kind == "painting"}
    items = "".join(_item(job, shown, beside, paintings >= {job.id, shown}) for job in jobs)
    everything = ""
    if len(jobs) > 1:
        everything = "<a download href='api/paintings.zip'>Download all</a>"
    return f"<header><h2>Your paintings</h2>{everything}</header><ul>{items}</ul>"


def _item(job: Job, shown: str, beside: str, comparable: bool) -> str:
    text = escape(caption(job), quote=True)
    now = " aria-current='true'" if job.id == shown else ""
    pair = ""
    if comparable and job.id != shown:
        is_beside = job.id == beside
        pair = (
            f"<button class='beside' data-act='{'alone' if is_beside else 'beside'}' "
            f"data-id='{job.id}' aria-pressed='{str(is_beside).lower()}' "
            f"aria-label='Side by side: {text}' title='Side by side with the painting above'>"
            f"{TWO}</button>"
        )
    return (
        f"<li><button class='pick' data-act='choose' data-id='{job.id}'{now}>"
        f"<img loading='lazy' alt='' src='api/paintings/{job.id}/after'>"
        f"<span>{text}</span></button>{pair}"
        f"<button class='delete' data-act='delete' data-id='{job.id}' "
        f"aria-label='Delete {text}' title='Delete'>×</button></li>"
    )


def side_by_side(first: Job, second: Job) -> str:
    """Two paintings beside each other."""
    figures = "".join(
        f"<figure><img src='api/paintings/{job.id}/after' alt='The painting {k} of 2'>"
        f"<figcaption>{escape(caption(job))}</figcaption></figure>"
        for k, job in enumerate((first, second), 1)
    )
    full = "<button data-view='full' title='Key: F'>Full screen</button>"
    return f"<div class='viewer pair'>{figures}</div><p class='view'>{full}</p>"
