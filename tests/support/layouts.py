"""Small files of the three published layouts of VGG-19's weights, made of random numbers."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import pytest
import torch
from safetensors.torch import save_file

from impasto.backbone.weights import load
from impasto.errors import WeightsError

NAMES = tuple(
    f"conv{stage}_{k}"
    for stage, depth in zip("12345", (2, 2, 4, 4, 4), strict=True)
    for k in range(1, depth + 1)
)
# a width of its own for each stage, so that a mix-up shows
CHANNELS = dict(zip("12345", (4, 5, 6, 7, 8), strict=True))
# torchvision.models.vgg19().features, by number: every convolution is followed by a ReLU, every
# stage by a pooling.
NUMBERS = dict(
    zip(NAMES, (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), strict=True)
)
NUMBERS_16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of vgg16()
OXFORD = "BGR, 0-255, minus (103.939, 116.779, 123.68)"
IMAGENET = "(RGB in [0, 1] - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)"
GRAY = "(RGB in [0, 1] - 0.45) / 0.226"

Kernels = dict[str, tuple[torch.Tensor, torch.Tensor]]


def random_kernels(last: str = "conv5_4", seed: int = 0) -> Kernels:
    """Kernels (O, I, 3, 3) and biases (O,) from conv1_1 to `last` that keep the features' size
    about the same."""
    generator = torch.Generator().manual_seed(seed)
    kernels: Kernels = {}
    inward = 3
    for name in NAMES[: NAMES.index(last) + 1]:
        outward = CHANNELS[name[4]]
        kernel = torch.randn(outward, inward, 3, 3, generator=generator) * (2 / (9 * inward)) ** 0.5
        kernels[name] = (kernel, 0.2 * torch.randn(outward, generator=generator))
        inward = outward
    return kernels


def without(kernels: Kernels, names: Iterable[str]) -> Kernels:
    return {name: pair for name, pair in kernels.items() if name not in set(names)}


def write_safetensors(path: Path, kernels: Kernels, said: str | None = GRAY) -> Path:
    tensors = {f"{name}.weight": kernel for name, (kernel, _) in kernels.items()}
    tensors |= {f"{name}.bias": bias for name, (_, bias) in kernels.items()}
    save_file(tensors, path, None if said is None else {"input": said})
    return path


def write_torchvision(path: Path, kernels: Kernels) -> Path:
    state = {}
    numbers = dict(zip(kernels, NUMBERS_16, strict=False)) if "conv3_4" not in kernels else NUMBERS
    for name, (kernel, bias) in kernels.items():
        state[f"features.{numbers[name]}.weight"] = kernel
        state[f"features.{numbers[name]}.bias"] = bias
    for number in (0, 3, 6):
        state[f"classifier.{number}.weight"] = torch.ones(5, 5)
        state[f"classifier.{number}.bias"] = torch.ones(5)
    torch.save(state, path)
    return path


def write_keras(path: Path, kernels: Kernels, *, nested: bool = False) -> Path:
    """As Keras wrote it in 2016 (block1_conv1/block1_conv1_W_1:0), or nested as it writes now."""
    layers = ["input_1"]
    for stage in sorted({name[4] for name in kernels}):
        layers += [f"block{stage}_conv{name[6]}" for name in kernels if name[4] == stage]
        layers.append(f"block{stage}_pool")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        file.attrs["backend"] = b"tensorflow"
        for layer in layers:
            group = file.create_group(layer)
            group.attrs["weight_names"] = []
            pair = kernels.get(layer.replace("block", "conv").replace("_conv", "_"))
            if pair is None:
                continue  # the input and the poolings have a group, and nothing in it
            names = ("kernel:0", "bias:0") if nested else (f"{layer}_W_1:0", f"{layer}_b_1:0")
            if nested:
                names = tuple(f"{layer}/{name}" for name in names)
            group.attrs["weight_names"] = [name.encode() for name in names]
            # OIHW to HWIO
            group.create_dataset(names[0], data=pair[0].permute(2, 3, 1, 0).contiguous().numpy())
            group.create_dataset(names[1], data=pair[1].numpy())
    return path


WRITERS: dict[str, Callable[[Path, Kernels], Path]] = {
    ".h5": write_keras,
    ".pth": write_torchvision,
    ".safetensors": write_safetensors,
}
KERNELS = random_kernels()


def write(folder: Path, suffix: str, kernels: Kernels = KERNELS) -> Path:
    return WRITERS[suffix](folder / f"network{suffix}", kernels)


def truncate(path: Path, share: float) -> None:
    """Keep the first `share` of a file's bytes."""
    os.truncate(path, int(path.stat().st_size * share))


def line_of(name: str | Path) -> str:
    """The one line that loading `name` fails with."""
    with pytest.raises(WeightsError) as caught:
        load(str(name))
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    return line
