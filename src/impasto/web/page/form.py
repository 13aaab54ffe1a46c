"""The page's form: pictures, brush and settings, and the request that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from impasto.config import Config
from impasto.errors import ConfigError
from impasto.parsing import AUTO
from impasto.web.jobs.films import NOT_OURS
from impasto.web.jobs.job import Job
from impasto.web.jobs.policy import BASE
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import PaintRequest, Upload
from impasto.web.jobs.sheets import all_styles
from impasto.web.page.controls import values_of
from impasto.web.page.drawings import MEANINGS, masks_of
from impasto.web.page.film_form import FilmForm
from impasto.web.page.pictures import try_placed


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
    try_all: gr.Button
    film: FilmForm | None  # None: without the extra

    @property
    def restorable(self) -> list[Component]:
        """The components that `restored` sets."""
        drawn = [self.mask, self.meaning, self.subject]
        more = [*self.pictures.values(), *self.settings.values()]
        return [self.content, *self.styles, *self.shares, *drawn, *more]

    def restored(self, studio: Studio, job: Job) -> dict[Component, Any]:
        """Updates that bring back a painting's pictures, as far as they are kept, and settings."""
        config = Config(**job.settings) if job.kind == "sheet" else job.config
        own = {name: value for name, value in config if name in self.settings}
        if job.kind == "film":
            own.pop("steps", None)  # they are among the film's own controls
        if BASE in job.config.start:  # painted on from another: that picture is not in the form
            own |= {name: Config.model_fields[name].default for name in ("start", "levels")}
        names = list(self.settings)
        values = values_of(Config(**own), names, studio.networks)
        updates: dict[Component, Any] = dict(zip(self.settings.values(), values, strict=True))
        count = 0 if job.kind == "sheet" else len(job.styles)  # it has all styles
        blended, shares = iter(range(count)), iter(job.config.blend)
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
        photograph: Job | None = job
        if job.kind == "film":  # it has a clip: the photograph is that of the newest other one
            jobs = reversed(studio.of(job.owner))
            photograph = next((other for other in jobs if other.kind != "film"), None)
        content = photograph.kept_input(0) if photograph else None
        return updates | {self.content: try_placed(content, studio)}

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
    def inputs(self) -> set[Component]:
        """The components of a request: as a set, so that events give their values by component."""
        film = self.film.inputs if self.film else ()
        return {*self.restorable, self.brush, self.timelapse, *film}

    def request(self, value: dict[Component, Any], base: str) -> PaintRequest:
        """The request for a painting. base: see PaintRequest. Raises ConfigError."""
        if value[self.content] is None:
            raise ConfigError("drop a photograph in first")
        blended, settings, named = self._asked(value, self._masks(value))
        return PaintRequest(
            value[self.content],
            blended,
            settings,
            named,
            value[self.timelapse] or "",
            base,
        )

    def _asked(
        self, value: dict[Component, Any], masks: Mapping[str, Upload]
    ) -> tuple[list[Upload], dict[str, Any], dict[str, Upload]]:
        """The styles that are blended, the settings, and the pictures that these name.

        masks: by what is white in them. Raises ConfigError.
        """
        named: dict[str, Upload] = {name: value[at] for name, at in self.pictures.items()}
        named = {name: upload for name, upload in named.items() if upload is not None}
        settings = self._settings(value) | {name: name for name in named}
        styles = self._styles(value)
        for name, mask in masks.items():
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
        blended = _blended(styles, settings)
        if not blended and not {"fine", "coarse", "mask"} & settings.keys():
            raise ConfigError("drop a painting in first, for its style")
        return blended, settings, named

    def _settings(self, value: dict[Component, Any]) -> dict[str, Any]:
        """The settings of the controls that are not empty."""
        given = {name: value[at] for name, at in self.settings.items()}
        return {name: each for name, each in given.items() if not _is_default(name, each)}

    def _styles(self, value: dict[Component, Any]) -> dict[str, tuple[Upload | None, float]]:
        """The styles and their shares: "style 1" ..."""
        pairs = zip(self.styles, self.shares, strict=True)
        return {f"style {k}": (value[at], value[share]) for k, (at, share) in enumerate(pairs, 1)}

    def sheet_request(self, value: dict[Component, Any], earlier: Sequence[Job]) -> PaintRequest:
        """The request for the photograph in all styles at hand. Raises ConfigError.

        earlier: the visitor's jobs, the newest first: their styles are tried, too.
        """
        if value[self.content] is None:
            raise ConfigError("drop a photograph in first")
        chosen = [style for style, _ in self._styles(value).values() if style is not None]
        styles = all_styles(chosen, earlier)
        return PaintRequest(value[self.content], styles, self._settings(value), kind="sheet")

    def film_request(self, value: dict[Component, Any], preview: bool) -> PaintRequest:
        """The request for a film, or for three frames of it. Raises ConfigError."""
        assert self.film is not None
        clip, steps, choices = self.film.chosen(value, preview)
        left_out = (*NOT_OURS, "seed")
        mask = value[self.mask]  # what is drawn is drawn on the photograph
        masks = {} if mask is None else {value[self.meaning]: mask}
        styles, settings, named = self._asked(value, masks)
        settings = {name: each for name, each in settings.items() if name not in left_out}
        settings["steps"] = steps
        return PaintRequest(clip, styles, settings, named, kind="film", film=choices)


def _blended(
    styles: dict[str, tuple[Upload | None, float]], settings: dict[str, Any]
) -> list[Upload]:
    """The styles that there are; the shares of several go into the settings."""
    there = [(style, share) for style, share in styles.values() if style is not None]
    if len(there) > 1:
        settings["blend"] = [share for _, share in there]
    return [style for style, _ in there]


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
