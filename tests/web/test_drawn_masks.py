"""What is drawn on the photograph becomes masks."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from impasto.images.masks import read_mask
from impasto.images.read import read_bytes
from impasto.web.page.drawings import COLORS, LEAST, masks_of

HEIGHT, WIDTH = 60, 80
LEFT, RIGHT, ALL = np.s_[:, :30], np.s_[:, 30:], np.s_[:]
PAIRS = list(combinations(COLORS, 2))


def color_of(name: str) -> tuple[int, int, int]:
    return ImageColor.getrgb(COLORS[name])


def layer(*strokes: tuple[str, object, int]) -> np.ndarray:
    """A layer with strokes: what they mean, where they are, how opaque."""
    found = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    for name, where, alpha in strokes:
        found[where] = [*color_of(name), alpha]
    return found


def opened(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def drawn(*layers: np.ndarray) -> dict[str, np.ndarray]:
    return {name: opened(png) for name, png in masks_of(layers).items()}


def scribbled(ground: str, stroke: str, side: int = 600, smooth: int = 4) -> np.ndarray:
    """A scribble over a ground, with smooth edges, as a browser draws it."""
    points = [(smooth * (20 + 560 * (k % 2)), smooth * (20 + 28 * k)) for k in range(21)]
    mask = Image.new("L", (smooth * side, smooth * side))
    ImageDraw.Draw(mask).line(points, fill=255, width=12 * smooth)
    image = Image.new("RGBA", (side, side), (*color_of(ground), 255))
    image.paste((*color_of(stroke), 255), mask=mask.resize(image.size, Image.Resampling.BOX))
    return np.asarray(image)


def test_no_layers_are_no_masks():
    assert masks_of([]) == {}


def test_a_layer_on_which_nothing_is_drawn_is_no_mask():
    assert masks_of([layer()]) == {}
    assert masks_of([layer(("style 2", ALL, 0))]) == {}


@pytest.mark.parametrize("name", COLORS)
def test_a_color_alone_is_white_where_it_is(name):
    (found,) = drawn(layer((name, LEFT, 255))).items()
    assert found[0] == name
    assert (found[1][LEFT] == 255).all()
    assert (found[1][RIGHT] == 0).all()


def test_every_color_has_its_own_mask():
    quarters = [np.s_[:, 20 * k : 20 * (k + 1)] for k in range(4)]
    found = drawn(
        layer(*((name, where, 255) for name, where in zip(COLORS, quarters, strict=True)))
    )
    assert list(found) == list(COLORS)
    for name, where in zip(COLORS, quarters, strict=True):
        assert (found[name][where] == 255).all()
    assert (sum(mask.astype(int) for mask in found.values()) == 255).all()


@pytest.mark.parametrize("name", COLORS)
def test_a_color_that_is_a_little_off_means_the_same(name):
    near = layer((name, ALL, 255))
    near[..., :3] = np.clip(
        near[..., :3].astype(int) + np.random.default_rng(0).integers(-12, 13, (HEIGHT, WIDTH, 3)),
        0,
        255,
    )
    assert list(drawn(near)) == [name]


def test_soft_edges_stay_soft():
    soft = layer(("protect", ALL, 255))
    soft[..., 3] = np.linspace(0, 255, WIDTH).round()
    assert (drawn(soft)["protect"] == soft[..., 3]).all()


def test_what_is_hidden_under_no_opacity_means_nothing():
    hidden = layer(("style 2", LEFT, 255), ("style 3", RIGHT, 0))
    assert list(drawn(hidden)) == ["style 2"]


@pytest.mark.parametrize(("pixels", "kept"), [(1, False), (2, True)])
def test_a_tiny_stroke_is_ignored(pixels, kept):
    slip = np.zeros((100, 150, 4), np.uint8)  # 15,000 pixels: LEAST is one and a half
    slip[0, :pixels] = [*color_of("protect"), 255]
    assert bool(masks_of([slip])) is kept
    assert LEAST == 1e-4


def test_a_tiny_stroke_beside_a_larger_one_is_ignored():
    large = np.zeros((200, 200, 4), np.uint8)
    large[:100] = [*color_of("style 2"), 255]
    large[150, 150] = [*color_of("protect"), 255]
    assert list(masks_of([large])) == ["style 2"]


def test_layers_of_one_color_are_one_mask():
    lower, upper = layer(("style 2", np.s_[:, :50], 255)), layer(("style 2", np.s_[:, 30:], 100))
    found = drawn(lower, upper)["style 2"]
    assert (found[:, :50] == 255).all()
    assert (found[:, 50:] == 100).all()


def test_layers_of_other_colors_are_other_masks():
    found = drawn(layer(("style 2", LEFT, 255)), layer(("style 3", RIGHT, 255)))
    assert (found["style 2"][LEFT] == 255).all()
    assert (found["style 3"][RIGHT] == 255).all()


def test_a_higher_layer_covers_the_strokes_below():
    found = drawn(layer(("style 2", ALL, 255)), layer(("style 3", RIGHT, 255)))
    assert (found["style 2"][RIGHT] == 0).all()


def test_layers_are_left_as_they_are():
    one = layer(("style 2", LEFT, 255))
    before = one.copy()
    masks_of([one, one])
    assert (one == before).all()


@pytest.mark.parametrize("pair", PAIRS)
def test_where_two_colors_are_blended_each_pixel_is_one_of_them(pair):
    share = np.linspace(0, 1, WIDTH)[None, :, None]
    blend = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    first, second = (np.array(color_of(name)) for name in pair)
    blend[..., :3] = ((1 - share) * first + share * second).round()
    found = drawn(blend)
    assert (sum(mask.astype(int) for mask in found.values()) == 255).all()
    assert set(found) == set(pair)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_scribble_over_another_color_means_nothing_else(pair):
    for ground, stroke in (pair, pair[::-1]):
        assert set(masks_of([scribbled(ground, stroke)])) == set(pair)


@pytest.mark.parametrize("name", COLORS)
def test_a_mask_that_is_found_is_one_that_is_taken(name):
    for size in ((100, 150), (173, 211), (576, 768)):
        small = np.zeros((*size, 4), np.uint8)
        few = int(np.ceil(size[0] * size[1] * LEAST)) + 1
        small[0, :few] = [*color_of(name), 255]
        mask = read_mask(read_bytes(masks_of([small])[name], "mask"))
        assert mask.alpha.shape[2:] == size
