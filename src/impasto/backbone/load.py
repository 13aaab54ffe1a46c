"""Load the network that a config names, onto the machine's device and in its precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from impasto.backbone.download import Progress
from impasto.backbone.fastest import fastest
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.config import Config, Machine, changed_by
from impasto.errors import ConfigError
from impasto.fields import marked

__all__ = ["find_device", "load_backbone", "load_weights", "network_key", "settled", "unused_gpu"]

WITH_CUDA = "https://download.pytorch.org/whl/cu126"  # pytorch.org/get-started/locally


def load_backbone(
    config: Config | str = "compact",
    machine: Machine | None = None,
    progress: Progress | None = None,
    weights: Weights | None = None,
    **settings: Any,
) -> Backbone:
    """Load a network once, for many paintings.

    Args:
        config: the network's name or path, or a config that names it.
        machine: where it computes, in which precision; None: as `Machine()`.
        progress: called with bytes done and in all while it is downloaded.
        weights: those of the network, where they are loaded already.
        settings: fields of Config and Machine that matter for it: pooling, padding, finish, device,
            precision.

    Returns:
        The network, on its device.

    Raises:
        WeightsError: there is no such network, or its file cannot be had or read.
        ConfigError: there is no such device.

    Example:
        backbone = load_backbone("vgg19", precision="float32")
        features = backbone(pixels, ["relu4_2"])["relu4_2"]
    """
    by_name = isinstance(config, str)
    named = Config(backbone=config) if isinstance(config, str) else config
    config, machine = changed_by(settings, named, machine)
    device = find_device(machine.device)
    # a network by its name is for features, which are wanted exact
    method = fastest(device, machine, rounded=not by_name and _bears_rounding(config))
    weights = weights or load_weights(config, partial(load, progress=progress))
    if weights.finisher is not None and config.backbone == config.finish_backbone:
        weights = weights.finisher  # all steps are left to it
    return Backbone(
        weights,
        pooling=config.pooling,
        padding=config.padding,
        device=device,
        dtype=method.dtype,
        convolution=method.convolution,
    )


def load_weights(config: Config, load_one: Callable[[str], Weights] = load) -> Weights:
    """Load the weights of a config's network, with those of its finisher if it has one.

    load_one: gives the weights of a name. Raises WeightsError.
    """
    weights = load_one(config.backbone)
    if config.finisher:
        weights = replace(weights, finisher=load_one(config.finisher))
    return weights


def settled(config: Config, machine: Machine, network: Backbone | None = None) -> Config:
    """Decide whether one network makes all steps, where the config leaves it open.

    On a CUDA GPU the network of the last steps does, with `finish` "auto": there VGG-19 takes 1.2
    to 1.8 times as long as its student (benchmarks/RESULTS.md), and sees more.

    Args:
        config: the settings.
        machine: where the painting is made.
        network: one that is loaded already, which decides.
    """
    last = config.finish_backbone
    if network is not None:
        if network.finisher is not None:
            return config
        return config.changed(finish=0, backbone=network.weights.name)
    automatic = config.finish == "auto" and config.finisher
    if automatic and find_device(machine.device).type == "cuda":
        return config.changed(backbone=last)
    return config


def network_key(config: Config, machine: Machine) -> tuple[str, ...]:
    """Give the settings that decide which networks are loaded, and where."""
    of_config = [getattr(config, name) for name in marked(Config, "network")]
    return (
        *of_config,
        config.finisher,
        str(_bears_rounding(config)),
        *(getattr(machine, name) for name in marked(Machine, "network")),
    )


def _bears_rounding(config: Config) -> bool:
    """Whether convolutions of bytes lead a config's objective down as far as exact ones.

    A style's distance in units of its own size stays far above what rounding adds to it. The
    published recipes' Gram matrices, and a photograph reconstructed from a layer, come nearer.
    """
    return config.normalize == "energy" and bool(config.style_layers)


def find_device(name: str) -> torch.device:
    """The device of a name, or the fastest of this machine for "auto". Raises ConfigError."""
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device(next(each for each in ("cuda", "mps", "cpu") if have[each]))
    if not have[name]:
        here = [each for each, there in have.items() if there]
        raise ConfigError(
            f"--device {name} is not on this machine: choose from {', '.join(here)}", name, here
        )
    return torch.device(name)


def unused_gpu(driver: Path = Path("/proc/driver/nvidia/version")) -> str:
    """Say why an NVIDIA GPU that is here is not used, and what mends it; "" if none is here.

    Args:
        driver: the file by which Linux's driver shows that it is loaded, for tests.
    """
    here = driver.exists() or shutil.which("nvidia-smi") is not None
    if not here or torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return (
            f"an NVIDIA GPU is here, but torch {torch.__version__} is built for processors only: "
            f"pip install --force-reinstall torch --index-url {WITH_CUDA}"
        )
    return (
        f"an NVIDIA GPU is here, but torch {torch.__version__} cannot use it: its CUDA "
        f"{torch.version.cuda} may need a newer driver (nvidia-smi shows which CUDA yours has)"
    )
