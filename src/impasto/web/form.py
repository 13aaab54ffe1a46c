"""The page's form: the pictures, the brush, the settings; and what they ask for."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from gradio.components import Component
from gradio.components.image_editor import AcceptBlobs, EditorData
from gradio.data_classes import FileData, ImageData
from PIL import Image

from impasto.config import Config
from impasto.errors import ConfigError, ImpastoError, PictureError
from impasto.figures.timelapse import films
from impasto.images.read import header_size, settings_in
from impasto.images.samples import STYLES, sample_photograph, sample_style
from impasto.painting.record import recorded_config
from impasto.presets import PRESETS, preset
from impasto.web.controls import (
    FIRST,
    PICTURES,
    QUIET,
    SLIDERS,
    by_group,
    control,
    slider,
    values_of,
)
from impasto.web.drawings import LAYERS, LatestDrawings, check_layer
from impasto.web.drawn_masks import COLORS, masks_of
from impasto.web.job import BusyError, PaintRequest, Upload, clean
from impasto.web.policy import SERVER_FIELDS
from impasto.web.queue import Studio
from impasto.web.uploads import read_upload

__all__ = ["Form", "form_of", "picture_input"]

MOST_STYLES = 4
MOST_DRAWN = 2048 * 2048  # pixels of a layer; the page draws on at most 768 x 768


def _served(folder: Path, pictures: Sequence[Path]) -> list[str]:
    """Copies of pictures where gradio serves files from, and nowhere else."""
    return [str(shutil.copy(path, folder / path.name)) for path in pictures]


def picture_input(label: str, uploads: Path, value: Any = None, **more: Any) -> gr.Image:
    """A place for a picture, from a file, the camera or the clipboard; events get it as an Upload,
    or None.

    uploads: the folder that it must lie in.
    """
    found = gr.Image(
        value=value,
        label=label,
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        buttons=[],
        interactive=True,
        **more,
    )

    def as_upload(payload: ImageData | None) -> Upload | None:
        """What was uploaded, as it is: gr.Image would decode it."""
        if payload is None or payload.path is None:
            return None
        return Upload(
            clean(payload.orig_name or payload.path), partial(read_upload, payload.path, uploads)
        )

    found.preprocess = as_upload  # type: ignore[assignment,method-assign]  # beside a subclass gradio writes a file
    return found


def _unsaid(name: str, value: object) -> bool:
    """Whether an empty field means its default: where that is no text at all."""
    return value == "" and Config.model_fields[name].default is None


def _bound(editor: gr.ImageEditor, uploads: Path) -> None:
    """Keep what pages send of a drawing within bounds, and decode of it only what is used."""
    accept = editor.accept_blobs

    @wraps(accept)
    def few(data: AcceptBlobs) -> Any:
        if data.data["type"] != "layer":
            return None  # the photograph, and what it looks like drawn on: nobody reads them
        check_layer(data.data["index"], data.files[0][1])
        return accept(data)

    def drawn(payload: EditorData | None) -> dict[str, Any] | None:
        if payload is None:
            return None
        sent = editor.blob_storage.get(payload.id) if payload.id is not None else payload
        layers = [each for each in (sent.layers if sent else ()) if each is not None][:LAYERS]
        return {"layers": [_layer(each, uploads) for each in layers]}

    editor.blob_storage, editor.accept_blobs = LatestDrawings(), few
    editor.preprocess = drawn  # type: ignore[assignment,method-assign]


def _layer(sent: bytes | FileData, uploads: Path) -> np.ndarray:
    """A layer of a drawing, (H, W, 4) from 0 to 255. Raises gr.Error."""
    try:
        data = sent if isinstance(sent, bytes) else read_upload(sent.path, uploads)
        header_size(data, "the drawing", MOST_DRAWN)
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as image:
            return np.asarray(image.convert("RGBA"))
    except PictureError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception:  # decoders raise what they like
        raise gr.Error("the drawing cannot be read: draw it again", print_exception=False) from None


class Form(NamedTuple):
    """The components that say what is to be painted."""

    content: gr.Image
    styles: Sequence[Component]
    shares: Sequence[Component]
    brush: Component
    pictures: dict[str, Component]
    settings: dict[str, Component]
    timelapse: Component

    @property
    def flat(self) -> list[Component]:
        """All of them, as an event takes them."""
        more = [*self.pictures.values(), *self.settings.values()]
        return [self.content, *self.styles, *self.shares, self.brush, self.timelapse, *more]

    def order(self, values: Sequence[Any], base: str) -> PaintRequest:
        """What the values of `flat` ask for. Raises ConfigError."""
        content, *rest = values
        styles, shares, rest = (
            rest[:MOST_STYLES],
            rest[MOST_STYLES : 2 * MOST_STYLES],
            rest[2 * MOST_STYLES :],
        )
        drawing, timelapse, *rest = rest
        pictures = dict(zip(self.pictures, rest[: len(self.pictures)], strict=True))
        settings = dict(zip(self.settings, rest[len(self.pictures) :], strict=True))
        if content is None:
            raise ConfigError("drop a photograph in first")
        named = {name: upload for name, upload in pictures.items() if upload is not None}
        settings = {
            name: value
            for name, value in settings.items()
            if value is not None and not _unsaid(name, value)
        }
        settings |= {name: name for name in named}
        masks = masks_of(drawing["layers"] if drawing else [])
        given = {
            f"style {k}": (style, share)
            for k, (style, share) in enumerate(zip(styles, shares, strict=True), 1)
        }
        for name, mask in masks.items():
            if name == "protect":
                settings["protect"], named["protect"] = (
                    "protect",
                    Upload("protect", partial(bytes, mask)),
                )
                continue
            style, _ = given.pop(name)
            if style is None:
                raise ConfigError(
                    f"a part of the photograph is marked for {name}, and there is no {name}"
                )
            settings["mask"] = [*settings.get("mask", []), f"where {name}={name}"]
            named |= {name: style, f"where {name}": Upload(f"where {name}", partial(bytes, mask))}
        there = [(style, share) for style, share in given.values() if style is not None]
        if len(there) > 1:
            settings["blend"] = [share for _, share in there]
        if not there and not {"fine", "coarse", "mask"} & settings.keys():
            raise ConfigError("drop a painting in first, for its style")
        return PaintRequest(
            content, [style for style, _ in there], settings, named, timelapse or "", base
        )


def form_of(studio: Studio, demo: bool) -> Form:
    """The form, put where the page is being built. demo: the samples are filled in."""
    networks = studio.networks
    photograph, *samples = _served(
        studio.uploads, [sample_photograph(), *map(sample_style, STYLES)]
    )
    with gr.Row(elem_id="pictures"):
        with gr.Column(min_width=150):
            content = picture_input(
                "Photograph",
                studio.uploads,
                photograph if demo else None,
                elem_id="content",
                height=260,
            )
            _examples([photograph], content, "Example", "example-photograph")
        with gr.Column(min_width=150):
            first = picture_input(
                "Style", studio.uploads, samples[0] if demo else None, elem_id="style-1", height=260
            )
            _examples(samples, first, "Examples", "example-styles")
    with gr.Accordion("More styles", open=False):
        gr.Markdown(
            "Several styles are blended by their shares, or each gets a part of the "
            "photograph (below)."
        )
        styles: list[Component] = [first]
        shares: list[Component] = [_share(1)]
        for k in range(2, MOST_STYLES + 1):
            with gr.Row():
                styles.append(
                    picture_input(f"Style {k}", studio.uploads, elem_id=f"style-{k}", height=160)
                )
                shares.append(_share(k))
    recipe = gr.Dropdown(
        list(PRESETS),
        value="default",
        label="Recipe",
        elem_id="recipe",
        info="all settings at once: the default, or a published recipe, which takes its time",
    )
    row = gr.Row()
    with row:
        settings = {name: control(name, networks, studio.policy.defaults) for name in FIRST}
    with gr.Accordion("Parts of the photograph", open=False):
        brush = _brush(studio, content, photograph if demo else None)
    with gr.Accordion("All settings", open=False):
        earlier = gr.File(
            label="An earlier painting: its settings are taken over",
            file_types=["image"],
            type="filepath",
            elem_id="earlier",
            height=120,
        )
        for group, names in by_group(SERVER_FIELDS).items():
            with gr.Accordion(group, open=False):
                settings |= {
                    name: control(name, networks, studio.policy.defaults) for name in names
                }
        with gr.Accordion("Other pictures", open=False):
            pictures: dict[str, Component] = {
                name: picture_input(
                    f"{name.capitalize()}: {Config.model_fields[name].description}",
                    studio.uploads,
                    height=160,
                )
                for name in PICTURES
            }
    with row:
        for name in SLIDERS:
            slider(name, settings[name])
    timelapse = gr.Dropdown(
        [("none", ""), *((suffix[1:], suffix) for suffix in films())],
        value="",
        label="Time-lapse",
        info="a film of the painting, which takes some seconds more",
        elem_id="timelapse",
    )
    found = Form(content, styles, shares, brush, pictures, settings, timelapse)
    _wire_settings(studio, found, recipe, earlier)
    return found


def _examples(paths: list[str], target: gr.Image, label: str, name: str) -> None:
    """Pictures that a click puts into `target`. gr.Examples would make a new component of it,
    without `_as_upload`."""
    shown = gr.Dataset(
        components=[gr.Image(render=False)],
        samples=[[path] for path in paths],
        label=label,
        type="index",
        elem_id=name,
    )
    shown.click(lambda k: paths[k], shown, target, **QUIET)


def _share(k: int) -> gr.Slider:
    return gr.Slider(0, 1, 1, step=0.05, label=f"Share of style {k}", elem_id=f"share-{k}")


def _brush(studio: Studio, content: gr.Image, first: str | None) -> gr.ImageEditor:
    """The brush on the photograph; a new photograph begins with nothing drawn."""
    names = {
        "protect": "stays as it is",
        **{name: f"is painted as {name}" for name in COLORS if name != "protect"},
    }
    patches = "".join(
        f"<li><i style='background:{COLORS[name]}'></i>{what}</li>" for name, what in names.items()
    )
    gr.HTML(f"<p>Draw on the photograph. What has the colour</p><ul class='patches'>{patches}</ul>")

    def begin(upload: Upload | None) -> Any:
        if upload is None:
            return None
        try:
            small = studio.reading.thumbnail(upload, studio.limits.read)
        except (PictureError, BusyError):
            return None  # it is said when it is to be painted
        return {"background": small, "layers": [], "composite": None}

    editor = gr.ImageEditor(
        value=begin(Upload("photograph", Path(first).read_bytes) if first else None),
        label="Brush",
        type="numpy",
        sources=(),
        transforms=(),
        layers=gr.LayerOptions(allow_additional_layers=False),
        brush=gr.Brush(colors=list(COLORS.values()), color_mode="fixed", default_size=40),
        elem_id="brush",
        buttons=[],
        height=420,
    )

    _bound(editor, studio.uploads)
    content.change(begin, content, editor, **QUIET)
    return editor


def _wire_settings(studio: Studio, form: Form, recipe: gr.Dropdown, earlier: gr.File) -> None:
    """What sets many settings at once: a recipe, and an earlier painting dropped on the page."""
    names = list(form.settings)

    def choose(name: str) -> list[Any]:
        config = preset(name).config
        if config.steps > studio.limits.steps:
            gr.Info(
                f"Published with {config.steps:,} steps; this server makes at most "
                f"{studio.limits.steps:,}."
            )
            config = config.changed(steps=studio.limits.steps, save_at=())
        if config.backbone not in studio.networks:
            gr.Info(
                f"Published with {config.backbone}, which is not on this server: painted with "
                f"{studio.networks[0]}."
            )
        return values_of(config, names, studio.networks)

    def restore(name: str, data: bytes) -> list[Any]:
        found = values_of(recorded_config(settings_in(data, name)), names, studio.networks)
        gr.Info("The settings of the painting are taken over.")
        return found

    def drop(path: str | None) -> list[Any]:
        if path is None:
            return [gr.skip() for _ in names]
        try:
            return restore(clean(path), read_upload(path, studio.uploads))
        except ImpastoError as error:
            raise gr.Error(f"No settings taken over: {error}", print_exception=False) from None

    def uploaded(upload: Upload | None) -> list[Any]:
        try:
            return restore(upload.name, upload.read()) if upload else [gr.skip() for _ in names]
        except ImpastoError:
            return [gr.skip() for _ in names]  # a picture like any other

    controls = list(form.settings.values())
    recipe.select(choose, recipe, controls, **QUIET)
    earlier.upload(drop, earlier, controls, **QUIET)
    form.content.upload(uploaded, form.content, controls, **QUIET)
