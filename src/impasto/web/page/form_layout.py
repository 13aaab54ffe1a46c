"""Build the page's form: where its pictures, brush and settings stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr
from gradio.components import Component

from impasto.config import Config
from impasto.errors import ImpastoError
from impasto.extras import has_extra
from impasto.figures.timelapse import films
from impasto.images.read import settings_in
from impasto.images.samples import sample_photograph
from impasto.painting.record import recorded_settings
from impasto.presets import PRESETS, preset
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import Upload, clean
from impasto.web.jobs.uploads import read_upload
from impasto.web.page.controls import (
    FIRST,
    IN_SIGHT,
    PICTURES,
    QUIET,
    by_group,
    control,
    slider,
    values_of,
)
from impasto.web.page.drawings import MEANINGS, brush
from impasto.web.page.film_form import film_form
from impasto.web.page.form import Form
from impasto.web.page.pictures import content_and_style, more_styles, picture_input


def form_of(studio: Studio, demo: bool) -> Form:
    """Put the form where the page is being built. demo: fill in the samples."""
    content, style = content_and_style(studio, demo)
    try_all = gr.Button("Try all styles", elem_id="try-all", size="sm")
    settings, places = _in_sight(studio)
    styles, shares = more_styles(studio, style)
    with gr.Accordion("Parts of the photograph", open=False):
        editor = brush(studio, content, sample_photograph() if demo else None)
        mask = picture_input("Or a mask", studio, elem_id="mask", height=160)
        pairs = [(words, name) for name, words in MEANINGS.items()]
        meaning = gr.Radio(pairs, value="protect", label="What is white in the mask")
        subject = gr.Checkbox(
            label="Protect the subject",
            info="what stands out, a person or an animal, is found and stays as it is",
            elem_id="subject",
        )
    film = film_form(studio) if has_extra("video") else None
    with gr.Accordion("All settings", open=False):
        presets = _presets(studio)
        timelapse = gr.Dropdown(
            [("none", ""), *((suffix[1:], suffix) for suffix in films())],
            value="",
            label="Time-lapse",
            info="a film of the painting, which takes some seconds more",
            elem_id="timelapse",
        )
        earlier = gr.File(
            label="An earlier painting: its settings are taken over",
            file_types=["image"],
            type="filepath",
            elem_id="earlier",
            height=120,
        )
        for group, names in by_group().items():
            with gr.Accordion(group, open=False):
                settings |= _controls(studio, names)
        with gr.Accordion("Other pictures", open=False):
            pictures: dict[str, Component] = {}
            for name in PICTURES:
                label = f"{name.capitalize()}: {Config.model_fields[name].description}"
                pictures[name] = picture_input(label, studio, height=160)
    for name, place in places.items():
        with place:
            slider(name, settings[name])
    _on_preset(studio, settings, presets)
    _on_earlier_painting(studio, settings, earlier, content)
    return Form(
        content,
        styles,
        shares,
        editor,
        mask,
        meaning,
        subject,
        pictures,
        settings,
        timelapse,
        try_all,
        film,
    )


def _in_sight(studio: Studio) -> tuple[dict[str, Component], dict[str, gr.Column]]:
    """The controls that are needed most, and the places of the sliders among them: each is bound
    to its exact control, which comes later."""
    settings: dict[str, Component] = {}
    places: dict[str, gr.Column] = {}
    with gr.Row(elem_id="in-sight"):
        for name in IN_SIGHT:
            with gr.Column(min_width=260, elem_classes=[f"needs-{name}"]) as place:
                if name in FIRST:
                    settings |= _controls(studio, [name])
                else:
                    places[name] = place
    return settings, places


def _presets(studio: Studio) -> gr.Dropdown:
    info = "all settings at once: the default, or a published method, which takes its time"
    if studio.limits.steps < max(each.config.steps for each in PRESETS.values()):
        info += f"; this server makes at most {studio.limits.steps:,} steps"
    return gr.Dropdown(list(PRESETS), value="default", label="Preset", elem_id="preset", info=info)


def _controls(studio: Studio, names: Iterable[str]) -> dict[str, Component]:
    """The controls of these fields, put where the page is being built."""
    return {name: control(name, studio.networks, studio.policy.defaults) for name in names}


def _on_preset(studio: Studio, settings: dict[str, Component], dropdown: gr.Dropdown) -> None:
    """Have the choice of a preset set all controls."""

    def choose(name: str) -> list[Any]:
        config, most = preset(name).config, studio.limits.steps
        if config.steps > most:
            gr.Info(f"Published with {config.steps:,} steps; this server makes at most {most:,}.")
            config = config.changed(steps=most)
        if config.backbone not in studio.networks:
            gr.Info(
                f"Published with {config.backbone}, which is not on this server: painted with "
                f"{studio.networks[0]}."
            )
        return values_of(config, list(settings), studio.networks)

    dropdown.select(choose, dropdown, list(settings.values()), **QUIET)


def _on_earlier_painting(
    studio: Studio, settings: dict[str, Component], earlier: gr.File, content: gr.Image
) -> None:
    """Have an earlier painting that is dropped on the page set all controls.

    Dropped as the content it may be a picture like any other, without settings inside.
    """
    unchanged = [gr.skip() for _ in settings]

    def restore(name: str, data: bytes) -> list[Any]:
        config, _ = recorded_settings(settings_in(data, name))
        values = values_of(config, list(settings), studio.networks)
        gr.Info("The settings of the painting are taken over.")
        return values

    def drop(path: str | None) -> list[Any]:
        if path is None:
            return unchanged
        try:
            return restore(clean(path), read_upload(path, studio.uploads))
        except ImpastoError as error:
            raise gr.Error(f"No settings taken over: {error}", print_exception=False) from None

    def uploaded(upload: Upload | None) -> list[Any]:
        try:
            return restore(upload.name, upload.read()) if upload else unchanged
        except ImpastoError:
            return unchanged

    controls = list(settings.values())
    earlier.upload(drop, earlier, controls, **QUIET)
    content.upload(uploaded, content, controls, **QUIET)
