import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from impasto.images.margins import Box, is_flat, opaque_box, picture_box
from impasto.images.read import read


def painting(height: int, width: int, seed: int = 0, low: int = 30, high: int = 220) -> np.ndarray:
    """A picture of strokes, (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(low, high, (height // 4 + 1, width // 4 + 1, 3))
    return coarse.repeat(4, 0).repeat(4, 1)[:height, :width].astype(np.uint8)


def framed(
    color: int | tuple[int, int, int],
    top: int,
    bottom: int,
    left: int,
    right: int,
    height: int = 120,
    width: int = 160,
) -> Image.Image:
    whole = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
    whole[:] = color
    whole[top : top + height, left : left + width] = painting(height, width)
    return Image.fromarray(whole)


def as_jpeg(image: Image.Image, quality: int = 75) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(io.BytesIO(data.getvalue()))


@pytest.mark.parametrize("color", [0, 255, (238, 229, 208), (40, 90, 60)])
@pytest.mark.parametrize(
    "sides",
    [(40, 40, 0, 0), (0, 0, 30, 50), (20, 35, 12, 60), (0, 25, 0, 30), (9, 9, 9, 9)],
)
def test_a_plain_margin_is_found_to_the_pixel(color, sides: tuple[int, ...]) -> None:
    top, _, left, _ = sides
    box = picture_box(read(framed(color, *sides)).pixels)
    assert box == Box(top, top + 120, left, left + 160)


@pytest.mark.parametrize("color", [0, 250])
@pytest.mark.parametrize("quality", [60, 90])
def test_a_margin_of_jpeg_noise_is_found(color: int, quality: int) -> None:
    image = framed(color, 42, 37, 21, 0)
    box = picture_box(read(as_jpeg(image, quality)).pixels)
    assert box is not None
    wanted = (42, 162, 21, 181)
    assert all(abs(a - b) <= 2 for a, b in zip(box, wanted, strict=True))


def test_a_margin_of_rough_paper_is_found() -> None:
    whole = np.array(framed(244, 30, 30, 40, 40)).astype(float)
    whole += np.random.default_rng(3).normal(0, 2, whole.shape)
    found = picture_box(read(Image.fromarray(whole.clip(0, 255).astype(np.uint8))).pixels)
    assert found == Box(30, 150, 40, 200)


def drawing() -> Image.Image:
    """Lines of ink in the middle of white paper."""
    image = Image.new("RGB", (200, 160), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((50, 30, 150, 130), outline="black", width=3)
    draw.line((60, 90, 140, 90), fill="black", width=3)
    return image


def to_the_edge() -> Image.Image:
    image = drawing()
    ImageDraw.Draw(image).line((0, 20, 199, 150), fill="black", width=4)
    return image


def outlined() -> Image.Image:
    """A rectangle drawn on paper."""
    image = drawing()
    ImageDraw.Draw(image).rectangle((20, 20, 180, 140), outline="black", width=2)
    return image


def disc() -> Image.Image:
    """A filled disc with some texture, on white."""
    rows, columns = np.mgrid[:160, :160]
    inside = np.hypot(rows - 80, columns - 80) < 55
    pixels = np.where(inside[..., None], painting(160, 160), 255).astype(np.uint8)
    return Image.fromarray(pixels)


def night() -> Image.Image:
    """Hills beneath a black sky."""
    pixels = painting(140, 200, high=120)
    hills = 60 + 20 * np.sin(np.arange(200) / 15)
    pixels[np.arange(140)[:, None] < hills[None]] = 0
    return Image.fromarray(pixels)


def horizon() -> Image.Image:
    """A sea beneath a plain sky: one straight edge."""
    pixels = painting(140, 200)
    pixels[:60] = (120, 170, 220)
    return Image.fromarray(pixels)


def square() -> Image.Image:
    """A black square on white."""
    pixels = np.full((160, 160, 3), 255, np.uint8)
    pixels[40:120, 40:120] = 0
    return Image.fromarray(pixels)


def stripes() -> Image.Image:
    pixels = np.full((150, 200, 3), (200, 20, 40), np.uint8)
    pixels[50:100] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "make", [drawing, to_the_edge, outlined, disc, night, horizon, square, stripes]
)
@pytest.mark.parametrize("jpeg", [False, True])
def test_plain_areas_that_are_no_margin_are_kept(make, jpeg: bool) -> None:
    image = as_jpeg(make()) if jpeg else make()
    assert picture_box(read(image).pixels) is None


def test_a_picture_without_a_margin_has_none() -> None:
    assert picture_box(read(painting(120, 160)).pixels) is None
    assert picture_box(torch.ones(1, 3, 64, 64)) is None


def test_the_box_of_what_is_opaque() -> None:
    alpha = torch.zeros(1, 1, 80, 100)
    alpha[..., 20:60, 50:90] = 1
    assert opaque_box(alpha) == Box(20, 60, 50, 90)
    alpha.zero_()
    alpha[..., 79, 0] = 1
    assert opaque_box(alpha) == Box(64, 80, 0, 16)


def test_what_is_flat() -> None:
    paper = np.random.default_rng(0).normal(249, 1.5, (100, 100, 3)).clip(0, 255).astype(np.uint8)
    assert is_flat(torch.ones(1, 3, 40, 40))
    assert is_flat(read(paper).pixels)
    assert is_flat(read(drawing()).pixels)
    assert not is_flat(read(painting(100, 100)).pixels)
    assert not is_flat(read(horizon()).pixels)


def test_flatness_is_that_of_the_mask() -> None:
    pixels = read(painting(64, 64)).pixels
    pixels[..., :20] = 0.9
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :20] = 1
    assert is_flat(pixels, mask)
    assert not is_flat(pixels, 1 - mask)
