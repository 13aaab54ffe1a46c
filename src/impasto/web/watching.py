"""What happens on the page: its buttons, and how it follows a painting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from impasto.errors import ImpastoError
from impasto.web.addresses import network_of
from impasto.web.controls import QUIET
from impasto.web.form import Form
from impasto.web.html import EMPTY, error, line, preview, result, status
from impasto.web.job import Job
from impasto.web.queue import Studio

__all__ = ["EVERY", "Display", "address_of", "client_of", "connect"]

EVERY = 0.3  # seconds between two looks at the painting
ALIVE = 1.0  # seconds after which a page is sent something in any case: it shows that it is there
Updates = dict[Component, Any]


class Display(NamedTuple):
    """The components that show a painting, and the buttons."""

    status: gr.HTML
    preview: gr.HTML
    result: gr.HTML
    history: gr.Gallery
    shown: gr.State
    paint: gr.Button
    pause: gr.Button
    stop: gr.Button
    paint_on: gr.Button

    def buttons(self, running: bool, shown: bool) -> Updates:
        """Updates of the buttons. shown: whether there is a painting to paint on."""
        return {
            self.paint: gr.update(interactive=not running),
            self.pause: gr.update(interactive=running, value="Pause"),
            self.stop: gr.update(interactive=running),
            self.paint_on: gr.update(interactive=shown and not running),
        }

    def show(self, studio: Studio, job: Job) -> Updates:
        """Updates that show a finished painting, and the history with it."""
        history = [
            (str(other.file("after.jpg")), other.title) for other in _finished(studio, job.owner)
        ]
        return {
            self.status: status(job, 0),
            self.preview: preview(job),
            self.result: result(job),
            self.shown: job.id,
            self.history: gr.update(value=history, visible=True),
        }


def _finished(studio: Studio, owner: str) -> list[Job]:
    """An owner's paintings, the newest first."""
    return [job for job in reversed(studio.of(owner)) if job.finished]


def _page_of(request: gr.Request) -> str:
    """The owner of a page's paintings. A page chooses its number itself: it must not pass for
    another kind of owner."""
    return f"page {request.session_hash}"


def client_of(request: gr.Request) -> str:
    """The owner of the paintings of a program that uses gradio's client."""
    return f"gradio {request.session_hash}"


def address_of(request: gr.Request) -> str:
    """The visitor: a page may choose its number, but not its address."""
    return network_of(request.client.host if request.client else "")


async def _watch(studio: Studio, job: Job, display: Display) -> AsyncIterator[Updates]:
    """Updates of the page until the painting ends; reading them shows that the page is there."""
    last: tuple[object, ...] = (None, None, None)
    sent, over = 0.0, False
    while not over:
        job.last_seen = time.time()
        over = job.over
        now = (job.state, studio.place(job), job.frame)
        if now != last or time.monotonic() - sent > ALIVE:
            label = "Go on" if job.state == "paused" else "Pause"
            updates: Updates = {display.pause: gr.update(value=label)}
            if now[:2] != last[:2]:
                updates[display.status] = status(job, studio.place(job))
            if now != last:
                updates[display.preview] = preview(job)
            last, sent = now, time.monotonic()
            yield updates
        if not over:
            await asyncio.sleep(EVERY)
    if job.finished:
        yield display.show(studio, job)


def connect(studio: Studio, form: Form, display: Display, page: gr.Blocks) -> None:
    """Connect the buttons, the history, and the closing of the page."""
    _connect_paint(studio, form, display)

    def current(request: gr.Request) -> Job | None:
        jobs = reversed(studio.of(_page_of(request)))
        return next((job for job in jobs if not job.over), None)

    def pause(request: gr.Request) -> None:
        if job := current(request):
            (studio.resume if job.state == "paused" else studio.pause)(job)

    def stop(request: gr.Request) -> None:
        if job := current(request):
            studio.stop(job)

    def leave(request: gr.Request) -> None:
        for job in (*studio.of(_page_of(request)), *studio.of(client_of(request))):
            studio.cancel(job)

    def choose(request: gr.Request, chosen: gr.SelectData) -> Updates:
        paintings = _finished(studio, _page_of(request))
        there = chosen.index < len(paintings)
        return display.show(studio, paintings[chosen.index]) if there else {}

    display.pause.click(pause, **QUIET)
    display.stop.click(stop, **QUIET)
    display.history.select(choose, None, list(display), **QUIET)
    page.unload(leave)


def _connect_paint(studio: Studio, form: Form, display: Display) -> None:
    """Connect the buttons that begin a painting: a new one, or from the one that is shown."""

    async def begin(
        request: gr.Request, base: str, shown: str, *values: Any
    ) -> AsyncIterator[Updates]:
        empty = {display.status: line("Starting."), display.preview: EMPTY, display.result: ""}
        yield display.buttons(True, False) | empty
        try:
            order = form.request(values, base)
            owner, address = _page_of(request), address_of(request)
            job = await studio.submit_async(order, owner, watched=True, visitor=address)
        except ImpastoError as refusal:
            yield display.buttons(False, bool(shown)) | {display.status: error(str(refusal))}
            return
        async for updates in _watch(studio, job, display):
            yield updates
        yield display.buttons(False, bool(shown) or job.finished)

    for button, base in ((display.paint, gr.State("")), (display.paint_on, display.shown)):
        button.click(begin, [base, display.shown, *form.flat], list(display), **QUIET)
