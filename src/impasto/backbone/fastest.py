"""Find the fastest way to convolve on this machine: measured once, then remembered.

bfloat16 is fastest on a processor with matrix units for it (AMX), and slower than float32 on one
that only has instructions for it. Winograd's algorithm saves three quarters of the products and
adds transforms. Bytes are four times as many a product, where the processor has such products.
Which is best depends on the processor and on torch.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from pydantic import TypeAdapter, ValidationError

from impasto.backbone.convolution import Convolution, Method, has_fused
from impasto.backbone.int8 import has_int8
from impasto.backbone.weights import cache_folder
from impasto.config import Machine
from impasto.errors import ConfigError, OutputError
from impasto.images.atomic import atomic_write

__all__ = ["METHODS", "fastest", "processor_abilities", "processor_name"]

FILE = "convolution.json"
MOST_BYTES = 1 << 20  # of the file
# Channels, side and stride of the convolutions that are timed, both ways: those of VGG-19's stages
# 2 and 4 at a size of some hundred pixels.
TIMED = ((128, 64, 2), (512, 24, 8))
ROUNDS = 3
Memory = TypeAdapter(dict[str, Method])


METHODS = (
    Method("float32"),
    Method("float32", "winograd"),
    Method("float32", "int8"),
    Method("bfloat16"),
    Method("bfloat16", "int8"),
)


def fastest(device: torch.device, machine: Machine, *, rounded: bool = False) -> Method:
    """The fastest method on a device among those that the machine's settings allow.

    Args:
        device: where the network computes.
        machine: its precision and convolution.
        rounded: whether what is painted bears rounding to bytes, where the settings leave it open.

    Raises:
        ConfigError: this processor has no products of bytes, and they are asked for.
    """
    if device.type != "cpu":
        return Method(_fast_precision(device) if machine.precision == "auto" else machine.precision)
    allowed = [method for method in METHODS if _allowed(method, machine, rounded)]
    key = f"{_processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    key += f", of {', '.join(' '.join(method) for method in allowed)}"
    path = cache_folder() / FILE
    if len(allowed) > 1 and (known := _read(path).get(key)) in allowed:
        return known
    # tried only where it is not known that they are the fastest: it takes a while
    here = [method for method in allowed if method.convolution != "int8" or has_int8()]
    if not here:
        raise ConfigError(
            "--convolution int8 is not for this processor or this torch, which do not add up "
            "products of bytes exactly: give direct, winograd or auto",
            machine.convolution,
        )
    if len(here) == 1:
        return here[0]
    choice = min(here, key=_seconds_of(here).__getitem__)
    remembered = _read(path)
    if (known := remembered.get(key)) in allowed:  # another process has measured meanwhile
        return known
    _write(path, {**remembered, key: choice})
    return choice


def _allowed(method: Method, machine: Machine, rounded: bool) -> bool:
    if machine.precision == "auto":
        if method.precision == "bfloat16" and not has_fused(torch.bfloat16):
            return False
    elif method.precision != machine.precision:
        return False
    if method.convolution == "int8":
        chosen = machine.convolution == "int8"
        left_open = rounded and (machine.precision, machine.convolution) == ("auto", "auto")
        return chosen or left_open
    if method.precision == "bfloat16":  # has no other way but bytes
        return machine.convolution != "int8"
    return machine.convolution in ("auto", method.convolution)


def _fast_precision(device: torch.device) -> str:
    """bfloat16 on a GPU that multiplies it fast (CUDA from Ampere on), else float32."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if fast else "float32"


def _seconds_of(methods: list[Method]) -> dict[Method, float]:
    """Seconds that each method takes for the convolutions TIMED: medians of interleaved rounds."""
    runs: dict[Method, list[tuple[Convolution, torch.Tensor]]] = {method: [] for method in methods}
    cpu = torch.device("cpu")
    for channels, side, stride in TIMED:
        kernel, bias = torch.ones(channels, channels, 3, 3), torch.ones(channels)
        for method, pairs in runs.items():
            y = torch.ones(1, channels, side, side, dtype=method.dtype)
            convolution = Convolution(
                kernel, bias, cpu, method.dtype, method.convolution, stride=stride
            )
            pairs.append((convolution, y.contiguous(memory_format=torch.channels_last)))
    seconds: dict[Method, list[float]] = {method: [] for method in methods}
    with torch.no_grad():
        for _ in range(ROUNDS + 1):
            for method, pairs in runs.items():
                begin = perf_counter()
                for convolution, y in pairs:
                    convolution.backward(convolution.forward(y, relu=True))
                seconds[method].append(perf_counter() - begin)
    return {method: median(taken[1:]) for method, taken in seconds.items()}


def processor_name() -> str:
    """The processor's name, as the system knows it."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model na"))
    except (OSError, StopIteration):  # another system or processor
        pass
    return name


def processor_abilities() -> list[str]:
    """The processor's instruction sets; older torch tells only which it uses."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return [torch.backends.cpu.get_cpu_capability().lower()]
    abilities = torch.cpu.get_capabilities()
    return sorted(name for name, there in abilities.items() if there is True)


def _processor() -> str:
    """The processor's name and abilities."""
    return f"{processor_name()} ({', '.join(processor_abilities())})"


def _read(path: Path) -> dict[str, Method]:
    """What is remembered; nothing if the file is damaged."""
    try:
        with path.open("rb") as file:
            known = Memory.validate_json(file.read(MOST_BYTES))
    except (OSError, ValidationError):
        return {}
    return {key: value for key, value in known.items() if value in METHODS}


def _write(path: Path, known: dict[str, Method]) -> None:
    """Remember; where nothing can be written it is measured again next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_text(json.dumps(known, indent=1))
    except (OSError, OutputError):
        pass
