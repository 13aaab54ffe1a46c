"""The shape as data: VGG-19 as published, and VGG-16 from files of every layout, which paints."""

import pytest
import torch
import torch.nn.functional as F

from impasto import Config, WeightsError, load_backbone, paint
from impasto.backbone.architecture import (
    VGG16,
    VGG19,
    architecture_of,
    layer_stride,
    reach,
    stage_of,
)
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from layouts import WRITERS, write
from machines import EXACT


def kernels_of(architecture, seed: int = 0):
    """Random kernels of few channels for every convolution."""
    generator = torch.Generator().manual_seed(seed)
    kernels, inward = {}, 3
    for name in architecture.convolutions:
        outward = 4 * stage_of(name)
        kernel = torch.randn(outward, inward, 3, 3, generator=generator) * (2 / (9 * inward)) ** 0.5
        kernels[name] = (kernel, 0.2 * torch.randn(outward, generator=generator))
        inward = outward
    return kernels


@pytest.mark.parametrize(
    ("architecture", "numbers"),
    [
        (VGG19, (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)),
        (VGG16, (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
    ],
    ids=["VGG-19", "VGG-16"],
)
def test_convolutions_stand_where_torchvision_has_them(architecture, numbers) -> None:
    assert architecture.torchvision_numbers == numbers
    assert len(architecture.convolutions) == len(numbers)


def test_stages_and_strides() -> None:
    assert [stage_of(name) for name in VGG16.convolutions] == [
        1,
        1,
        2,
        2,
        *[3] * 3,
        *[4] * 3,
        *[5] * 3,
    ]
    assert [layer_stride(f"relu{stage}_1") for stage in range(1, 6)] == [1, 2, 4, 8, 16]
    assert VGG16.before_pooling == ("conv1_2", "conv2_2", "conv3_3", "conv4_3")
    assert VGG19.channels["conv4_4"] == 512


def test_vgg_16_sees_less_far_than_vgg_19() -> None:
    assert reach(["relu5_1"]) == 85  # by hand: 2 + 2*2 + 4*4 + 4*8 + 16, and the stride less one
    assert reach(["relu5_1"], VGG16) == 85 - 4 - 8


def test_an_architecture_is_known_by_its_first_convolutions() -> None:
    assert architecture_of(VGG16.convolutions) is VGG16
    assert architecture_of(VGG19.convolutions[:12]) is VGG19
    assert architecture_of(["conv1_1"]) is VGG19  # the beginning of both
    assert architecture_of(["conv1_1", "conv2_1"]) is None


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("architecture", [VGG16, VGG19], ids=lambda each: each.name)
def test_a_file_of_any_layout_has_its_features(tmp_path, suffix, architecture) -> None:
    kernels = kernels_of(architecture)
    weights = load(str(write(tmp_path, suffix, kernels)))
    assert weights.architecture is architecture
    pixels = torch.rand(1, 3, 48, 40, generator=torch.Generator().manual_seed(1))
    x = pixels.flip(1) if weights.order == "BGR" else pixels
    x = (x - torch.tensor(weights.mean).view(3, 1, 1)) * torch.tensor(weights.scale).view(3, 1, 1)
    before = 1
    for name, (kernel, bias) in kernels.items():  # the network from its definition
        x = F.max_pool2d(x, 2) if stage_of(name) != before else x
        x = F.relu(F.conv2d(x, kernel, bias, padding=1))
        before = stage_of(name)
    last = architecture.convolutions[-1].replace("conv", "relu")
    found = Backbone(weights)(pixels, [last])[last]
    assert torch.allclose(found, x, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


def test_vgg_16_paints(tmp_path, photo, style) -> None:
    path = write(tmp_path, ".safetensors", kernels_of(VGG16))
    settings = {"size": 96, "steps": 12, "levels": 1, "backbone": str(path)}
    settings |= {"optimizer": "adam", "learning_rate": 0.005}  # makes little of rounding
    whole = paint(photo, style, Config(**settings, content_layers="relu4_2"), EXACT)
    assert whole.finished
    assert whole.doubt == ""
    steps = []
    paint(photo, style, Config(**settings), EXACT, on_step=lambda step: steps.append(step.value))
    assert float(steps[-1]) < 0.9 * float(steps[0])
    tiled = paint(photo, style, Config(**settings), EXACT.changed(tile=85))
    assert tiled.settings["machine"]["tile"] == 85
    assert (tiled.pixels - whole.pixels).norm() < 1e-3 * whole.pixels.norm()


def test_a_layer_that_only_vgg_19_has_is_refused(tmp_path, photo, style) -> None:
    path = write(tmp_path, ".safetensors", kernels_of(VGG16))
    backbone = load_backbone(Config(backbone=str(path)), EXACT)
    with pytest.raises(WeightsError, match=r"conv3_4 is not in .*, which holds conv1_1 to conv5_3"):
        backbone(torch.rand(1, 3, 32, 32), ["relu3_4"])
