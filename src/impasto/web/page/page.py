"""The studio's page: where visitors drop pictures in and watch them being painted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import gradio as gr

from impasto.errors import ConfigError, ImpastoError, PictureError
from impasto.web.guard.visitors import address_of
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import PaintRequest, Upload
from impasto.web.jobs.uploads import check_uploads
from impasto.web.page.events import EVERY, Display, connect
from impasto.web.page.form import Form
from impasto.web.page.form_layout import form_of
from impasto.web.page.history import SCRIPT as HISTORY_SCRIPT
from impasto.web.page.html import EXAMPLE, line
from impasto.web.page.pictures import picture_input
from impasto.web.page.quick_look_events import connect_looks

SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
# contrast of text at least 4.5 (WCAG 2.2, 1.4.3), light and dark
COLORS = {
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_300",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "block_label_text_color": "*neutral_700",
    "block_title_text_color": "*neutral_800",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover_dark": "*primary_800",
    "button_primary_text_color": "white",
    "button_primary_text_color_dark": "white",
    "input_placeholder_color": "*neutral_600",
    "slider_color": "*primary_700",
}


def theme() -> gr.themes.Base:
    """Plain colors, and fonts of the system, so that none is fetched."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "monospace"]
    plain = gr.themes.Base(primary_hue="orange", neutral_hue="stone", font=fonts, font_mono=mono)
    return plain.set(**COLORS)


class _Page(gr.Blocks):
    """A page that takes no file but what was uploaded to it: gradio checks only files that carry
    its mark."""

    uploads: Path

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """The inputs of any event of the page, checked."""
        try:
            check_uploads(inputs, self.uploads)
        except PictureError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return list(await super().preprocess_data(block_fn, inputs, state, explicit_call))


def page_of(studio: Studio, demo: bool) -> gr.Blocks:
    """The page. demo: fill in the samples."""
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
                display = _display(form)
        connect(studio, form, display, page)
        connect_looks(studio, form, display.preview, display.result, display.shown)
        _for_programs(studio)
    page.queue(default_concurrency_limit=None, max_size=None)
    return page


def _display(form: Form) -> Display:
    with gr.Row(elem_id="actions"):
        paint = gr.Button("Paint", variant="primary", elem_id="paint")
        pause = gr.Button("Pause", interactive=False, elem_id="pause")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
        paint_on = gr.Button("Paint on", interactive=False, elem_id="paint-on")
    start = line("Drop in a photograph and a painting, and press Paint.")
    return Display(
        status=gr.HTML(start, elem_id="status"),
        result=gr.HTML("", elem_id="result", js_on_load=HISTORY_SCRIPT),
        preview=gr.HTML(EXAMPLE, elem_id="preview"),
        history=gr.HTML("", elem_id="history", js_on_load=HISTORY_SCRIPT),
        shown=gr.State(""),
        paint=paint,
        pause=pause,
        stop=stop,
        paint_on=paint_on,
        others=[form.try_all, *([form.film.three, form.film.paint] if form.film else [])],
        follow=gr.Button("Follow", elem_id="follow", visible="hidden"),
        wake=gr.Button("Wake", elem_id="wake", visible="hidden"),
    )


def _for_programs(studio: Studio) -> None:
    """Add an event for gradio's clients: `Client(URL).predict(content, style, settings,
    api_name="/paint")`."""
    content = picture_input("content", studio, visible=False)
    style = picture_input("style", studio, visible=False)
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
            owner = f"gradio {request.session_hash}"
            job = await studio.submit_async(order, owner, visitor=address_of(request))
        except ImpastoError as error:
            raise gr.Error(str(error), print_exception=False) from None
        while not job.over:
            await asyncio.sleep(EVERY)
        if not job.finished:
            raise gr.Error(job.error or f"the painting was {job.state}", print_exception=False)
        return str(job.file("painting.png"))

    gr.Button(visible=False).click(paint, [content, style, settings], painting, api_name="paint")
