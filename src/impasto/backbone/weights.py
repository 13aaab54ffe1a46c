"""Where weights come from: a name or a path, the cache, a checked download."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from platformdirs import user_cache_path

from impasto.backbone.download import Progress, digest_of, download
from impasto.backbone.weight_files import SUFFIXES, Weights, load_file
from impasto.errors import WeightsError, did_you_mean

__all__ = [
    "KNOWN",
    "Source",
    "cache_folder",
    "cached",
    "fetch",
    "known",
    "load",
    "verify",
]


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
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(
            f"no network {name!r}: {did_you_mean(name, known())}, or give a .safetensors, "
            ".pth or .h5 file",
            name,
            known(),
        )
    if not os.path.isfile(path):
        raise WeightsError(f"no weights at {path}", name)
    return load_file(path)


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
