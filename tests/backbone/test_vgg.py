"""The network: every layer by name, values against plain torch, and what gradients, borders and
poolings do."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from impasto.backbone.convolution import Convolution
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.errors import ConfigError, WeightsError
from impasto.images.read import read, resize
from impasto.images.samples import sample_portrait
from layouts import CHANNELS, NAMES, random_kernels

WEIGHTS = Weights(
    "random", random_kernels(), "RGB", (0.45, 0.45, 0.45), (1 / 0.226, 1 / 0.226, 1 / 0.226)
)
CONVS = list(NAMES)
RELUS = [name.replace("conv", "relu") for name in NAMES]
SOME = [
    "conv1_1",
    "relu1_2",
    "conv2_1",
    "relu3_1",
    "conv4_2",
    "relu4_2",
    "relu5_1",
    "conv5_4",
    "relu5_4",
]

Features = dict[str, torch.Tensor]


def picture(height: int = 32, width: int = 48, batch: int = 1, seed: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def plain(x: torch.Tensor) -> Features:
    """All 32 layers as the paper has them: a convolution padded with zeros, ReLU; a pooling before
    each later stage."""
    found: Features = {}
    x = (x - 0.45) / 0.226
    for name, (kernel, bias) in WEIGHTS.kernels.items():
        if name.endswith("_1") and name != "conv1_1":
            x = F.max_pool2d(x, 2)
        found[name] = F.conv2d(x, kernel.to(x), bias.to(x), padding=1)
        x = found[name.replace("conv", "relu")] = F.relu(found[name])
    return found


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These tensors are small: on a busy machine threads that wait for each other take twenty times
    as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def convolutions(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of what has been convolved forward, one a convolution."""
    applied: list[torch.Size] = []
    true_forward = Convolution.forward

    def counting(self: Convolution, y: torch.Tensor, **kwargs: object) -> torch.Tensor:
        applied.append(y.shape)
        return true_forward(self, y, **kwargs)

    monkeypatch.setattr(Convolution, "forward", counting)
    return applied


