"""The page's places for pictures: checked when they come, shown whatever their kind.

Kinds that browsers do not know are converted.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import ImageData

from impasto.errors import ImpastoError, PictureError
from impasto.images.samples import (
    STYLES,
    sample_photograph,
    sample_portrait,
    sample_still_life,
    sample_style,
)
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import BusyError, Upload, clean
from impasto.web.jobs.uploads import read_upload
from impasto.web.page.controls import QUIET
from impasto.web.page.html import sentence

log = logging.getLogger("impasto.studio")
MOST_STYLES = 4
ORIGINAL = "original"  # the uploaded file, beside the one that is shown in its place
# the first bytes of what every browser shows, and the suffix that the server needs for its type
KINDS = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
}


class Shown(NamedTuple):
    """A picture in the folder of uploads that the page can show, and its name."""

    path: Path
    name: str


def content_and_style(studio: Studio, demo: bool) -> tuple[gr.Image, gr.Image]:
    """The inputs of the photograph and the style."""
    uploads = studio.uploads  # gradio serves files from there only

    def examples(*paths: Path) -> list[str]:
        return [str(shutil.copy(path, uploads / path.name)) for path in paths]

    photographs = examples(sample_photograph(), sample_portrait(), sample_still_life())
    styles = examples(*map(sample_style, STYLES))
    with gr.Row(elem_id="pictures"):
        with gr.Column(min_width=150):
            value = photographs[0] if demo else None
            content = picture_input("Photograph", studio, value, elem_id="content", height=230)
            _examples(photographs, content, "Photographs to try", "example-photographs")
        with gr.Column(min_width=150):
            value = styles[0] if demo else None
            first = picture_input("Style", studio, value, elem_id="style-1", height=230)
            _examples(styles, first, "Styles to try", "example-styles")
    return content, first


def more_styles(studio: Studio, first: gr.Image) -> tuple[list[gr.Image], list[gr.Slider]]:
    """The other styles, and the shares of all."""
    with gr.Accordion("More styles", open=False):
        gr.Markdown(
            "Several styles are blended by their shares, or each gets a part of the "
            "photograph (below)."
        )
        styles, shares = [first], [_share(1)]
        for k in range(2, MOST_STYLES + 1):
            with gr.Row():
                name = f"style-{k}"
                styles.append(picture_input(f"Style {k}", studio, elem_id=name, height=160))
                shares.append(_share(k))
    return styles, shares


def _share(k: int) -> gr.Slider:
    return gr.Slider(0, 1, 1, step=0.05, label=f"Share of style {k}", elem_id=f"share-{k}")


def picture_input(label: str, studio: Studio, value: Any = None, **more: Any) -> gr.Image:
    """A place for a picture from a file, the camera or the clipboard.

    Events get it as an Upload, or None: gr.Image would decode it.
    """
    image = gr.Image(
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
        if payload is None or payload.path is None:
            return None
        name = clean(payload.orig_name or payload.path)
        return Upload(name, partial(read_upload, _original_of(payload.path), studio.uploads))

    def as_data(value: Shown | str | None) -> ImageData | None:
        if isinstance(value, Shown):
            return ImageData(path=str(value.path), orig_name=value.name)
        return None if value is None else ImageData(path=value, orig_name=Path(value).name)

    # no subclass: gradio writes a file beside each
    image.preprocess = as_upload  # type: ignore[assignment,method-assign]
    image.postprocess = as_data  # type: ignore[assignment,method-assign]
    _check_on_upload(image, studio)
    return image


def _check_on_upload(image: gr.Image, studio: Studio) -> None:
    """Have a broken picture refused as soon as it is uploaded, and one of a kind that browsers do
    not show replaced by one that they do.

    The picture itself is no output of the check: gradio makes a new component of one that stays
    as it is, which would forget what it takes for an upload.
    """
    replacement = gr.State((None, 0.0))

    def check(upload: Upload | None) -> Any:
        if upload is None:
            return gr.skip()
        try:
            studio.reading.thumbnail(upload, studio.limits.read_pixels)
        except PictureError as error:
            gr.Warning(sentence(str(error)))
            return None, time.time()
        except BusyError:
            return gr.skip()  # it is read again when it is painted
        if _suffix_of(upload.read()):
            return gr.skip()
        return try_placed(upload, studio), time.time()

    image.upload(check, image, replacement, **QUIET)
    replacement.change(lambda pair: pair[0], replacement, image, **QUIET)


def _examples(paths: list[str], target: gr.Image, label: str, name: str) -> None:
    """Pictures that a click puts into `target`. gr.Examples would make another component of it."""
    shown = gr.Dataset(
        components=[gr.Image(render=False)],
        samples=[[path] for path in paths],
        label=label,
        type="index",
        elem_id=name,
    )
    shown.click(lambda k: paths[k], shown, target, **QUIET)


def try_placed(upload: Upload | None, studio: Studio) -> Shown | None:
    """Put a picture where the page can show it, under a name of our own.

    Returns None if it cannot be read, or not now.
    """
    if upload is None:
        return None
    try:
        data = upload.read()
        suffix = _suffix_of(data)
        small = None if suffix else studio.reading.thumbnail(upload, studio.limits.read_pixels)
        own = studio.uploads / secrets.token_hex(16)
        own.mkdir()
        path = own / f"picture{suffix or '.png'}"
        if small is None:
            path.write_bytes(data)
        else:
            (own / ORIGINAL).write_bytes(data)
            small.save(path)
    except (OSError, ImpastoError) as error:
        log.info("a picture could not be shown again: %s", error)
        return None
    return Shown(path, upload.name)


def _suffix_of(data: bytes) -> str:
    """The suffix of a picture that every browser shows, or ""."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((suffix for start, suffix in KINDS.items() if data.startswith(start)), "")


def _original_of(path: str) -> str:
    """The uploaded file of a picture that the page shows."""
    original = Path(path).with_name(ORIGINAL)
    return str(original) if original.is_file() else path
