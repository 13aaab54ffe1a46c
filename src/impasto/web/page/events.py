"""The events of the page: its buttons, and following a painting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from impasto.errors import ImpastoError
from impasto.web.guard.visitors import address_of, owner_in
from impasto.web.jobs.job import Job
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import PaintRequest
from impasto.web.page.controls import QUIET
from impasto.web.page.form import Form
from impasto.web.page.history import finished, history, side_by_side
from impasto.web.page.html import EMPTY, EXAMPLE, error, line, preview, result, status
from impasto.web.page.pictures import try_placed

EVERY = 0.3  # seconds between two looks at the painting
ALIVE = 1.0  # seconds after which a page is sent something in any case: it shows that it is there
Updates = dict[Component, Any]
Values = dict[Component, Any]  # of an event's inputs
Choice = tuple[str, float]  # a painting's id, and when it was chosen
NONE: Choice = ("", 0.0)


class Display(NamedTuple):
    """The components that show a painting, and the buttons."""

    status: gr.HTML
    preview: gr.HTML
    result: gr.HTML
    history: gr.HTML
    shown: gr.State
    paint: gr.Button
    pause: gr.Button
    stop: gr.Button
    paint_on: gr.Button
    others: Sequence[gr.Button]  # that begin something else
    # pressed by the page's script: when the connection was lost, and when an answer is missing
    follow: gr.Button
    wake: gr.Button

    @property
    def outputs(self) -> list[Component]:
        """All of them, as an event takes them."""
        return [*self[:-3], *self.others]

    def buttons(self, running: bool, shown: bool) -> Updates:
        """Updates of the buttons. shown: whether there is a painting to paint on."""
        return {
            **{button: gr.update(interactive=not running) for button in self.others},
            self.paint: gr.update(interactive=not running),
            self.pause: gr.update(interactive=running, value="Pause"),
            self.stop: gr.update(interactive=running),
            self.paint_on: gr.update(interactive=shown and not running),
        }

    def show(self, studio: Studio, job: Job) -> Updates:
        """Updates that show a finished painting, and the history with it."""
        return {
            self.status: status(job, 0),
            self.preview: preview(job),
            self.result: result(job),
            self.shown: job.id,
            self.history: history(finished(studio, job.owner), job.id),
        }

    def pair(self, studio: Studio, first: Job, second: Job) -> Updates:
        """Updates that show two finished paintings side by side."""
        return {
            self.status: line("Two paintings side by side."),
            self.preview: "",
            self.result: side_by_side(first, second),
            self.history: history(finished(studio, first.owner), first.id, second.id),
        }


async def _watch(studio: Studio, job: Job, display: Display) -> AsyncIterator[Updates]:
    """Updates of the page until the painting ends."""
    last: tuple[object, ...] = (None, None, None)
    sent, over = 0.0, False
    while not over:
        studio.seen(job.owner)
        over = job.over
        now = (job.state, studio.place(job), job.frame or job.progress)
        if now != last or time.monotonic() - sent > ALIVE:
            label = "Go on" if job.state == "paused" else "Pause"
            # all buttons: the end of an earlier event sends its last updates once more
            updates = display.buttons(True, False)
            updates[display.pause] = gr.update(value=label, interactive=True)
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
    """Connect the buttons, the history, and the opening of the page."""
    _connect_starts(studio, form, display)
    chosen, film = _connect_history(studio, form, display)

    def current(request: gr.Request) -> Job | None:
        jobs = reversed(studio.of(owner_in(request)))
        return next((job for job in jobs if not job.over), None)

    def pause(request: gr.Request) -> None:
        if job := current(request):
            (studio.resume if job.state == "paused" else studio.pause)(job)

    def stop(request: gr.Request) -> None:
        if job := current(request):
            studio.stop(job)

    async def follow(request: gr.Request) -> AsyncIterator[Updates]:
        """Show what the visitor has: the painting in progress, or the newest one."""
        paintings = finished(studio, owner_in(request))
        newest = paintings[0] if paintings else None
        job = current(request)
        if job is None:
            last = display.show(studio, newest) if newest else {}
            yield last | display.buttons(False, _can_be_painted_on(newest))
            return
        shown = {display.history: history(paintings, ""), display.result: ""}
        yield display.buttons(True, False) | shown
        async for updates in _watch(studio, job, display):
            yield updates
        yield display.buttons(False, _can_be_painted_on(job if job.finished else newest))

    def newest(request: gr.Request) -> tuple[Choice, Choice]:
        jobs = studio.of(owner_in(request))
        films = [job for job in jobs if job.kind == "film"]
        last, film = ((some[-1].id, 0.0) if some else NONE for some in (jobs, films))
        return last, film

    display.pause.click(pause, **QUIET)
    display.stop.click(stop, **QUIET)
    display.follow.click(follow, None, display.outputs, **QUIET)
    display.wake.click(lambda: None, **QUIET)
    page.load(newest, None, [chosen, film], **QUIET)
    page.load(follow, None, display.outputs, **QUIET)


def _connect_history(studio: Studio, form: Form, display: Display) -> tuple[gr.State, gr.State]:
    """Connect the buttons of the earlier paintings: choose one, compare two, or delete one.

    Returns the choice, which brings back a painting's pictures and settings when it changes, and
    that of a film, which brings back its clip. The form is no output of the buttons: gradio would
    forget what its pictures take for an upload.
    """
    chosen, film = gr.State(NONE), gr.State(NONE)

    async def act(request: gr.Request, shown: str, event: gr.EventData) -> Updates:
        given = event._data if isinstance(event._data, dict) else {}
        owner, job = owner_in(request), _own(studio, request, given.get("id"))
        if job is None or not job.finished:
            gone = "This painting is not kept any more."
            return {display.status: line(gone), display.history: _history(studio, owner, shown)}
        if given.get("act") == "delete":
            await asyncio.to_thread(studio.forget, job)
            updates: Updates = {display.history: _history(studio, owner, shown)}
            if shown == job.id:
                updates |= {display.result: "", display.preview: EXAMPLE, display.shown: ""}
                updates |= {display.status: line("Deleted.")} | display.buttons(False, False)
            return updates
        first = _own(studio, request, shown)
        if given.get("act") == "beside" and first is not None:
            return display.pair(studio, first, job)
        if given.get("act") == "alone":  # no longer beside another
            return display.show(studio, first or job)
        running = any(not other.over for other in studio.of(owner))
        updates = display.show(studio, job)
        updates |= display.buttons(running, _can_be_painted_on(job))
        if job.kind == "sheet":  # it is for choosing: the form stays as it is
            return updates
        choice = job.id, time.time()
        return updates | {chosen: choice} | ({film: choice} if job.kind == "film" else {})

    def chosen_job(request: gr.Request, choice: Choice) -> Job:
        job = _own(studio, request, choice[0])
        if job is None:
            raise gr.Error("This painting is not kept any more.", print_exception=False)
        return job

    async def restore(request: gr.Request, choice: Choice) -> Updates:
        return await asyncio.to_thread(form.restored, studio, chosen_job(request, choice))

    def restore_film(request: gr.Request, choice: Choice) -> Updates:
        assert form.film is not None
        return form.film.restored(studio, chosen_job(request, choice))

    display.history.click(act, display.shown, [*display.outputs, chosen, film], **QUIET)
    chosen.change(restore, chosen, form.restorable, **QUIET)
    if form.film:
        film.change(restore_film, film, form.film.inputs, **QUIET)
    return chosen, film


def _own(studio: Studio, request: gr.Request, id: object) -> Job | None:
    """The visitor's job with this id, if it is kept."""
    job = studio.jobs.get(str(id))
    return job if job and job.owner == owner_in(request) else None