# --- layers
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (17, 31), (37, 50)])
def test_every_layer_has_its_stages_channels_and_size(size: tuple[int, int]) -> None:
    found = Backbone(WEIGHTS)(picture(*size, batch=2), CONVS + RELUS)
    assert list(found) == CONVS + RELUS
    for name, features in found.items():
        shrink = 2 ** (int(name[4]) - 1)
        assert features.shape == (2, CHANNELS[name[4]], size[0] // shrink, size[1] // shrink), name


@pytest.mark.parametrize("layers", [CONVS, RELUS, CONVS + RELUS, SOME, ["conv3_3"]])
def test_values_are_those_of_plain_torch(layers: list[str]) -> None:
    expected = plain(picture())
    found = Backbone(WEIGHTS)(picture(), layers)
    for name in layers:
        assert_near(found[name], expected[name])


def test_a_conv_layer_keeps_its_negative_values() -> None:
    # The ReLU after it works in place wherever nobody looks at its input.
    assert all(features.min() < 0 for features in Backbone(WEIGHTS)(picture(), CONVS).values())


def test_a_relu_layer_is_its_conv_layer_without_the_negative_values() -> None:
    found = Backbone(WEIGHTS)(picture(), CONVS + RELUS)
    for conv, relu in zip(CONVS, RELUS, strict=True):
        assert torch.equal(found[relu], found[conv].clamp(min=0)), conv


def test_what_is_asked_for_does_not_change_the_values() -> None:
    together = Backbone(WEIGHTS)(picture(), CONVS + RELUS)
    for name in SOME:
        assert torch.equal(Backbone(WEIGHTS)(picture(), [name])[name], together[name]), name


def test_names_come_back_as_they_were_asked_for() -> None:
    asked = ["block4_conv2", "relu1_1", " Conv1_1", "conv4_2", "block1_conv1"]
    found = Backbone(WEIGHTS)(picture(), asked)
    assert list(found) == asked
    assert torch.equal(found["block4_conv2"], found["conv4_2"])
    assert torch.equal(found["block1_conv1"], found[" Conv1_1"])


@pytest.mark.parametrize("last", ["conv1_1", "relu1_2", "conv2_1", "relu3_4", "conv5_4"])
def test_the_pass_ends_with_the_last_layer(convolutions: list[torch.Size], last: str) -> None:
    Backbone(WEIGHTS)(picture(), [last, "conv1_1"])
    assert len(convolutions) == NAMES.index(last.replace("relu", "conv")) + 1


def test_one_pass_serves_every_layer(convolutions: list[torch.Size]) -> None:
    Backbone(WEIGHTS)(picture(), CONVS + RELUS)
    assert len(convolutions) == len(CONVS)


@pytest.mark.parametrize(
    ("name", "meant"), [("conv4_9", "conv4_"), ("block5_conv5", "conv5_"), ("relu41", "relu4_1")]
)
def test_an_unknown_layer_gets_the_nearest_one(name: str, meant: str) -> None:
    with pytest.raises(
        ConfigError, match=f"no layer '{name}' in VGG-19: did you mean {meant}"
    ) as caught:
        Backbone(WEIGHTS)(picture(), ["conv1_1", name])
    assert caught.value.value == name


def test_no_layers_at_all(convolutions: list[torch.Size]) -> None:
    with pytest.raises(ConfigError, match="no layers asked for"):
        Backbone(WEIGHTS)(picture(), [])
    assert not convolutions


def test_a_layer_that_the_weights_do_not_reach(convolutions: list[torch.Size]) -> None:
    short = Weights("short", random_kernels("conv3_4"), WEIGHTS.order, WEIGHTS.mean, WEIGHTS.scale)
    with pytest.raises(
        WeightsError, match="layer conv4_1 is not in short, which holds conv1_1 to conv3_4"
    ):
        Backbone(short)(picture(), ["relu3_4", "relu4_1", "conv5_1"])
    assert not convolutions


# --- gradients
# --------------------------------------------------------------------------------------------------


def test_no_weight_ever_gets_a_gradient() -> None:
    kernels = {
        name: tuple(each.clone().requires_grad_() for each in pair)
        for name, pair in WEIGHTS.kernels.items()
    }
    backbone = Backbone(Weights("trained", kernels, WEIGHTS.order, WEIGHTS.mean, WEIGHTS.scale))
    assert not any(features.requires_grad for features in backbone(picture(), SOME).values())
    pixels = picture().requires_grad_()
    sum(features.square().sum() for features in backbone(pixels, SOME).values()).backward()
    assert all(each.grad is None for each in itertools.chain(*kernels.values()))
    assert pixels.grad is not None


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("name", SOME)
def test_every_layer_sends_a_gradient_to_the_pixels(name: str, padding: str) -> None:
    pixels = picture().requires_grad_()
    Backbone(WEIGHTS, padding=padding)(pixels, [name])[name].square().sum().backward()
    assert pixels.grad.isfinite().all()
    assert (pixels.grad != 0).any(1).float().mean() > 0.9  # nearly every pixel has a say


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_the_gradient_is_the_slope(pooling: str, padding: str) -> None:
    # Along a random direction, by central differences; a step this small crosses no ReLU's kink.
    backbone = Backbone(WEIGHTS, pooling=pooling, padding=padding, dtype=torch.float64)
    pixels, direction = picture(17, 19).double(), picture(17, 19, seed=2).double() - 0.5

    def objective(at: torch.Tensor) -> torch.Tensor:
        return sum(features.square().mean() for features in backbone(at, SOME).values())

    point = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(point), point)
    step = 1e-7
    slope = (objective(pixels + step * direction) - objective(pixels - step * direction)) / (
        2 * step
    )
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5)


def test_torchs_own_gradcheck_agrees() -> None:
    backbone = Backbone(WEIGHTS, pooling="average", padding="replicate", dtype=torch.float64)
    pixels = picture(6, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda at: backbone(at, ["conv1_1", "relu1_1", "conv2_2"])["conv2_2"], pixels
    )


def test_the_picture_is_left_alone() -> None:
    pixels, before = picture(), picture()
    Backbone(WEIGHTS, padding="replicate")(pixels, SOME)
    assert torch.equal(pixels, before)


# --- padding and pooling
# -------------------------------------------------------------------------------------------


