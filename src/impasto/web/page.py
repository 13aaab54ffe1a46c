"""The studio's page: where people drop pictures in and watch them being painted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from impasto.errors import ConfigError, ImpastoError, PictureError
from impasto.web.addresses import network_of
from impasto.web.controls import QUIET
from impasto.web.form import Form, form_of, picture_input
from impasto.web.html import EMPTY, finished, live, problem, said
from impasto.web.job import Job, PaintRequest, Upload
from impasto.web.queue import Studio
from impasto.web.uploads import check_uploads

__all__ = ["CSS", "SCRIPT", "page_of", "theme"]

EVERY = 0.3  # seconds between two looks at the painting
# seconds after which a page is sent something even if there is no news: so it is known to be there
ALIVE = 1.0
SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def theme() -> gr.themes.Base:
    """Plain and light on the eye; fonts of the system, so that none is fetched."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "monospace"]
    plain = gr.themes.Base(primary_hue="orange", neutral_hue="stone", font=fonts, font_mono=mono)
    # contrast of text at least 4.5 (WCAG 2.2, 1.4.3), in the light and in the dark
    return plain.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_800",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        input_placeholder_color="*neutral_600",
        slider_color="*primary_700",
    )


class Outputs(NamedTuple):
    """The components that show a painting."""

    said: gr.HTML
    live: gr.HTML
    result: gr.HTML
    history: gr.Gallery
    shown: gr.State
    paint: gr.Button
    pause: gr.Button
    stop: gr.Button
    again: gr.Button

    def running(self, on: bool, there: bool = False) -> dict[Component, Any]:
        """Updates of the buttons, while a painting is made and when none is. there: one that can be
        painted on."""
        return {
            self.paint: gr.update(interactive=not on),
            self.pause: gr.update(interactive=on, value="Pause"),
            self.stop: gr.update(interactive=on),
            self.again: gr.update(interactive=there and not on),
        }

    def show(self, studio: Studio, job: Job) -> dict[Component, Any]:
        """Updates that show a finished painting, and the history with it."""
        return {
            self.said: said(job, 0),
            self.live: live(job),
            self.result: finished(job),
            self.shown: job.id,
            self.history: gr.update(value=_history(studio, job.owner), visible=True),
        }


def _paintings(studio: Studio, owner: str) -> list[Job]:
    """An owner's paintings, the newest first."""
    return [job for job in reversed(studio.of(owner)) if job.finished]


def _history(studio: Studio, owner: str) -> list[tuple[str, str]]:
    return [(str(job.file("after.jpg")), job.title) for job in _paintings(studio, owner)]


def _owner(request: gr.Request) -> str:
    """Whose paintings these are: a page's. It chooses its number itself, and must not pass for
    somebody else."""
    return f"page {request.session_hash}"


def _client(request: gr.Request) -> str:
    """Whose paintings these are: a program's that uses gradio's client."""
    return f"gradio {request.session_hash}"


def _address(request: gr.Request) -> str:
    """Where a request came from: a page may choose its number, but not that."""
    return network_of(request.client.host if request.client else "")


class _Page(gr.Blocks):
    """A page that takes no file but what was uploaded to it: gradio itself checks only files that
    carry its mark."""

    uploads: Path

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """All that a request gives to any event of the page comes through here."""
        try:
            check_uploads(inputs, self.uploads)
        except PictureError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return list(await super().preprocess_data(block_fn, inputs, state, explicit_call))


def page_of(studio: Studio, demo: bool) -> gr.Blocks:
    """The page. demo: the samples are filled in."""
    page = _Page(title="impasto", analytics_enabled=False, fill_width=True)
    page.uploads = studio.uploads
    with page:
        gr.HTML(
            "<h1>impasto</h1><p>Paint any picture in the style of any other.</p>", elem_id="title"
        )
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                form = form_of(studio, demo)
            with gr.Column(scale=5, min_width=320, elem_id="easel"):
                outputs = _outputs()
        _wire(studio, form, outputs, page)
        _for_programs(studio)
    page.queue(default_concurrency_limit=None, max_size=None)
    return page


def _outputs() -> Outputs:
    with gr.Row(elem_id="actions"):
        paint = gr.Button("Paint", variant="primary", elem_id="paint")
        pause = gr.Button("Pause", interactive=False, elem_id="pause")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
        again = gr.Button("Paint on", interactive=False, elem_id="paint-on")
    state = gr.HTML(
        "<p role='status'>Drop in a photograph and a painting, and press Paint.</p>", elem_id="said"
    )
    result = gr.HTML("", elem_id="result")
    seen = gr.HTML(EMPTY, elem_id="live")
    history = gr.Gallery(
        label="Your paintings",
        visible=False,
        columns=4,
        height=180,
        elem_id="history",
        interactive=False,
        buttons=[],
        allow_preview=False,
    )
    return Outputs(state, seen, result, history, gr.State(""), paint, pause, stop, again)