def _history(studio: Studio, owner: str, shown: str) -> str:
    return history(finished(studio, owner), shown)


def _connect_starts(studio: Studio, form: Form, display: Display) -> None:
    """Connect the buttons that begin something: a painting, or one from the one that is shown, a
    sheet of all styles, a film; and the choice of a style from a sheet."""

    def paint(_: str, values: Values) -> PaintRequest:
        return form.request(values, "")

    def paint_on(_: str, values: Values) -> PaintRequest:
        return form.request(values, values[display.shown])

    def sheet(owner: str, values: Values) -> PaintRequest:
        return form.sheet_request(values, list(reversed(studio.of(owner))))

    def film(preview: bool, _: str, values: Values) -> PaintRequest:
        return form.film_request(values, preview)

    picked = _connect_sheet(studio, form, display)
    starts = [
        (display.paint.click, paint),
        (display.paint_on.click, paint_on),
        (form.try_all.click, sheet),
        (picked.then, paint),
    ]
    if form.film:
        starts += [
            (form.film.three.click, partial(film, True)),
            (form.film.paint.click, partial(film, False)),
        ]
    inputs = {display.shown, *form.inputs}
    for event, make in starts:
        event(_begin(studio, display, make), inputs, display.outputs, **QUIET)


def _begin(
    studio: Studio, display: Display, make: Callable[[str, Values], PaintRequest]
) -> Callable[..., AsyncIterator[Updates]]:
    """An event that queues what `make` asks for, by owner and inputs, and shows how it is made."""

    async def begin(request: gr.Request, values: Values) -> AsyncIterator[Updates]:
        empty = {display.status: line("Starting."), display.preview: EMPTY, display.result: ""}
        yield display.buttons(True, False) | empty
        shown = values[display.shown]
        try:
            owner, address = owner_in(request), address_of(request)
            order = await asyncio.to_thread(make, owner, values)
            job = await studio.submit_async(order, owner, watched=True, visitor=address)
        except ImpastoError as refusal:
            again = _can_be_painted_on(studio.jobs.get(shown))
            yield display.buttons(False, again) | {display.status: error(str(refusal))}
            return
        async for updates in _watch(studio, job, display):
            yield updates
        now = job if job.finished else studio.jobs.get(shown)
        yield display.buttons(False, _can_be_painted_on(now))

    return begin


def _can_be_painted_on(job: Job | None) -> bool:
    return job is not None and job.finished and job.kind == "painting"


def _connect_sheet(studio: Studio, form: Form, display: Display) -> Any:
    """Have the choice of a picture in a sheet make its style the only one; returns the event, after
    which the painting is to be begun."""
    picked = gr.State(NONE)
    number = gr.State(0)

    def pick(request: gr.Request, event: gr.EventData) -> Updates:
        given = event._data if isinstance(event._data, dict) else {}
        job, cell = _own(studio, request, given.get("id")), str(given.get("cell"))
        if job is None or job.kind != "sheet":
            return {display.status: line("This sheet is not kept any more.")}
        if not cell.isdecimal() or job.cells.get(int(cell)) != "":
            return {display.status: line("There is no such style in this sheet.")}
        return {picked: (job.id, time.time()), number: int(cell)}

    def fill(request: gr.Request, choice: Choice, cell: int) -> Updates:
        job = _own(studio, request, choice[0])
        style = try_placed(job.kept_input(1 + cell), studio) if job else None
        if style is None:
            raise gr.Error("This style is not kept any more.", print_exception=False)
        others = dict.fromkeys(form.styles[1:])
        return {form.styles[0]: style, **others, form.shares[0]: 1.0}

    display.result.click(pick, None, [picked, number, display.status], **QUIET)
    outputs = [*form.styles, form.shares[0]]
    return picked.change(fill, [picked, number], outputs, **QUIET)