def test_replicate_padding_shows_no_frame() -> None:
    constant = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 16, 24)
    flat = Backbone(WEIGHTS, padding="replicate")(constant, ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(flat, flat[:, :, :1, :1].expand_as(flat))
    framed = Backbone(WEIGHTS, padding="zeros")(constant, ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(framed[:, :, 1:-1, 1:-1], flat[:, :, 1:-1, 1:-1])
    assert not torch.allclose(framed, flat, atol=0.01)


def test_zero_padding_is_grey_for_the_network() -> None:
    # Zeros go around the picture after the mean is taken away, as in training: a picture of the
    # mean has no frame.
    gray = torch.full((1, 3, 16, 16), 0.45)
    flat = Backbone(WEIGHTS, padding="zeros")(gray, ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(flat, flat[:, :, :1, :1].expand_as(flat))


def test_replicate_padding_is_of_the_first_convolution_only() -> None:
    x = F.pad((picture() - 0.45) / 0.226, (1, 1, 1, 1), mode="replicate")
    x = F.relu(F.conv2d(x, *WEIGHTS.kernels["conv1_1"]))
    expected = F.conv2d(x, *WEIGHTS.kernels["conv1_2"], padding=1)
    assert_near(Backbone(WEIGHTS, padding="replicate")(picture(), ["conv1_2"])["conv1_2"], expected)


def test_average_pooling_is_the_average_but_for_one_factor_a_pooling() -> None:
    # Without biases the network is homogeneous, so that the factors come out at the end.
    kernels = {
        name: (kernel, torch.zeros_like(bias)) for name, (kernel, bias) in WEIGHTS.kernels.items()
    }
    weights = Weights("homogeneous", kernels, "RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    found = Backbone(weights, pooling="average")(picture(), ["conv1_2", "conv2_2", "conv3_4"])
    x, gains = picture(), []
    for name in NAMES[: NAMES.index("conv3_4") + 1]:
        if name in ("conv2_1", "conv3_1"):
            x = F.avg_pool2d(x, 2)
        y = F.conv2d(x, kernels[name][0], padding=1)
        if name in found:
            gains.append(float(found[name].norm() / y.norm()))
            torch.testing.assert_close(found[name], y * gains[-1], rtol=1e-3, atol=1e-4)
        x = F.relu(y)
    assert gains == pytest.approx([1, gains[1], gains[1] ** 2], rel=1e-4)
    assert 1.1 < gains[1] < 2  # between no rescaling, and four equal values of which three are lost


def test_average_pooling_keeps_the_energy_of_a_photograph() -> None:
    pixels = resize(read(sample_portrait()).pixels, 192, 160)
    layers = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    by_maximum, by_average = (
        Backbone(load("compact"), pooling=pooling)(pixels, layers) for pooling in ("max", "average")
    )
    ratios = {
        name: float(by_average[name].square().mean() / by_maximum[name].square().mean())
        for name in layers
    }
    assert ratios["relu1_1"] == 1  # no pooling yet
    assert all(abs(math.log(ratio)) < math.log(2) for ratio in ratios.values()), ratios


# --- precision
# --------------------------------------------------------------------------------------------------


def test_float64_is_float64_all_the_way() -> None:
    found = Backbone(WEIGHTS, dtype=torch.float64)(picture().double(), SOME)
    expected = plain(picture().double())
    for name in SOME:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-6)


def test_bfloat16_is_near_float32() -> None:
    pixels = resize(read(sample_portrait()).pixels, 96, 80)
    exact = Backbone(load("compact"))(
        pixels, ["relu1_1", "relu2_1", "relu3_1", "conv4_2", "conv5_1"]
    )
    rough = Backbone(load("compact"), dtype=torch.bfloat16)(pixels, exact)
    for name, features in exact.items():
        assert rough[name].dtype == torch.bfloat16
        error = (rough[name].float() - features).norm() / features.norm()
        assert error < 0.02, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_features_and_gradients_are_the_same_every_time(pooling: str, dtype: torch.dtype) -> None:
    torch.set_num_threads(2)  # which could add up in another order each time, and must not

    def once() -> list[torch.Tensor]:
        backbone = Backbone(WEIGHTS, pooling=pooling, padding="replicate", dtype=dtype)
        pixels = picture(64, 48).requires_grad_()
        found = backbone(pixels, SOME)
        sum(features.float().square().mean() for features in found.values()).backward()
        return [*(features.detach() for features in found.values()), pixels.grad]

    for a, b in zip(once(), once(), strict=True):
        assert torch.equal(a, b)


def test_the_pictures_of_a_batch_do_not_mix() -> None:
    first, second = picture(seed=3), picture(seed=4)
    backbone = Backbone(WEIGHTS, padding="replicate")
    both, alone = backbone(torch.cat([first, second]), SOME), backbone(second, SOME)
    for name in SOME:
        assert_near(both[name][1:], alone[name])


def test_channels_are_turned_for_a_bgr_network() -> None:
    turned = {
        **WEIGHTS.kernels,
        "conv1_1": (WEIGHTS.kernels["conv1_1"][0].flip(1), WEIGHTS.kernels["conv1_1"][1]),
    }
    bgr = Weights("bgr", turned, "BGR", WEIGHTS.mean, WEIGHTS.scale)
    found, expected = (Backbone(weights)(picture(), SOME) for weights in (bgr, WEIGHTS))
    for name in SOME:
        assert_near(found[name], expected[name])


def test_its_repr_is_one_line() -> None:
    network = Backbone(load("compact"))
    assert repr(network) == "<Backbone compact on cpu, float32>"
