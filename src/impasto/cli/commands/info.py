"""`impasto info`: what a report of a bug needs to say about this machine and this installation."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from typing import Any

import click

from impasto.cli import options
from impasto.config import Config, Machine, changed_by
from impasto.extras import EXTRAS
from impasto.version import __version__


@click.command(cls=options.GroupedCommand)
def info(**values: Any) -> None:
    """Print the version, the device, the networks and the extras that are here, for a report.

    impasto info
    """
    _, machine = changed_by(options.given(values), Config())
    lines = {
        "impasto": f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        **_of_torch(machine),
        **_of_files(),
        "extras": ", ".join(f"{name} {_extra(name)}" for name in EXTRAS),
    }
    for name, text in lines.items():
        click.echo(f"{name:12} {text}")


options.add_settings(info, *Machine.model_fields)


def _of_torch(machine: Machine) -> dict[str, str]:
    """Return the device and the method of computing a painting, with the reasons."""
    import torch

    from impasto.backbone.fastest import fastest, processor_abilities
    from impasto.backbone.load import find_device, unused_gpu
    from impasto.painting.memory import free_memory
    from impasto.painting.tuning import use_threads
    from impasto.process import processors

    use_threads(machine)
    device = find_device(machine.device)
    method = fastest(device, machine, rounded=True)  # as the default painting
    chosen = "chosen by --device"
    if machine.device == "auto":
        chosen = "a GPU is here" if device.type != "cpu" else unused_gpu() or "torch finds no GPU"
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    measured = "the fastest here, measured once" if device.type == "cpu" else "of this GPU"
    if "auto" not in (machine.precision, machine.convolution):
        measured = "chosen by options"
    return {
        "torch": torch.__version__,
        "device": f"{device.type} {model}".rstrip() + f" ({chosen})",
        "precision": f"{method.precision}, convolution {method.convolution} ({measured})",
        "processor": ", ".join(processor_abilities()) or platform.machine(),
        "threads": f"{torch.get_num_threads()} of {processors()} processors",
        "memory": f"{free_memory(device) / 1e9:.1f} GB free",
    }


def _of_files() -> dict[str, str]:
    """Return the networks that are here, and the folder of downloaded ones."""
    from impasto.backbone.weights import cache_folder, cached, known

    here = [f"{name} {'here' if cached(name) else 'not here'}" for name in known()]
    return {"networks": ", ".join(here), "cache": str(cache_folder())}


def _extra(name: str) -> str:
    """Say whether the libraries of an extra are installed."""
    missing = [module for module in EXTRAS[name] if find_spec(module) is None]
    return f"lacks {', '.join(missing)}" if missing else "installed"