async def _watch(studio: Studio, job: Job, out: Outputs) -> AsyncIterator[dict[Component, Any]]:
    """Updates of the page for as long as the painting is made; reading them says that the page is
    still there."""
    before: tuple[object, ...] = ()
    sent = 0.0
    while True:
        job.last_seen = time.time()
        over = job.over
        now = (job.state, job.frame, studio.place(job))
        if now != before or time.monotonic() - sent > ALIVE:
            update: dict[Component, Any] = {
                out.pause: gr.update(value="Go on" if job.state == "paused" else "Pause")
            }
            if now[::2] != before[::2]:
                update[out.said] = said(job, studio.place(job))
            if now != before:
                update[out.live] = live(job)
            before, sent = now, time.monotonic()
            yield update
        if over:
            break
        await asyncio.sleep(EVERY)
    if job.finished:
        yield out.show(studio, job)


def _wire(studio: Studio, form: Form, out: Outputs, page: gr.Blocks) -> None:
    """The buttons, the history, and what happens when the page is closed."""

    async def begin(
        base: str, request: gr.Request, shown: str, values: Sequence[Any]
    ) -> AsyncIterator[dict[Component, Any]]:
        starting = "<p role='status'>Starting.</p>"
        owner, address = _owner(request), _address(request)
        yield out.running(True) | {out.said: starting, out.live: EMPTY, out.result: ""}
        try:
            job = await studio.submit_async(
                form.order(values, base), owner, watched=True, visitor=address
            )
        except ImpastoError as error:
            yield out.running(False, bool(shown)) | {out.said: problem(str(error))}
            return
        async for update in _watch(studio, job, out):
            yield update
        yield out.running(False, bool(shown) or job.finished)

    async def anew(
        request: gr.Request, shown: str, *values: Any
    ) -> AsyncIterator[dict[Component, Any]]:
        async for update in begin("", request, shown, values):
            yield update

    async def again(
        request: gr.Request, shown: str, *values: Any
    ) -> AsyncIterator[dict[Component, Any]]:
        async for update in begin(shown, request, shown, values):
            yield update

    def current(request: gr.Request) -> Job | None:
        return next((job for job in reversed(studio.of(_owner(request))) if not job.over), None)

    def pause(request: gr.Request) -> None:
        if job := current(request):
            (studio.resume if job.state == "paused" else studio.pause)(job)

    def stop(request: gr.Request) -> None:
        if job := current(request):
            studio.stop(job)

    def leave(request: gr.Request) -> None:
        for owner in (_owner(request), _client(request)):
            for job in studio.of(owner):
                if not job.over:
                    studio.cancel(job)

    def choose(request: gr.Request, chosen: gr.SelectData) -> dict[Component, Any]:
        found = _paintings(studio, _owner(request))
        return out.show(studio, found[chosen.index]) if chosen.index < len(found) else {}

    out.paint.click(anew, [out.shown, *form.flat], list(out), **QUIET)
    out.again.click(again, [out.shown, *form.flat], list(out), **QUIET)
    out.pause.click(pause, **QUIET)
    out.stop.click(stop, **QUIET)
    out.history.select(choose, None, list(out), **QUIET)
    page.unload(leave)


def _for_programs(studio: Studio) -> None:
    """A painting for gradio's own clients: `Client(URL).predict(content, style, settings,
    api_name="/paint")`."""
    content, style = (
        picture_input(name, studio.uploads, visible=False) for name in ("content", "style")
    )
    settings, painting = gr.JSON(visible=False), gr.File(visible=False)

    async def paint(
        request: gr.Request,
        content: Upload | None,
        style: Upload | None,
        settings: dict[str, Any] | None,
    ) -> str:
        if content is None or style is None:
            raise gr.Error("give a content and a style picture", print_exception=False)
        try:
            if not isinstance(settings or {}, dict):
                raise ConfigError("give the settings as a JSON object", settings)
            order = PaintRequest(content, [style], settings or {})
            job = await studio.submit_async(order, _client(request), True, _address(request))
        except ImpastoError as error:
            raise gr.Error(str(error), print_exception=False) from None
        while not job.over:
            job.last_seen = time.time()
            await asyncio.sleep(EVERY)
        if not job.finished:
            raise gr.Error(job.error or f"the painting was {job.state}", print_exception=False)
        return str(job.file("painting.png"))

    gr.Button(visible=False).click(paint, [content, style, settings], painting, api_name="paint")
