"""Table 11: a GPU: steps, whole paintings, small pictures together, tiles; on the CPU to try it.

Every figure is printed as it comes, so that a run that is cut off still tells. After --minutes what
is left is passed over, and said. The plain loop is neural-style-pt's way: torch's L-BFGS, autograd,
cuDNN's fastest kernels, TF32. Pictures are made here: nothing is read.

python benchmarks/gpu.py                                               # on a GPU
python benchmarks/gpu.py --device cpu --sides 64 --paintings 64 --tiles 96 --steps 2 --small 48
"""

import argparse
import statistics
import time
from collections.abc import Iterator

import torch
from baseline import Baseline
from common import machine, record, wait

from impasto import Config, Machine
from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.images.read import Picture, read
from impasto.objective.objective import Objective
from impasto.painting.batched import paint_batched
from impasto.painting.cuda_graph import make_evaluator
from impasto.painting.run import Run

WARM_UPS, TIMED = 20, 50  # steps; as few as --steps, where that is less
# Networks and style terms; the plain loop's objective is that of "gram" without grain.
VARIANTS = (
    ("vgg19", "gram", True),
    ("vgg19", "gram", False),
    ("vgg19", "wasserstein", True),
    ("vgg19", "wasserstein", False),
    ("compact", "wasserstein", True),
)


