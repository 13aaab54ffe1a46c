"""What the nodes do: pictures in ComfyUI's form in, paintings in ComfyUI's form out."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from comfy import model_management
from comfy.utils import ProgressBar

from impasto import PRESETS, Painting, Step, paint, texture
from impasto.film.clip import Clip, ClipFrame
from impasto.film.flow import flow_method
from impasto.film.paint import Extras, FilmInput, Span, film_size, paint_film
from impasto.film.painter import FramePainter
from impasto.film.store import open_film_store
from impasto.images.masks import NOTHING, read_mask
from impasto.images.read import read, resize
from impasto.painting.arguments import combined

PREVIEW_EVERY = 0.5  # seconds
PREVIEW_SIDE = 512  # pixels, as of ComfyUI's own previews
UNITS = 1000  # of the progress bar, for each picture

Images = torch.Tensor  # (B, H, W, C), floats in [0, 1], as ComfyUI has them; masks are (B, H, W)


class Progress:
    """Show the progress of `count` pictures, with previews; end the run when it is canceled."""

    def __init__(self, count: int):
        self.done = 0  # pictures
        self._bar = ProgressBar(count * UNITS)
        self._previewed = 0.0

    def __call__(self, step: Step) -> None:
        """Show a step. Raises ComfyUI's own exception when the user has canceled."""
        model_management.throw_exception_if_processing_interrupted()
        preview = None
        if (now := time.monotonic()) - self._previewed > PREVIEW_EVERY:
            preview = ("JPEG", step.image.convert("RGB"), PREVIEW_SIDE)
            self._previewed = now
        self._bar.update_absolute(int((self.done + step.fraction) * UNITS), preview=preview)


def arguments(preset: str, settings: str, **widgets: Any) -> dict[str, Any]:
    """Return keywords of `impasto.paint`; those of `settings`, a JSON object, take precedence."""
    try:
        more = json.loads(settings.strip() or "{}")
    except ValueError:
        more = None
    if not isinstance(more, dict):
        raise ValueError(f'settings is {settings[:80]!r}: give a JSON object, as {{"levels": 2}}')
    if widgets.get("size") == 0:
        widgets["size"] = "original"
    return {"config": PRESETS[preset].config, **widgets, **more}


def each(images: Images) -> list[Any]:
    """Return the pictures of a batch as arrays (H, W, C), masks as (H, W)."""
    return list(images.float().clamp(0, 1).cpu().numpy())


def finished(painting: Painting) -> Images:
    """Return a painting as (1, H, W, 3), and log what should be known of it."""
    for text in (*painting.notes, painting.doubt, painting.stopped):
        if text:
            logging.warning("impasto: %s", text)
    return painting.pixels.permute(0, 2, 3, 1).contiguous()


def paint_images(
    content: Images, style: Images, regions: Sequence[Mapping[str, Any]] = ({},), **given: Any
) -> Images:
    """Paint every picture of a batch in the blended styles of another.

    regions: keywords of single pictures, used in turn.
    """
    keywords, progress, paintings = arguments(**given), Progress(len(content)), []
    for k, picture in enumerate(each(content)):
        region = regions[k % len(regions)]
        painting = paint(picture, each(style), on_step=progress, **{**keywords, **region})
        paintings.append(finished(painting))
        progress.done += 1
    return torch.cat(paintings)


def paint_region(
    content: Images, mask: Images, style: Images, outside: Images | None = None, **given: Any
) -> Images:
    """Paint the white part of a mask; the rest in the style `outside`, or not at all."""
    masks = each(mask)
    for region in masks:
        read_mask(region)  # an error if it is empty, as that of a picture without transparency
    if outside is not None:
        regions = [{"mask": [(region, picture) for picture in each(style)]} for region in masks]
        return paint_images(content, outside, regions, **given)
    rest = [1 - region for region in masks]
    regions = [{"protect": region} if region.mean() > NOTHING else {} for region in rest]
    painted = paint_images(content, style, regions, **given)
    # protected parts are changed a little, so that no edge is seen; they are put back
    content, (height, width) = content.cpu().float()[..., :3], painted.shape[1:3]
    before = resize(content.permute(0, 3, 1, 2), height, width).permute(0, 2, 3, 1)
    share = resize(mask.cpu().float()[:, None], height, width).permute(0, 2, 3, 1)
    share = share[[k % len(share) for k in range(len(content))]]
    return share * painted + (1 - share) * before


def paint_texture(style: Images, width: int, height: int, **given: Any) -> Images:
    """Synthesize a texture."""
    keywords = arguments(**given)
    return finished(texture(each(style), (width, height), on_step=Progress(1), **keywords))


def paint_frames(
    frames: Images, style: Images, later_steps: int, temporal: float, **given: Any
) -> Images:
    """Paint a batch of frames as one film, held steady by optical flow."""
    keywords = arguments(**given)
    config, machine, _ = combined(keywords.pop("config"), None, None, keywords)
    arrays = [(frame[..., :3] * 255).round().astype("uint8") for frame in each(frames)]
    inputs = [ClipFrame(k, k - 1, 1, array) for k, array in enumerate(arrays, 1)]
    rate, one = Fraction(25), Fraction(1)  # the rate has no effect on the pictures
    clip = Clip(
        Path("frames"), "", 1 / rate, 0 * one, rate, one, None, len(inputs), lambda _: iter(inputs)
    )
    styles = [read(picture) for picture in each(style)]
    later = later_steps or config.later_steps
    painter = FramePainter(styles, config, machine, later, temporal, note=logging.warning)
    size = film_size(inputs[0], config)
    film = FilmInput(clip, Span(), size, Extras(config, rate), flow_method("dis"))
    progress = Progress(len(inputs))
    with tempfile.TemporaryDirectory() as folder, open_film_store(Path(folder), {}) as store:
        for _ in paint_film(film, painter, store, logging.warning, progress):
            progress.done += 1
        painted = [store.pixels(frame.number) for frame in inputs]
    return torch.cat(painted).permute(0, 2, 3, 1).contiguous()
