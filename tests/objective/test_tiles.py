"""Tiles share out every map and see all that they need, so the objective over them is that of the
whole picture."""

from itertools import product

import pytest
import torch

from configs import gram_config
from impasto import Config, paint
from impasto.backbone.architecture import STRIDE, layer_stride, reach
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.images.read import read, resize
from impasto.images.samples import sample_portrait, sample_style
from impasto.objective.objective import Objective
from impasto.objective.tiles import Tile, cut
from layouts import random_kernels
from machines import EXACT

SIZES = [(301, 417), (97, 64), (16, 16), (16, 333), (129, 255), (257, 65), (40, 48)]
SIDES = [16, 31, 64, 85, 100, 128, 1000]
STRIDES = [1, 2, 4, 8, 16]
# a halo of 13
SHALLOW = {"content_layers": "conv2_2", "style_layers": "relu1_1,conv2_1,relu2_2,relu3_1"}
# of 37
MIDDLE = {
    "content_layers": "relu3_2,conv4_1",
    "style_layers": "conv1_1,relu1_1,relu3_2=0.5,conv3_3=2",
}
PLAIN = {
    "normalize": "none",
    "gram_divisor": "chw",
    "content_reduction": "sum",
    "style_reduction": "sum",
    "tv_weight": 0.01,
    "tv_form": "absolute",
    "tv_reduction": "sum",
    "grain_weight": 2,
    "content_weight": 0.001,
}
DEFAULT = {"tv_weight": 0.3, "grain_weight": 2}


@pytest.fixture(scope="module")
def weights(tiny_weights) -> Weights:
    return load(str(tiny_weights))


