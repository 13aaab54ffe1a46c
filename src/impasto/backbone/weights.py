"""Where weights come from: a name or a path, the cache, a checked download."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from platformdirs import user_cache_path
from safetensors import safe_open

from impasto.backbone.download import Progress, digest_of, download
from impasto.config import CONVOLUTIONS
from impasto.errors import WeightsError, did_you_mean

__all__ = [
    "IMAGENET",
    "KNOWN",
    "Source",
    "Weights",
    "cache_folder",
    "cached",
    "fetch",
    "known",
    "load",
    "verify",
]

Kernels = dict[str, tuple[torch.Tensor, torch.Tensor]]
# Where the convolutions stand in torchvision's `vgg19()`.
NUMBERS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
TORCHVISION = {
    name: f"features.{number}" for name, number in zip(CONVOLUTIONS, NUMBERS, strict=True)
}


@dataclass(frozen=True)
class Weights:
    """A network's numbers and the input that it was trained on.

    kernels: conv name -> (kernel (O, I, 3, 3), bias (O,)), float32. The input is (pixels - mean) *
    scale for pixels in [0, 1], with the channels in `order` (mean and scale too).
    """

    name: str
    kernels: Kernels
    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]

    @cached_property
    def sha256(self) -> str:
        """Of all numbers: two networks with the same one paint the same."""
        digest = hashlib.sha256(repr((self.order, self.mean, self.scale)).encode())
        for name, pair in self.kernels.items():
            digest.update(name.encode())
            for tensor in pair:
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


Input = tuple[Literal["RGB", "BGR"], tuple[float, float, float], tuple[float, float, float]]
OXFORD: Input = ("BGR", (103.939 / 255, 116.779 / 255, 123.68 / 255), (255.0, 255.0, 255.0))
IMAGENET: Input = ("RGB", (0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225))
GREY: Input = ("RGB", (0.45, 0.45, 0.45), (1 / 0.226, 1 / 0.226, 1 / 0.226))
# A safetensors file says what it takes in its metadata, under "input".
INPUTS = {
    "(RGB in [0, 1] - 0.45) / 0.226": GREY,
    "BGR, 0-255, minus (103.939, 116.779, 123.68)": OXFORD,
    "(RGB in [0, 1] - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)": IMAGENET,
}


@dataclass(frozen=True)
class Source:
    """A published file of weights: its address and how to know it. `digest` may be only the head of
    the digest."""

    name: str
    url: str
    algorithm: str
    digest: str

    @property
    def path(self) -> Path:
        """Where the file lies, or will lie, in the cache."""
        return cache_folder() / self.url.rpartition("/")[2]


KNOWN = {
    "vgg19": Source(
        "vgg19",
        "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5",
        "253f8cb515780f3b799900260a226db6",
    ),
    "vgg19-torchvision": Source(
        "vgg19-torchvision",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "sha256",
        "dcbb9e9d",
    ),
}


# The network in the package; training/train.py makes it.
COMPACT = "84d3c6f31dbbc357ce05037367ba22d889ad1170446ca140208df5bbeacd69c3"


def known() -> list[str]:
    """Names that `load` takes: what ships in the package, then what can be downloaded."""
    return ["compact", *KNOWN]


def cache_folder() -> Path:
    """$IMPASTO_HOME, or the user's cache folder (XDG)."""
    home = os.environ.get("IMPASTO_HOME")
    return _expanded(home) if home else user_cache_path("impasto")


def cached(name: str) -> Path | None:
    """Where the weights `name` lie, or None if they have not been fetched."""
    path = _path(name)
    return path if os.path.exists(path) else None  # unlike Path.exists it never raises


def verify(name: str) -> bool:
    """Whether the file of `name` is there and has the checksum that it was published with."""
    path = cached(name)
    if path is None:
        return False
    algorithm, digest = (
        ("sha256", COMPACT)
        if name == "compact"
        else (_source(name).algorithm, _source(name).digest)
    )
    try:
        return digest_of(path, algorithm).startswith(digest)
    except OSError:  # a folder, or not ours to read
        return False


def fetch(name: str, progress: Progress | None = None) -> Path:
    """The file of `name`, downloaded unless a whole one is there; a broken one is fetched again.

    progress(done, total) is called with bytes. Raises WeightsError, which names the address and the
    folder.
    """
    if name == "compact" or verify(name):
        return _path(name)
    source = _source(name)
    try:
        download(source.url, source.path, source.algorithm, source.digest, progress)
    except (OSError, WeightsError) as error:
        raise WeightsError(
            f"cannot fetch {name} from {source.url} ({error}): put that file into "
            f"{source.path.parent} by hand, "
            "or paint with --backbone compact",
            name,
        ) from error
    return source.path


