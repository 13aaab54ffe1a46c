"""The page's quick look at what would be painted, after every change."""

from __future__ import annotations

from typing import Any

import gradio as gr
from anyio import to_thread
from gradio.components import Component

from impasto.errors import ImpastoError
from impasto.web.controls import IN_SIGHT, QUIET
from impasto.web.form import Form
from impasto.web.history import owner_in
from impasto.web.html import quick_look
from impasto.web.job import Job, PaintRequest
from impasto.web.queue import Studio

__all__ = ["connect_looks"]

SEEN = [name for name in IN_SIGHT if name != "size"]  # settings whose effect a quick look shows


def connect_looks(studio: Studio, form: Form, preview: gr.HTML, result: gr.HTML) -> None:
    """Show a quick look when a picture or a setting in sight is changed, while no painting is
    being made: it would slow that down."""

    async def look(request: gr.Request, *values: Any) -> dict[Component, Any]:
        unchanged: dict[Component, Any] = {preview: gr.skip()}
        jobs = studio.of(owner_in(request))
        try:
            asked = form.request(values, "")
            is_known = bool(jobs) and await to_thread.run_sync(_is_of, studio, asked, jobs[-1])
            picture = None if is_known else await to_thread.run_sync(studio.look, asked)
        except ImpastoError:
            return unchanged  # what is wrong is said when it is to be painted
        return {preview: quick_look(picture), result: ""} if picture else unchanged

    inputs = [form.content, *form.styles, *(form.settings[name] for name in SEEN)]
    changes = [component.change for component in inputs]  # type: ignore[attr-defined]
    gr.on(changes, look, form.flat, [preview, result], trigger_mode="always_last", **QUIET)


def _is_of(studio: Studio, request: PaintRequest, job: Job) -> bool:
    """True if a job has been asked for with these pictures and settings."""
    if studio.policy.config_of(request) != job.config:
        return False
    uploads = [request.content, *request.styles, *request.named.values()]
    kept = [job.kept_input(k) for k in range(1 + len(job.styles) + len(job.named))]
    return [upload.read() for upload in uploads] == [old.read() if old else b"" for old in kept]