def picture(height: int, width: int, seed: int) -> Picture:
    """Smooth colors with some noise, as a photograph has them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 12, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    noise = 0.05 * torch.randn(1, 3, height, width, generator=generator)
    return read((smooth + noise).clamp(0, 1)[0])


def seconds_between(steps: Iterator[object], device: str, count: int) -> list[float]:
    """Seconds of each of `count` steps after the warm-ups."""
    taken = []
    for _ in range(min(WARM_UPS, count)):
        next(steps)
    for _ in range(count):
        wait(device)
        began = time.perf_counter()
        next(steps)
        wait(device)
        taken.append(time.perf_counter() - began)
    return taken


def plain_steps(side: int, device: str) -> Iterator[None]:
    """Evaluations of the plain loop."""
    weights = load("vgg19")
    content, style = (picture(side, side, seed).pixels.to(device) for seed in (0, 1))
    objective, x = Baseline(weights, content, style), content.clone().requires_grad_()
    solver = torch.optim.LBFGS([x], max_iter=1, history_size=100)

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = objective(x)
        loss.backward()
        return loss

    while True:
        solver.step(closure)
        yield


def our_steps(backbone: Backbone, config: Config, on: Machine, graphs: bool) -> Iterator[object]:
    """Steps of one level."""
    side = config.size
    pictures = (picture(side, side, seed) for seed in (0, 1))
    evaluator = make_evaluator if graphs else Objective
    run = Run.prepare(*pictures, config, on, backbone=backbone, make_evaluator=evaluator)
    return run.steps()


class Report:
    """Prints rows as they come, and knows when the time is over."""

    def __init__(self, device: str, minutes: float):
        self._device, self._rows = device, []
        self._end = time.perf_counter() + 60 * minutes

    def row(self, what: str, **values: float | str) -> None:
        """Print and record one row."""
        self._rows.append({"what": what, **values})
        text = ", ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
        )
        print(f"{what}: {text}", flush=True)
        record("gpu", self._rows, self._device)

    def in_time(self, what: str) -> bool:
        """Whether there is time for a part; where there is none, that is printed."""
        if time.perf_counter() < self._end:
            return True
        print(f"{what}: passed over, the time is up", flush=True)
        return False


def measure_steps(report: Report, args: argparse.Namespace, on: Machine) -> None:
    """Milliseconds of a whole step: the plain loop and the VARIANTS."""
    for side in args.sides:
        if not report.in_time(f"steps at {side}"):
            return
        plain = statistics.median(
            seconds_between(plain_steps(side, args.device), args.device, args.steps)
        )
        report.row(f"plain loop at {side}", ms=1000 * plain)
        for name, term, graphs in VARIANTS:
            backbone = load_backbone(name, on, finish=0)
            config = Config(
                backbone=name,
                finish=0,
                size=side,
                levels=1,
                steps=WARM_UPS + args.steps,
                style_term=term,
                grain_weight=0 if term == "gram" else Config().grain_weight,
            )
            steps = our_steps(backbone, config, on, graphs)
            own = statistics.median(seconds_between(steps, args.device, args.steps))
            what = f"{name}, {term}, {'a graph' if graphs else 'kernel by kernel'}, at {side}"
            report.row(what, ms=1000 * own, times_the_plain_loop=plain / own)


def measure_paintings(report: Report, args: argparse.Namespace, on: Machine) -> None:
    """Seconds of the default, with the network loaded, and of one in tiles."""
    backbone = load_backbone(Config(), on)
    per_megapixel = {}
    for size in (*args.paintings, args.tiles):
        if not report.in_time(f"a painting of {size} pixels"):
            return
        config = Config(size=size)
        machine_of_it = on.changed(tile=args.paintings[-1] // 2) if size == args.tiles else on
        pictures = (picture(size, size, seed) for seed in (0, 1))
        began = time.perf_counter()
        Run.prepare(*pictures, config, machine_of_it, backbone=backbone).paint()
        wait(args.device)
        seconds = time.perf_counter() - began
        per_megapixel[size] = 1e6 * seconds / size**2
        report.row(
            f"default at {size}",
            seconds=seconds,
            seconds_a_megapixel=per_megapixel[size],
        )


def measure_batch(report: Report, args: argparse.Namespace, on: Machine) -> None:
    """Eight small paintings one by one and in one pass."""
    if not report.in_time("small pictures together"):
        return
    config = Config(size=args.small)
    backbone = load_backbone(config, on)
    style = picture(args.small, args.small, 99)

    def runs() -> list[Run]:
        contents = (picture(args.small, args.small, seed) for seed in range(8))
        return [Run.prepare(each, style, config, on, backbone=backbone) for each in contents]

    for name in ("one by one", "together"):
        prepared = runs()
        wait(args.device)
        began = time.perf_counter()
        groups = [prepared] if name == "together" else [[run] for run in prepared]
        for group in groups:
            for _ in paint_batched(group):
                pass
        wait(args.device)
        report.row(f"8 of {args.small} pixels, {name}", seconds=time.perf_counter() - began)


def compare_with_cpu(report: Report, args: argparse.Namespace, on: Machine) -> None:
    """The objective that the same painting ends with there and on the CPU in float32."""
    if not report.in_time("the same painting on the CPU"):
        return
    config = Config(size=args.small)
    ends = {}
    for where in (on, Machine(device="cpu", precision="float32")):
        pictures = (picture(args.small, args.small, seed) for seed in (0, 1))
        *_, last = Run.prepare(*pictures, config, where).steps()
        ends[where.device] = float(last.value)
    values = list(ends.values())
    report.row("objective at the end", here=values[0], cpu=values[-1], ratio=values[0] / values[-1])


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sides", nargs="*", type=int, default=(256, 512, 1024, 2048))
    parser.add_argument("--paintings", nargs="*", type=int, default=(512, 1024, 2048, 4096))
    parser.add_argument("--tiles", type=int, default=16384)
    parser.add_argument("--small", type=int, default=256)
    parser.add_argument("--steps", type=int, default=TIMED)
    parser.add_argument("--minutes", type=float, default=12)
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True  # as the plain loop has it
    print(machine(args.device), flush=True)
    report, on = Report(args.device, args.minutes), Machine(device=args.device)
    measure_steps(report, args, on)
    measure_batch(report, args, on)
    compare_with_cpu(report, args, on)
    measure_paintings(report, args, on)


if __name__ == "__main__":
    main()