def load(name: str, progress: Progress | None = None) -> Weights:
    """Weights by name (fetched if need be) or from a .safetensors, .pth or .h5 file.

    Raises WeightsError for an unknown name, a missing or broken file, or a layout that is none of
    the known ones.
    """
    if name in known():
        return replace(load_file(fetch(name, progress)), name=name)
    path = _expanded(name)
    if path.suffix.lower() not in READERS:
        raise WeightsError(
            f"no network {name!r}: {did_you_mean(name, known())}, or give a .safetensors, "
            ".pth or .h5 file",
            name,
            known(),
        )
    if not os.path.isfile(path):
        raise WeightsError(f"no weights at {path}", name)
    return load_file(path)


def load_file(path: Path) -> Weights:
    """Weights from a file of one of the three layouts, known by its suffix."""
    try:
        kernels, taken = READERS[path.suffix.lower()](path)
    except Exception as error:  # three libraries have many ways to say that a file is broken
        raise WeightsError(
            f"{path} is not a file of VGG-19 weights: {_first_line(error)}", str(path)
        ) from error
    _check_shapes(path, kernels)
    return Weights(str(path), kernels, *taken)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _check_shapes(path: Path, kernels: Kernels) -> None:
    """The kernels must be 3 x 3 and fit one after the other without a gap, from conv1_1 on."""
    if not kernels:
        raise WeightsError(
            f"{path} holds no convolution named conv1_1, block1_conv1 or features.0", str(path)
        )
    channels = 3
    for name, have in zip(CONVOLUTIONS, kernels, strict=False):
        if have != name:
            raise WeightsError(
                f"{path} is not VGG-19-shaped: it holds {have} and lacks {name}", list(kernels)
            )
        kernel, bias = kernels[name]
        if kernel.shape[1:] != (channels, 3, 3) or bias.shape != kernel.shape[:1]:
            shapes = tuple(kernel.shape), tuple(bias.shape)
            raise WeightsError(
                f"{path} is not VGG-19-shaped: kernel and bias of {name} have shapes "
                f"{shapes[0]} and {shapes[1]}, "
                f"expected (O, {channels}, 3, 3) and (O,)",
                shapes,
            )
        channels = kernel.shape[0]


def _read_safetensors(path: Path) -> tuple[Kernels, Input]:
    """Our own layout: conv1_1.weight (OIHW), conv1_1.bias ..., and the input in the metadata."""
    with safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get("input")
        if said not in INPUTS:
            raise ValueError(f"its metadata 'input' is {said!r}, not one of {list(INPUTS)}")
        return _pairs(
            {name: name for name in CONVOLUTIONS}, set(file.keys()), file.get_tensor
        ), INPUTS[said]


def _read_torchvision(path: Path) -> tuple[Kernels, Input]:
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
    return _pairs(TORCHVISION, state, state.__getitem__), IMAGENET


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


def _read_keras(path: Path) -> tuple[Kernels, Input]:
    """Keras's file: a group block1_conv1 with a kernel (HWIO) and a bias, ...; Oxford's numbers."""
    import h5py  # here, because only this layout needs it

    kernels: Kernels = {}
    with h5py.File(path, "r") as file:
        for name in CONVOLUTIONS:
            block = f"block{name[4]}_conv{name[6]}"
            group = file.get(block)
            if not isinstance(group, h5py.Group):
                continue
            arrays = _arrays_in(group)
            if not {4, 1} <= arrays.keys():
                raise ValueError(f"{block} lacks a kernel of 4 dimensions or a bias of 1")
            kernels[name] = (arrays[4].permute(3, 2, 0, 1).contiguous(), arrays[1])  # HWIO to OIHW
    return kernels, OXFORD


def _arrays_in(group: Any) -> dict[int, torch.Tensor]:
    """The arrays of an HDF5 group by their number of dimensions: their names and depth have changed
    over the years."""
    found: dict[int, torch.Tensor] = {}

    def take(_: str, item: Any) -> None:
        if hasattr(item, "ndim"):
            found[item.ndim] = _float(item[()])

    group.visititems(take)
    return found


READERS: dict[str, Callable[[Path], tuple[Kernels, Input]]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_torchvision,
    ".h5": _read_keras,
}


def _source(name: str) -> Source:
    if name not in KNOWN:
        raise WeightsError(f"no network {name!r}: {did_you_mean(name, known())}", name, known())
    return KNOWN[name]


def _path(name: str) -> Path:
    """Where the weights `name` belong, there or not."""
    return (
        Path(str(files("impasto.backbone") / "compact.safetensors"))
        if name == "compact"
        else _source(name).path
    )


def _expanded(path: str) -> Path:
    return Path(os.path.expanduser(path))  # Path.expanduser raises for a user that does not exist
