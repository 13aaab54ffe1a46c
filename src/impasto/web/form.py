"""The page's form: pictures, brush and settings, and the request that they make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from impasto.config import Config
from impasto.errors import ConfigError, ImpastoError
from impasto.figures.timelapse import films
from impasto.images.read import settings_in
from impasto.images.samples import sample_photograph
from impasto.painting.record import recorded_settings
from impasto.parsing import AUTO
from impasto.presets import PRESETS, preset
from impasto.web.controls import (
    FIRST,
    IN_SIGHT,
    PICTURES,
    QUIET,
    by_group,
    control,
    slider,
    values_of,
)
from impasto.web.drawings import brush
from impasto.web.drawn_masks import MEANINGS, masks_of
from impasto.web.job import Job
from impasto.web.pictures import content_and_style, more_styles, picture_input
from impasto.web.policy import BASE
from impasto.web.queue import Studio
from impasto.web.request import PaintRequest, Upload, clean
from impasto.web.shown import try_placed
from impasto.web.uploads import read_upload

__all__ = ["Form", "form_of"]


class Form(NamedTuple):
    """The components that say what is to be painted."""

    content: gr.Image
    styles: Sequence[Component]
    shares: Sequence[Component]
    brush: Component
    mask: Component
    meaning: Component  # what is white in the mask
    subject: Component  # whether the subject is found and protected
    pictures: dict[str, Component]
    settings: dict[str, Component]
    timelapse: Component

    @property
    def restorable(self) -> list[Component]:
        """The components that `restored` sets."""
        drawn = [self.mask, self.meaning, self.subject]
        more = [*self.pictures.values(), *self.settings.values()]
        return [self.content, *self.styles, *self.shares, *drawn, *more]

    def restored(self, studio: Studio, job: Job) -> dict[Component, Any]:
        """Updates that bring back a painting's pictures, as far as they are kept, and settings."""
        own = {name: value for name, value in job.config if name in self.settings}
        if BASE in job.config.start:  # painted on from another: that picture is not in the form
            own |= {name: Config.model_fields[name].default for name in ("start", "levels")}
        names = list(self.settings)
        values = values_of(Config(**own), names, studio.networks)
        updates: dict[Component, Any] = dict(zip(self.settings.values(), values, strict=True))
        blended, shares = iter(range(len(job.styles))), iter(job.config.blend)
        for k, (at, share) in enumerate(zip(self.styles, self.shares, strict=True), 1):
            if f"style {k}" in job.named:  # of a region
                updates[at] = try_placed(job.kept_named(f"style {k}"), studio)
                continue
            number = next(blended, None)
            updates[share] = 1.0 if number is None else next(shares, 1.0)
            updates[at] = None if number is None else try_placed(job.kept_input(1 + number), studio)
        for name, at in self.pictures.items():
            updates[at] = try_placed(job.kept_named(name), studio)
        mask, meaning = _mask_of(job)
        updates |= {self.mask: try_placed(mask, studio), self.meaning: meaning}
        updates[self.subject] = job.config.protect == AUTO
        return updates | {self.content: try_placed(job.kept_input(0), studio)}

    def _masks(self, value: dict[Component, Any]) -> dict[str, Upload]:
        """The masks by what is white in them: drawn, or uploaded. Raises ConfigError."""
        drawing, uploaded = value[self.brush], value[self.mask]
        drawn = masks_of(drawing["layers"] if drawing else [])
        masks = {name: Upload(name, partial(bytes, mask)) for name, mask in drawn.items()}
        if uploaded is not None:
            meaning = value[self.meaning]
            if meaning in masks:
                raise ConfigError(
                    f"what {MEANINGS[meaning]} is drawn, and there is a mask of it: remove one"
                )
            masks[meaning] = uploaded
        return masks

    @property
    def flat(self) -> list[Component]:
        """All of them, as an event takes them."""
        more = [*self.pictures.values(), *self.settings.values()]
        drawn = [self.brush, self.mask, self.meaning, self.subject]
        return [self.content, *self.styles, *self.shares, *drawn, self.timelapse, *more]

    def request(self, values: Sequence[Any], base: str) -> PaintRequest:
        """The request that the values of `flat` make. Raises ConfigError."""
        value = dict(zip(self.flat, values, strict=True))
        if value[self.content] is None:
            raise ConfigError("drop a photograph in first")
        named: dict[str, Upload] = {name: value[at] for name, at in self.pictures.items()}
        named = {name: upload for name, upload in named.items() if upload is not None}
        settings = {name: value[at] for name, at in self.settings.items()}
        settings = {name: given for name, given in settings.items() if not _is_default(name, given)}
        settings |= {name: name for name in named}
        pairs = [
            (value[at], value[share]) for at, share in zip(self.styles, self.shares, strict=True)
        ]
        styles = {f"style {k}": pair for k, pair in enumerate(pairs, 1)}
        for name, mask in self._masks(value).items():
            if name == "protect":
                settings["protect"], named["protect"] = name, mask
                continue
            style, _ = styles.pop(name)
            if style is None:
                raise ConfigError(
                    f"a part of the photograph is marked for {name}, and there is no {name}"
                )
            where = f"where {name}"
            settings["mask"] = [*settings.get("mask", []), f"{where}={name}"]
            named |= {name: style, where: mask}
        if value[self.subject]:
            if "protect" in named:
                raise ConfigError(
                    "what stays as it is is marked, and the subject is to be found: remove one"
                )
            settings["protect"] = AUTO
        blended = [(style, share) for style, share in styles.values() if style is not None]
        if len(blended) > 1:
            settings["blend"] = [share for _, share in blended]
        if not blended and not {"fine", "coarse", "mask"} & settings.keys():
            raise ConfigError("drop a painting in first, for its style")
        return PaintRequest(
            value[self.content],
            [style for style, _ in blended],
            settings,
            named,
            value[self.timelapse] or "",
            base,
        )


def _mask_of(job: Job) -> tuple[Upload | None, str]:
    """The first mask of a painting, if it is kept, and what is white in it."""
    for meaning in MEANINGS:
        name = meaning if meaning == "protect" else f"where {meaning}"
        if name in job.named:
            return job.kept_named(name), meaning
    return None, "protect"


def _is_default(name: str, given: object) -> bool:
    """True for an empty field that means the default: None, or "" where that is no text."""
    return given is None or (given == "" and Config.model_fields[name].default is None)


def form_of(studio: Studio, demo: bool) -> Form:
    """Put the form where the page is being built. demo: fill in the samples."""
    content, style = content_and_style(studio, demo)
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
        content, styles, shares, editor, mask, meaning, subject, pictures, settings, timelapse
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
