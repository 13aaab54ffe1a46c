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


def test_nested_margins_are_found() -> None:
    paper = np.asarray(framed(250, 20, 20, 20, 20))
    black = np.pad(paper, ((12, 12), (12, 12), (0, 0)))
    assert picture_box(read(black).pixels) == Box(32, 152, 32, 192)


def test_a_caption_is_part_of_the_margin() -> None:
    pixels = np.array(framed(255, 20, 50, 20, 20))
    pixels[155:163, 50:130:2] = 20  # a fifth of a row is ink
    assert picture_box(read(pixels).pixels) == Box(20, 140, 20, 180)


@pytest.mark.parametrize("color", [0, 255])
@pytest.mark.parametrize("sides", [(0, 30, 0, 0), (25, 0, 0, 0), (0, 0, 40, 0), (0, 0, 0, 40)])
def test_a_black_or_white_bar_of_one_side_is_found(color: int, sides: tuple[int, ...]) -> None:
    top, _, left, _ = sides
    box = picture_box(read(framed(color, *sides)).pixels)
    assert box == Box(top, top + 120, left, left + 160)
    assert picture_box(read(framed(128, *sides)).pixels) is None


@pytest.mark.parametrize("roughness", [6, 8])
def test_a_margin_of_paper_with_a_grain_is_found(roughness: int) -> None:
    pixels = np.array(framed((238, 229, 208), 24, 24, 24, 24), float)
    pixels += np.random.default_rng(0).normal(0, roughness, pixels.shape)
    box = picture_box(read(pixels.clip(0, 255).astype(np.uint8)).pixels)
    assert box is not None
    assert np.abs(np.subtract(box, (24, 144, 24, 184))).max() <= 2


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


def with_uneven_edges(
    kind: str, color: tuple[int, int, int], sides: str, least: float, most: float, size: int = 256
) -> Image.Image:
    """Strokes within a margin whose inner edge is slanted, bowed or torn."""
    place = np.linspace(0, 1, size)
    torn = np.random.default_rng(2).uniform(0, 1, size // 6 + 2)
    shape = {
        "slanted": place,
        "bowed": 4 * (place - 0.5) ** 2,
        "torn": np.interp(np.arange(size) / 6, np.arange(len(torn)), torn),
    }[kind]
    depth = least + (most - least) * shape
    near = np.clip(depth[None] - np.arange(size)[:, None], 0, 1)  # of the upper side
    turns = {"top": near, "bottom": near[::-1], "left": near.T, "right": near.T[:, ::-1]}
    cover = np.max([turns[side] for side in sides.split()], axis=0)[..., None]
    pixels = painting(size, size) * (1 - cover) + np.array(color) * cover
    return Image.fromarray(pixels.round().astype(np.uint8))


@pytest.mark.parametrize("kind", ["slanted", "bowed", "torn"])
@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (238, 229, 208), (20, 90, 160)])
@pytest.mark.parametrize(
    "sides", ["left", "top", "left right", "top right", "top bottom left right"]
)
@pytest.mark.parametrize(("least", "most"), [(3, 5), (2, 4), (8, 12), (26, 32)])
def test_a_margin_with_an_uneven_edge_is_trimmed_to_the_picture(
    kind: str, color: tuple[int, int, int], sides: str, least: int, most: int
) -> None:
    if most > 5 and " " not in sides:
        pytest.skip("one side may have a thin one only")
    image = with_uneven_edges(kind, color, sides, least, most)
    box = picture_box(read(image).pixels)
    assert box is not None
    cut = {"top": box.top, "bottom": 256 - box.bottom, "left": box.left, "right": 256 - box.right}
    for side, depth in cut.items():
        low, high = (most - max(1, 0.15 * most), most + 3) if side in sides.split() else (0, 0)
        assert low <= depth <= high, cut


def test_a_thin_rim_of_a_jpeg_is_found() -> None:
    image = as_jpeg(with_uneven_edges("slanted", (250, 250, 250), "left right", 3, 6, 512), 85)
    box = picture_box(read(image).pixels)
    assert box is not None
    assert (box.top, box.bottom) == (0, 512)
    assert 5 <= box.left <= 9
    assert 5 <= 512 - box.right <= 9


def gradient_sky() -> Image.Image:
    pixels = painting(140, 200)
    pixels[:70] = np.linspace(120, 235, 70).astype(np.uint8)[:, None, None]
    return Image.fromarray(pixels)


def light_sky() -> Image.Image:
    """A white sky to three sides, above a straight horizon with a tree."""
    pixels = painting(140, 200)
    pixels[:70] = 255
    pixels[30:70, 50:62] = 40
    return Image.fromarray(pixels)


def vignette() -> Image.Image:
    rows, columns = np.mgrid[:140, :200]
    far = np.hypot((rows - 70) / 140, (columns - 100) / 200)
    return Image.fromarray(
        (painting(140, 200) * np.clip(1.5 - 3 * far**2, 0, 1)[..., None]).astype(np.uint8)
    )


def backdrop() -> Image.Image:
    """A disc on plain gray, on a table of another gray."""
    pixels = np.array(disc())
    pixels[(pixels == 255).all(2)] = 235
    pixels[125:][(pixels[125:] == 235).all(2)] = 205
    return Image.fromarray(pixels)


def wide_things() -> Image.Image:
    """Two things side by side on black that reach from side to side."""
    pixels = np.zeros((160, 280, 3), np.uint8)
    rows, columns = np.mgrid[:160, :280]
    for middle in (70, 210):
        inside = ((rows - 95) / 30) ** 2 + ((columns - middle) / 68) ** 2 < 1
        pixels[inside] = painting(160, 280, low=90)[inside]
    return Image.fromarray(pixels)


def waterfront() -> Image.Image:
    """A strip of water below everything: more than a rim, on one side only."""
    pixels = painting(240, 320)
    pixels[-9:] = (86, 148, 157)
    return Image.fromarray(pixels)


def thin_stripes() -> Image.Image:
    pixels = np.full((240, 200, 3), (200, 20, 40), np.uint8)
    pixels[np.arange(240) // 4 % 2 == 1] = (250, 240, 220)
    return Image.fromarray(pixels)


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
    "make",
    [
        *(drawing, to_the_edge, outlined, disc, night, horizon, square, stripes, gradient_sky),
        *(light_sky, vignette, backdrop, wide_things, waterfront, thin_stripes),
    ],
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
