"""The brush on the photograph: what is drawn, within limits, and the masks that it makes.

gradio keeps every layer that is sent until a painting is asked for, and takes any index for one.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from fastapi import HTTPException
from gradio.components.image_editor import AcceptBlobs, EditorData
from gradio.data_classes import FileData
from PIL import Image, ImageColor

from impasto.errors import PictureError
from impasto.images.files import header_size
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import BusyError, Upload
from impasto.web.jobs.uploads import read_upload
from impasto.web.page.controls import QUIET

# Each color has a meaning, which the page names beside the brush. They are nearly the corners of a
# tetrahedron in RGB: half way between two of them no third one is near. Light and dark differ, for
# those who see colors differently.
COLORS = {"protect": "#e0189a", "style 2": "#00a8e8", "style 3": "#ffd500", "style 4": "#111111"}
MEANINGS = {
    name: "stays as it is" if name == "protect" else f"is painted as {name}" for name in COLORS
}
LEAST = 1e-4  # share of the picture: smaller strokes are ignored

DRAWINGS, LAYERS = 50, 4  # drawings that are kept until they are asked for, and layers of each
MOST_LAYER, MOST_HELD = 8_000_000, 64_000_000  # bytes of a layer, and of all drawings together
MOST_DRAWN = 2048 * 2048  # pixels of a layer; the page draws on at most 768 x 768


def brush(studio: Studio, content: gr.Image, first: Path | None) -> gr.ImageEditor:
    """The brush on the photograph; nothing is drawn on a new one. first: what is there at first."""
    patches = "".join(
        f"<li><i style='background:{COLORS[name]}'></i>{meaning}</li>"
        for name, meaning in MEANINGS.items()
    )
    gr.HTML(f"<p>Draw on the photograph. What has the color</p><ul class='patches'>{patches}</ul>")

    def begin(upload: Upload | None) -> Any:
        if upload is None:
            return None
        try:
            small = studio.reading.thumbnail(upload, studio.limits.read_pixels)
        except (PictureError, BusyError):
            return None  # the visitor is told when it is to be painted
        return {"background": small, "layers": [], "composite": None}

    editor = gr.ImageEditor(
        value=begin(Upload("photograph", first.read_bytes) if first else None),
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


def _bound(editor: gr.ImageEditor, uploads: Path) -> None:
    """Limit what pages send of a drawing, and decode only what is used of it: the layers."""
    accept = editor.accept_blobs

    @wraps(accept)
    def accept_layer(data: AcceptBlobs) -> Any:
        if data.data["type"] != "layer":
            return None  # the photograph, and the photograph drawn on
        check_layer(data.data["index"], data.files[0][1])
        return accept(data)

    def drawn(payload: EditorData | None) -> dict[str, Any] | None:
        if payload is None:
            return None
        sent = editor.blob_storage.get(payload.id) if payload.id is not None else payload
        layers = [layer for layer in (sent.layers if sent else ()) if layer is not None]
        return {"layers": [_layer(layer, uploads) for layer in layers[:LAYERS]]}

    editor.blob_storage, editor.accept_blobs = LatestDrawings(), accept_layer
    editor.preprocess = drawn  # type: ignore[assignment,method-assign]


def _layer(sent: bytes | FileData, uploads: Path) -> np.ndarray:
    """A layer of a drawing, (H, W, 4), 0 to 255. Raises gr.Error."""
    try:
        data = sent if isinstance(sent, bytes) else read_upload(sent.path, uploads)
        header_size(data, "the drawing", MOST_DRAWN)
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as image:
            return np.asarray(image.convert("RGBA"))
    except PictureError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception:  # decoders raise anything
        raise gr.Error("the drawing cannot be read: draw it again", print_exception=False) from None


def check_layer(index: object, data: bytes) -> None:
    """Raise HTTPException for a layer that no page sends."""
    if str(index) not in map(str, range(LAYERS)):  # gradio would take "+3" and "1_000", too
        raise HTTPException(422, f"a drawing has at most {LAYERS} layers")
    if len(data) > MOST_LAYER:
        raise HTTPException(413, f"a layer of a drawing has at most {MOST_LAYER / 1e6:g} MB")


class LatestDrawings(dict[str, Any]):
    """The newest drawings by id: what pages send and then do not ask for must not pile up."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()  # pages send from several threads

    def __setitem__(self, key: str, value: Any) -> None:
        with self._lock:
            self.pop(key, None)  # so that it becomes the newest
            super().__setitem__(key, value)
            while len(self) > DRAWINGS or (len(self) > 1 and self._held() > MOST_HELD):
                del self[next(iter(self))]

    def _held(self) -> int:
        layers = (layer for drawing in list(self.values()) for layer in list(drawing.layers))
        return sum(len(layer or b"") for layer in layers)


def masks_of(layers: Sequence[np.ndarray]) -> dict[str, bytes]:
    """Masks as PNGs, white where something was drawn, by the color's meaning.

    layers: (H, W, 4), 0 to 255, the lowest first; a higher one covers those below. A pixel belongs
    to the nearest color, as much as it is opaque: strokes have soft edges.
    """
    palette = np.array([ImageColor.getrgb(color) for color in COLORS.values()], np.float32)
    masks: dict[str, np.ndarray] = {}
    for layer in layers:
        distances = [((layer[..., :3] - color) ** 2).sum(-1) for color in palette]
        nearest, opacity = np.stack(distances).argmin(0), layer[..., 3] / 255  # both (H, W)
        for k, name in enumerate(COLORS):
            mask = (nearest == k) * opacity
            masks[name] = mask + masks[name] * (1 - opacity) if name in masks else mask
    return {name: _png(mask) for name, mask in masks.items() if mask.mean() >= LEAST}


def _png(mask: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray((mask * 255).round().astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
