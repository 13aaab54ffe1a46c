"""The page's controls of a film: the clip, how it is painted, and the buttons that begin."""

from __future__ import annotations

import os
import secrets
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component
from gradio.data_classes import FileData

from impasto.errors import ConfigError, ImpastoError
from impasto.web.jobs.films import MOST_EVERY, describe
from impasto.web.jobs.job import Job
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import FilmChoices, Upload, clean
from impasto.web.jobs.uploads import read_upload, upload_path
from impasto.web.page.controls import QUIET
from impasto.web.page.html import error, line
from impasto.web.page.pictures import Shown

MOST_FRAMES_SAID = 10**6  # a limit above it is none
KINDS = [".mp4", ".webm", ".gif", ".mov", ".m4v", ".mkv"]


class FilmForm(NamedTuple):
    """The components of a film; all but the buttons have its choices."""

    clip: gr.File
    steps: gr.Number
    later: gr.Number
    every: gr.Number
    temporal: gr.Slider
    three: gr.Button
    paint: gr.Button

    @property
    def inputs(self) -> list[Component]:
        """The components with choices, as an event takes them."""
        return [self.clip, self.steps, self.later, self.every, self.temporal]

    def chosen(self, value: dict[Component, Any], preview: bool) -> tuple[Upload, int, FilmChoices]:
        """The clip, the steps of the first frame, and the choices. Raises ConfigError."""
        clip, steps, later, every, temporal = (value[each] for each in self.inputs)
        if clip is None:
            raise ConfigError("drop a clip in first")
        if not steps or not later or not every:
            raise ConfigError("give the film steps, and which frames are painted")
        return clip, int(steps), FilmChoices(int(later), int(every), float(temporal), preview)

    def restored(self, studio: Studio, job: Job) -> dict[Component, Any]:
        """Updates that bring back the clip and the choices of a film."""
        choices = job.film
        later = choices.later_steps or job.config.later_steps
        values = [_placed(studio, job), job.config.steps, later, choices.every, choices.temporal]
        return dict(zip(self.inputs, values, strict=True))


def film_form(studio: Studio) -> FilmForm:
    """Put the controls where the page is being built."""
    limits, usual = studio.limits, studio.policy.config({})
    most = f"of up to {limits.clip / 1e6:g} MB"
    if limits.frames <= MOST_FRAMES_SAID:
        most += f" and {limits.frames:,} frames"
    with gr.Accordion("A film", open=False, elem_id="film"):
        gr.Markdown(
            f"A clip (MP4, WebM, GIF) {most} is painted in the styles above, with the settings "
            "of this page. The photograph and what is drawn on it are not used; an uploaded mask "
            "is, for every frame. Try three frames first: a film takes its time."
        )
        clip = _clip_input(studio)
        with gr.Accordion("How the film is painted", open=False):
            with gr.Row():
                steps = _number("Steps of the first frame", usual.steps, limits.steps, "film-steps")
                few = usual.later_steps
                later = _number("Steps of each later frame", few, limits.steps, "film-later")
                every = _number("Paint every n-th frame", 1, MOST_EVERY, "film-every")
            temporal = gr.Slider(
                0,
                5,
                1.0,
                step=0.1,
                label="Steadiness",
                info="how much a frame is held to the one before it; 1 is usual",
                elem_id="film-temporal",
            )
        with gr.Row():
            three = gr.Button("Try three frames", elem_id="film-three")
            paint = gr.Button("Paint the film", variant="primary", elem_id="film-paint")
    return FilmForm(clip, steps, later, every, temporal, three, paint)


def _number(label: str, value: int, most: int, name: str) -> gr.Number:
    return gr.Number(
        value, minimum=1, maximum=most, precision=0, label=label, elem_id=name, min_width=120
    )


def _clip_input(studio: Studio) -> gr.File:
    """A place for a clip. Events get it as an Upload, or None."""
    clip = gr.File(label="Clip", file_types=KINDS, elem_id="clip", height=120)
    about = gr.HTML("", elem_id="about-clip")

    def as_upload(payload: FileData | None) -> Upload | None:
        if payload is None or payload.path is None:
            return None
        name = clean(payload.orig_name or payload.path)
        return Upload(name, partial(read_upload, payload.path, studio.uploads))

    def as_data(value: Shown | None) -> FileData | None:
        if value is None:
            return None
        size = value.path.stat().st_size
        return FileData(path=str(value.path), orig_name=value.name, size=size)

    # no subclass: gradio writes a file beside each
    clip.preprocess = as_upload  # type: ignore[assignment,method-assign]
    clip.postprocess = as_data  # type: ignore[assignment,method-assign]

    def describe_it(upload: Upload | None) -> str:
        if upload is None:
            return ""
        try:
            path = upload_path(upload.read.args[0], studio.uploads)  # type: ignore[attr-defined]
            return line(describe(path, upload.name, studio.limits))
        except ImpastoError as refusal:
            return error(str(refusal))

    gr.on([clip.upload, clip.clear], describe_it, clip, about, **QUIET)
    return clip


def _placed(studio: Studio, job: Job) -> Shown | None:
    """The clip of a film among the uploads, under a name of our own; None if it is not kept."""
    kept = job.file("input-0")
    if not kept.exists():
        return None
    own = studio.uploads / secrets.token_hex(16)
    own.mkdir()
    path = own / f"clip{Path(job.content).suffix if Path(job.content).suffix in KINDS else '.mp4'}"
    os.link(kept, path)  # the same file system: a copy would take its time
    return Shown(path, job.content)
