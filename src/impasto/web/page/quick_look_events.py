"""The page's quick look at what would be painted, after every change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr
from anyio import to_thread
from gradio.components import Component

from impasto.errors import ImpastoError
from impasto.web.guard.visitors import owner_in
from impasto.web.jobs.job import Job
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.quick_looks import Look
from impasto.web.jobs.request import PaintRequest
from impasto.web.page.controls import IN_SIGHT, QUIET
from impasto.web.page.form import Form
from impasto.web.page.html import quick_look

SEEN = [name for name in IN_SIGHT if name != "size"]  # settings whose effect a quick look shows
TOGETHER = 0.05  # seconds: a preset changes many settings at once


class _Change:
    """The last change that a visitor made; it is gone with the event that shows it."""


def connect_looks(
    studio: Studio, form: Form, preview: gr.HTML, result: gr.HTML, shown: gr.State
) -> None:
    """Show quick looks, each finer, when a picture or a setting in sight is changed, while no
    painting is being made: it would slow that down. The next change ends them.

    shown: has the id of what is shown. There is no quick look at what is there already.
    """
    last = WeakValueDictionary[str, _Change]()

    async def look(
        request: gr.Request, values: dict[Component, Any]
    ) -> AsyncIterator[dict[Component, Any]]:
        # gradio empties the outputs of a generator that yields nothing
        yield {preview: gr.skip(), result: gr.skip()}
        owner = owner_in(request)
        change = last[owner] = _Change()
        await asyncio.sleep(TOGETHER)
        if last.get(owner) is not change:
            return
        jobs = studio.of(owner)
        there = [*jobs[-1:], *(job for job in jobs if job.id == values[shown])]
        asked: Look | None = None
        try:
            order = form.request(values, "")
            for job in there:
                if await to_thread.run_sync(_is_of, studio, order, job):
                    return
            asked = studio.look(order, owner)
            while asked and (picture := await to_thread.run_sync(asked.next)):
                if last.get(owner) is not change:
                    return
                yield {preview: quick_look(picture), result: ""}
        except ImpastoError:
            return  # what is wrong is said when it is to be painted
        finally:
            if asked:
                asked.give_up()

    seen = [form.content, *form.styles, *(form.settings[name] for name in SEEN)]
    changes = [component.change for component in seen]  # type: ignore[attr-defined]
    inputs = {shown, *form.inputs}
    gr.on(changes, look, inputs, [preview, result], trigger_mode="multiple", **QUIET)


def _is_of(studio: Studio, request: PaintRequest, job: Job) -> bool:
    """True if a job has been asked for with these pictures and settings; for a film, which has
    steps of its own and no photograph, with these styles."""
    if job.kind == "sheet":
        return False
    config = studio.policy.config_of(request)
    if job.kind == "film":
        config = config.changed(steps=job.config.steps)
    if config != job.config:
        return False
    first = 1 if job.kind == "film" else 0
    uploads = [request.content, *request.styles, *request.named.values()][first:]
    kept = [job.kept_input(k) for k in range(first, 1 + len(job.styles) + len(job.named))]
    return [upload.read() for upload in uploads] == [old.read() if old else b"" for old in kept]