def picture(seed: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


# --- cutting


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layers", [["conv1_1"], ["relu3_1", "conv2_1"], ["relu5_1"]])
def test_tiles_share_out_every_map_exactly(size: tuple[int, int], layers: list[str]) -> None:
    for side, stride in product(SIDES, STRIDES):
        times = torch.zeros(size[0] // stride, size[1] // stride)
        for tile in cut(*size, side, layers):
            window = tile.window(stride)
            times[window.rows, window.columns] += 1
        assert (times == 1).all(), (side, stride)


@pytest.mark.parametrize("size", SIZES)
def test_a_position_belongs_to_the_tile_that_holds_its_first_pixel(size: tuple[int, int]) -> None:
    for side, stride in product(SIDES, STRIDES):
        for tile in cut(*size, side, ["conv1_1"]):
            window = tile.window(stride)
            for ours, start, end, full in (
                (window.rows, tile.top, tile.bottom, size[0]),
                (window.columns, tile.left, tile.right, size[1]),
            ):
                inside = [k for k in range(full // stride) if start <= k * stride < end]
                assert list(range(ours.start, ours.stop)) == inside, (side, stride, tile)


@pytest.mark.parametrize("size", SIZES)
def test_a_window_is_the_same_place_in_the_map_and_in_the_crops_map(size: tuple[int, int]) -> None:
    height, width = size
    numbered = torch.arange(height * width).view(height, width)
    for side, stride in product(SIDES, STRIDES):
        # what a pooling does: every stride-th pixel is a position's first, leftovers are dropped
        whole = numbered[: height // stride * stride : stride, : width // stride * stride : stride]
        tiles = cut(height, width, side, ["conv3_1"])
        for tile in tiles:
            crop = numbered[tile.crop]
            rows, columns = (length // stride * stride for length in crop.shape)
            crop = crop[:rows:stride, :columns:stride]
            window = tile.window(stride)
            inner = crop[window.inner_rows, window.inner_columns]
            assert torch.equal(inner, whole[window.rows, window.columns]), (side, stride, tile)
            assert window.whole == (len(tiles) == 1)


@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_of_about_one_size_and_no_larger_than_asked_for(size: tuple[int, int]) -> None:
    for side in SIDES:
        for sides in zip(
            *(
                (tile.bottom - tile.top, tile.right - tile.left)
                for tile in cut(*size, side, ["conv1_1"])
            ),
            strict=True,
        ):
            assert max(sides) <= side
            assert max(sides) - min(sides) <= 1


def test_a_leftover_pixel_becomes_no_tile_of_its_own() -> None:
    assert [(tile.top, tile.bottom) for tile in cut(129, 16, 128, ["conv1_1"])] == [
        (0, 64),
        (64, 129),
    ]
    assert [(tile.top, tile.bottom) for tile in cut(128, 16, 128, ["conv1_1"])] == [(0, 128)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layer", ["conv1_1", "relu2_2", "conv4_2", "relu5_4"])
def test_a_crop_starts_at_a_multiple_of_16_and_holds_the_halo_and_little_more(
    size: tuple[int, int], layer: str
) -> None:
    halo = reach([layer])
    for side in SIDES:
        for tile in cut(*size, side, ["conv1_1", layer]):
            ends = ((tile.top, tile.bottom, size[0]), (tile.left, tile.right, size[1]))
            for (start, end, full), crop in zip(ends, tile.crop, strict=True):
                assert crop.start % STRIDE == 0
                assert crop.stop % STRIDE == 0 or crop.stop == full
                assert max(0, start - halo - STRIDE) <= crop.start <= max(0, start - halo)
                assert min(full, end + halo) <= crop.stop <= min(full, end + halo + STRIDE)


def test_a_picture_smaller_than_a_tile_is_one() -> None:
    (tile,) = cut(97, 64, 97, ["relu5_1"])
    assert tile == Tile(0, 97, 0, 64, (slice(0, 97), slice(0, 64)), 97, 64)
    assert tile.whole
    assert not any(tile.whole for tile in cut(97, 64, 96, ["relu5_1"]))


# --- reach


@pytest.mark.parametrize(
    ("layers", "pixels"),
    [
        # a stride for each convolution up to it, and a position's own width less its first pixel
        (["conv1_1"], 1),
        (["relu1_2"], 2),
        (["conv2_1"], 1 * 2 + 2 * 1 + 1),
        (["relu3_1"], 1 * 2 + 2 * 2 + 4 * 1 + 3),
        (["conv4_2"], 1 * 2 + 2 * 2 + 4 * 4 + 8 * 2 + 7),
        (["conv5_1"], 1 * 2 + 2 * 2 + 4 * 4 + 8 * 4 + 16 * 1 + 15),
        (["conv5_4", "relu1_1"], 133),
        (["relu2_1", "conv1_1", "relu1_2"], 5),
    ],
)
def test_reach_by_hand(layers: list[str], pixels: int) -> None:
    assert reach(layers) == pixels


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize(
    "layer", ["conv1_1", "relu1_2", "conv2_1", "relu3_1", "conv4_2", "conv5_1", "relu5_4"]
)
def test_a_position_sees_as_far_as_reach_says_and_not_a_pixel_farther(
    layer: str, pooling: str
) -> None:
    # Where every weight is positive a brighter pixel can only make what sees it larger.
    kernels = {
        name: (kernel.abs(), bias.abs()) for name, (kernel, bias) in random_kernels().items()
    }
    backbone = Backbone(
        Weights("positive", kernels, "RGB", (0.0,) * 3, (1.0,) * 3),
        pooling=pooling,
        dtype=torch.float64,
    )
    stride, far = layer_stride(layer), reach([layer])
    first = 144  # the first pixel of the position looked at
    before = far - (stride - 1)  # the way up begins at its first pixel, the way down at its last

    def feature(bright_row: int | None = None) -> torch.Tensor:
        pixels = torch.full((1, 3, 288, 16), 0.5, dtype=torch.float64)
        if bright_row is not None:
            pixels[:, :, bright_row] = 1e6
        return backbone(pixels, [layer])[layer][0, :, first // stride]

    dark = feature()
    for outside in (first - far - 1, first - before - 1, first + far + 1, 0, 287):
        assert torch.allclose(feature(outside), dark, rtol=1e-12), outside
    for inside in (first - before, first, first + far):
        assert (feature(inside) > dark * (1 + 1e-9)).any(), inside


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_features_in_a_tile_are_those_of_the_whole_picture(
    weights: Weights, pooling: str, padding: str
) -> None:
    backbone = Backbone(weights, pooling=pooling, padding=padding, dtype=torch.float64)
    layers = ["conv1_1", "relu2_2", "conv3_4", "relu4_2"]
    pixels = picture(1, 201, 187).double()
    whole = backbone(pixels, layers)
    for tile in cut(201, 187, 67, layers):
        assert not tile.whole
        for layer, features in backbone(pixels[(..., *tile.crop)], layers).items():
            window = tile.window(layer_stride(layer))
            inner = features[:, :, window.inner_rows, window.inner_columns]
            torch.testing.assert_close(
                inner, whole[layer][:, :, window.rows, window.columns], rtol=1e-12, atol=1e-12
            )


# --- the objective over tiles


def assert_the_same(
    config: Config,
    backbone: Backbone,
    size: tuple[int, int],
    side: int,
    value: float = 1e-5,
    slope: float = 1e-4,
) -> None:
    """Whole and over tiles: the terms and the gradient at some picture are the same."""
    height, width = size
    content, x = picture(1, height, width), picture(2, height, width)
    styles = [picture(3, height + 37, width + 20), picture(4, 45, 33)][: max(1, len(config.blend))]
    one, many = (
        Objective(config, backbone, content, styles, tile_size=each) for each in (None, side)
    )
    assert len(one.tiles) == 1 < len(many.tiles)
    (total, gradient), (tiled, tiled_gradient) = one.evaluate(x), many.evaluate(x)
    assert tiled.names == total.names
    torch.testing.assert_close(tiled.total, total.total, rtol=value, atol=0)
    torch.testing.assert_close(
        tiled.term_values, total.term_values, rtol=2 * value, atol=1e-6 * float(total.total)
    )
    assert (tiled_gradient - gradient).norm() < slope * gradient.norm()


@pytest.mark.parametrize(
    ("padding", "pooling"),
    [
        ("replicate", "max"),
        ("zeros", "average"),
        pytest.param("zeros", "max", marks=pytest.mark.slow),
        pytest.param("replicate", "average", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("form", [DEFAULT, PLAIN], ids=["default", "plain"])
@pytest.mark.parametrize(
    ("layers", "size", "side"), [(SHALLOW, (97, 64), 23), (MIDDLE, (131, 145), 50)]
)
def test_the_objective_over_tiles_is_that_of_the_whole(
    weights: Weights,
    pooling: str,
    padding: str,
    form: dict,
    layers: dict,
    size: tuple[int, int],
    side: int,
) -> None:
    backbone = Backbone(weights, pooling=pooling, padding=padding)
    assert_the_same(gram_config(blend="0.7,0.3", **layers, **form), backbone, size, side)


@pytest.mark.parametrize("form", [DEFAULT, PLAIN], ids=["default", "plain"])
@pytest.mark.parametrize(("size", "side"), [((301, 417), 150), ((193, 97), 96), ((217, 16), 86)])
def test_deep_layers_and_odd_sizes_over_tiles(
    weights: Weights, form: dict, size: tuple[int, int], side: int
) -> None:
    assert_the_same(
        gram_config(blend="1,2", **form), Backbone(weights, padding="replicate"), size, side
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"content_layers": "", "style_layers": "relu3_1"},
        {"style_layers": "", "content_layers": "relu3_1"},
        {"style_layers": "", "content_layers": "relu1_1", "grain_weight": 0},
        {"tv_weight": 1, "tv_form": "absolute"},
        {"normalize": "none", "gram_divisor": "sqrt-chw", "feature_units": "0-255"},
        {
            "normalize": "none",
            "gram_divisor": "none",
            "content_reduction": "half-sum",
            "tv_weight": 1,
        },
    ],
)
def test_other_objectives_over_tiles(weights: Weights, changes: dict) -> None:
    assert_the_same(gram_config(**{**SHALLOW, **changes}), Backbone(weights), (97, 64), 30)


def test_tiles_smaller_than_a_position_of_the_deepest_layer(weights: Weights) -> None:
    # most of them hold no position of it at all
    assert_the_same(gram_config(style_layers="relu1_1,conv5_1"), Backbone(weights), (49, 33), 7)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_there_are_no_seams(weights: Weights, padding: str) -> None:
    # In float64 the rounding is so small that nothing else could hide in it.
    config = gram_config(blend="0.7,0.3", **MIDDLE, **DEFAULT)
    content, x, *styles = (picture(k, 131, 145 + k).double()[..., :145] for k in (1, 2, 3, 4))
    backbone = Backbone(weights, padding=padding, dtype=torch.float64)
    one, many = (
        Objective(config, backbone, content, styles, tile_size=side) for side in (None, 50)
    )
    gradient = one.evaluate(x)[1]
    error = (many.evaluate(x)[1] - gradient).abs()
    assert len(many.tiles) == 9
    assert error.max() < 1e-9 * gradient.square().mean().sqrt()


def test_in_float32_the_worst_pixel_is_no_worse_at_a_border_than_elsewhere(
    weights: Weights,
) -> None:
    config = gram_config(blend="0.7,0.3", **MIDDLE, **DEFAULT)
    content, x, *styles = (picture(k, 301, 417) for k in (1, 2, 3, 4))
    one, many = (
        Objective(config, Backbone(weights), content, styles, tile_size=side)
        for side in (None, 150)
    )
    gradient = one.evaluate(x)[1]
    error = (many.evaluate(x)[1] - gradient).abs().amax((0, 1))
    near = torch.zeros(301, 417, dtype=torch.bool)
    for tile in many.tiles:
        for row in {tile.top, tile.bottom} - {0, 301}:
            near[row - 8 : row + 8] = True
        for column in {tile.left, tile.right} - {0, 417}:
            near[:, column - 8 : column + 8] = True
    assert 0.1 < near.float().mean() < 0.5
    assert error[near].max() < 1e-4 * gradient.abs().max()
    assert error[near].max() < 5 * error[~near].max()
    assert error[near].mean() < 1.5 * error[~near].mean()


def test_the_value_alone_over_tiles_is_the_evaluations(weights: Weights) -> None:
    x = picture(2, 97, 64)
    objective = Objective(
        gram_config(**SHALLOW, **DEFAULT),
        Backbone(weights),
        picture(1, 97, 64),
        [picture(3, 60, 70)],
        tile_size=30,
    )
    alone, value = objective(x), objective.evaluate(x)[0]
    assert torch.equal(alone.term_values, value.term_values)
    assert alone.total == value.total
    assert alone.names == value.names


def test_a_side_as_large_as_the_picture_changes_nothing_at_all(weights: Weights) -> None:
    x, content, style = (picture(k, 97, 64) for k in (1, 2, 3))
    (one, gradient), (two, same) = (
        Objective(gram_config(), Backbone(weights), content, [style], tile_size=side).evaluate(x)
        for side in (None, 97)
    )
    assert torch.equal(one.term_values, two.term_values)
    assert torch.equal(gradient, same)


def test_the_picture_is_left_alone(weights: Weights) -> None:
    x = picture(2, 97, 64)
    Objective(
        gram_config(**DEFAULT),
        Backbone(weights),
        picture(1, 97, 64),
        [picture(3, 60, 70)],
        tile_size=40,
    ).evaluate(x)
    assert torch.equal(x, picture(2, 97, 64))


def test_the_shipped_network_over_tiles() -> None:
    content = resize(read(sample_portrait()).pixels, 187, 151)
    styles = [
        resize(read(sample_style(name)).pixels, *size)
        for name, size in (("strokes", (187, 201)), ("woodcut", (80, 90)))
    ]
    x = 0.8 * content + 0.2 * picture(1, 187, 151)
    config, backbone = (
        gram_config(blend="2,1", **DEFAULT),
        Backbone(load("compact"), padding="replicate"),
    )
    (one, gradient), (many, tiled) = (
        Objective(config, backbone, content, styles, tile_size=side).evaluate(x)
        for side in (None, 90)
    )
    torch.testing.assert_close(many.total, one.total, rtol=1e-5, atol=0)
    assert (tiled - gradient).norm() < 1e-4 * gradient.norm()


@pytest.mark.slow
def test_in_bfloat16_tiles_add_little_to_its_rounding() -> None:
    content = resize(read(sample_portrait()).pixels, 187, 151)
    style = resize(read(sample_style("strokes")).pixels, 187, 201)
    x = 0.8 * content + 0.2 * picture(1, 187, 151)
    exact, rough = (
        Backbone(load("compact"), dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    _, gradient = Objective(gram_config(), exact, content, [style]).evaluate(x)
    one, whole = Objective(gram_config(), rough, content, [style]).evaluate(x)
    many, tiled = Objective(gram_config(), rough, content, [style], tile_size=90).evaluate(x)
    torch.testing.assert_close(many.total, one.total, rtol=1e-4, atol=0)
    assert (tiled - whole).norm() < 0.2 * (whole - gradient).norm() < 0.05 * gradient.norm()


# --- a painting over tiles


# rounding grows a hundredfold every few steps, with the terms of pixels from the sixth on; the
# processor's kernels decide from which
@pytest.mark.parametrize(("grain", "steps"), [(0.0, 8), (1.0, 6)])
def test_a_painting_over_tiles_is_the_painting_in_one_piece(
    grain, steps, tiny_weights, photo, style, monkeypatch
) -> None:
    tiles: list[int] = []
    make = Objective.__init__

    def counting(self: Objective, *args: object) -> None:
        make(self, *args)
        tiles.append(len(self.tiles))

    monkeypatch.setattr(Objective, "__init__", counting)
    config = gram_config(
        backbone=str(tiny_weights), size=192, steps=steps, levels=2, grain_weight=grain
    )
    whole, tiled = (
        paint(photo, style, config, machine=EXACT.changed(tile=tile)) for tile in ("auto", 85)
    )
    assert tiles == [1, 1, 2, 6]
    assert tiled.value == pytest.approx(whole.value, rel=1e-4)
    assert (tiled.pixels - whole.pixels).norm() < 1e-4 * whole.pixels.norm()
