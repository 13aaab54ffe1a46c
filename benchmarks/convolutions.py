"""Table 9: Winograd's algorithm against the direct convolution, float32 on a CPU, both ways.

Ratios are medians of interleaved pairs. They decide `backbone/winograd.py: pays`.
"""

import statistics
import time
from collections.abc import Callable

import torch
from common import machine, record

from impasto.backbone.convolution import Convolution
from impasto.backbone.winograd import WinogradConvolution, pays
from impasto.painting.allocator import keep_big_blocks

# channels in and out, and the side: VGG-19's stages at 512 pixels, the student's, and small ones
CASES = (
    (64, 64, 512),
    (64, 128, 256),
    (128, 128, 256),
    (128, 256, 128),
    (256, 256, 128),
    (256, 512, 64),
    (512, 512, 64),
    (512, 512, 32),
    (48, 128, 128),
    (128, 128, 16),
    (256, 256, 16),
    (512, 512, 16),
    (512, 512, 8),
)
PAIRS = 7


def interleaved(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median milliseconds of each, run by turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(PAIRS + 1):
        for call, times in zip((first, second), taken, strict=True):
            began = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - began))
    direct, winograd = (statistics.median(times[1:]) for times in taken)
    return direct, winograd


@torch.no_grad()
def main() -> None:
    """Measure, print and record."""
    keep_big_blocks()
    print(machine())
    rows = []
    for inward, outward, side in CASES:
        kernel = torch.randn(outward, inward, 3, 3) / (9 * inward) ** 0.5
        bias = torch.randn(outward)
        direct = Convolution(kernel, bias, torch.device("cpu"), torch.float32)
        winograd = WinogradConvolution(kernel, bias)
        x, g = (
            torch.randn(1, channels, side, side).contiguous(memory_format=torch.channels_last)
            for channels in (inward, outward)
        )
        exact, found = direct.forward(x, relu=True), winograd.forward(x, relu=True)
        row: dict[str, object] = {
            "inward": inward,
            "outward": outward,
            "side": side,
            "error": float((exact - found).norm() / exact.norm()),
        }
        for way, ours, theirs in (
            (
                "forward",
                lambda w=winograd, x=x: w.forward(x, relu=True),
                lambda d=direct, x=x: d.forward(x, relu=True),
            ),
            (
                "backward",
                lambda w=winograd, g=g: w.backward(g),
                lambda d=direct, g=g: d.backward(g),
            ),
        ):
            before, after = interleaved(theirs, ours)
            used = pays(inward, outward, side, side, backward=way == "backward")
            row[way] = {"direct": before, "winograd": after, "used": used}
        rows.append(row)
        print(row, flush=True)
    record("convolutions", rows)


if __name__ == "__main__":
    main()
