"""A GPU in two minutes: whole steps with both graphs, one, none; where the time of a step goes;
whole paintings, a batch, tiles. Each part by itself: one that fails does not end the others.

python benchmarks/gpu_quick.py
python benchmarks/gpu_quick.py --device cpu --tiny
"""

import argparse
import cProfile
import pstats
import statistics
import time
import traceback
from collections.abc import Callable

import torch
from common import wait
from gpu import our_steps, picture, seconds_between

from impasto import Config, Machine
from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.objective.objective import Objective
from impasto.painting import cuda_graph
from impasto.painting.batched import paint_batched
from impasto.painting.run import Run
from impasto.solver.lbfgs import _times


def config_of(side: int, term: str, steps: int) -> Config:
    """One level with VGG-19."""
    grain = 0 if term == "gram" else Config().grain_weight
    return Config(
        backbone="vgg19", finish=0, size=side, levels=1, steps=20 + steps, style_term=term,
        grain_weight=grain,
    )  # fmt: skip


def steps(
    args: argparse.Namespace,
    on: Machine,
    backbone: Backbone,
    side: int,
    term: str,
    tried: bool = False,
) -> None:
    """Milliseconds of a step: both graphs, that of the evaluation, none.

    tried: with the fastest of cuDNN's kernels, where otherwise it has those that it deems so.
    """
    found = []
    torch.backends.cudnn.benchmark = tried
    for kind in ("both graphs", "evaluation's", "none"):
        cuda_graph._refused_steps[:] = [] if kind == "both graphs" else ["not asked for"]
        made = our_steps(backbone, config_of(side, term, args.steps), on, graphs=kind != "none")
        taken = seconds_between(made, args.device, args.steps)
        found.append(f"{kind} {1000 * statistics.median(taken):.2f}")
    cuda_graph._refused_steps.clear()
    torch.backends.cudnn.benchmark = False
    of = "kernels tried" if tried else "kernels as they come"
    print(f"step, vgg19 {term}, {side}, {of}: {', '.join(found)} ms", flush=True)


def pieces(args: argparse.Namespace, side: int) -> None:
    """Milliseconds of single operations in two forms."""
    dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
    rows = torch.rand(10, 3 * side * side, device=args.device)
    v = torch.rand(1, 3, side, side, device=args.device)
    last = {"device": args.device, "dtype": dtype}
    forms: dict[str, Callable[[], object]] = {
        "S v as a product": lambda: rows @ v.flatten(),
        "S v by lines": lambda: _times(rows, v),
        "S v summed": lambda: (rows * v.flatten()).sum(1),
        "S' u": lambda: rows.mT @ rows[:, 0],
    }
    for channels in (3, 8):
        for name, a, b in (("to 64", channels, 64), ("from 64", 64, channels)):
            x = torch.rand(1, a, side, side, **last).contiguous(memory_format=torch.channels_last)
            k = torch.rand(b, a, 3, 3, **last).contiguous(memory_format=torch.channels_last)
            forms[f"convolution of {channels} channels {name}"] = lambda x=x, k=k: (
                torch.nn.functional.conv2d(x, k, padding=1)
            )
    for name, form in forms.items():
        for _ in range(3):
            form()
        wait(args.device)
        began = time.perf_counter()
        for _ in range(10):
            form()
        wait(args.device)
        print(f"{name}, {side}: {100 * (time.perf_counter() - began):.3f} ms", flush=True)


def profile(args: argparse.Namespace, on: Machine, backbone: Backbone, side: int) -> None:
    """The kernels that take most of ten steps."""
    made = our_steps(backbone, config_of(side, "gram", 20), on, graphs=True)
    for _ in range(16):
        next(made)
    wait(args.device)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if args.device == "cuda":
        activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as seen:
        for _ in range(10):
            next(made)
        wait(args.device)
    events = seen.key_averages()
    cost = "self_device_time_total" if args.device == "cuda" else "self_cpu_time_total"
    events = sorted(events, key=lambda event: -getattr(event, cost))
    whole = sum(getattr(event, cost) for event in events)
    print(f"profile of a step at {side}: kernels {whole / 1e4:.3f} ms", flush=True)
    for event in events[:12]:
        name = f"{event.count / 10:6.1f} x {event.key[:90]}"
        print(f"  {getattr(event, cost) / 1e4:7.3f} ms {name}", flush=True)


def painting(args: argparse.Namespace, on: Machine, backbone: Backbone, side: int) -> None:
    """Seconds and memory of the default painting."""
    if args.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    pictures = [picture(side, side, seed) for seed in (0, 1)]
    began = time.perf_counter()
    done = Run.prepare(*pictures, Config(size=side), on, backbone=backbone).paint()
    wait(args.device)
    taken = time.perf_counter() - began
    most = torch.cuda.max_memory_reserved() / 1e9 if args.device == "cuda" else 0.0
    print(
        f"default at {side}: {taken:.2f} s, {most:.1f} GB, objective {done.value:.5g}", flush=True
    )


def where(args: argparse.Namespace, on: Machine, backbone: Backbone, side: int) -> None:
    """What the default painting spends its time with, on the processor's side."""
    pictures = [picture(side, side, seed) for seed in (0, 1)]
    with cProfile.Profile() as seen:
        Run.prepare(*pictures, Config(size=side), on, backbone=backbone).paint()
        wait(args.device)
    print(f"a second painting at {side}, by function:", flush=True)
    pstats.Stats(seen).sort_stats("cumulative").print_stats(40)


def batch(args: argparse.Namespace, on: Machine, backbone: Backbone, side: int) -> None:
    """Eight paintings together and one by one."""
    for together in (True, False):
        runs = [
            Run.prepare(
                picture(side, side, seed), picture(side, side, 99), Config(size=side), on,
                backbone=backbone,
            )
            for seed in range(8)
        ]  # fmt: skip
        wait(args.device)
        began = time.perf_counter()
        for group in [runs] if together else [[run] for run in runs]:
            for _ in paint_batched(group):
                pass
        wait(args.device)
        name = "together" if together else "one by one"
        print(f"8 at {side}, {name}: {time.perf_counter() - began:.2f} s", flush=True)


def tiles(args: argparse.Namespace, backbone: Backbone, side: int, tile: int | None) -> None:
    """Seconds per megapixel of an evaluation."""
    config = Config(size=side)
    content, style = (picture(side, side, seed).pixels.to(args.device) for seed in (0, 1))
    objective = Objective(config, backbone, content, [style[..., :2048, :2048]], tile)
    objective.evaluate(content)
    wait(args.device)
    began = time.perf_counter()
    objective.evaluate(content)
    wait(args.device)
    taken = time.perf_counter() - began
    how = f"in tiles of {tile}" if tile else "in one piece"
    print(f"evaluation at {side} {how}: {1e9 * taken / side**2:.2f} ms/megapixel", flush=True)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seconds", type=float, default=110)
    args = parser.parse_args()
    args.steps = 2 if args.tiny else 30
    on = Machine(device=args.device)
    began = time.perf_counter()
    vgg = load_backbone("vgg19", on, finish=0)
    default = load_backbone(Config(), on)
    small = (64,) if args.tiny else (256, 512, 1024, 2048)
    sizes = (64,) if args.tiny else (512, 2048, 4096)
    middle, largest = small[len(small) // 2 - 1], small[-1]
    whole, tiled, tile = (96, 160, 128) if args.tiny else (4096, 16384, 4096)
    parts: list[Callable[[], None]] = [
        *(lambda side=side: painting(args, on, default, side) for side in sizes),
        lambda: where(args, on, default, sizes[0]),
        lambda: where(args, on, default, sizes[-1]),
        lambda: batch(args, on, default, small[0]),
        *(
            lambda side=side, tried=tried: steps(args, on, vgg, side, "gram", tried)
            for side in small
            for tried in (False, True)
        ),
        lambda: steps(args, on, vgg, middle, "wasserstein"),
        lambda: profile(args, on, vgg, middle),
        lambda: profile(args, on, vgg, largest),
        lambda: pieces(args, largest),
        lambda: tiles(args, default, whole, None),
        lambda: tiles(args, default, tiled, tile),
    ]
    for part in parts:
        if time.perf_counter() - began > args.seconds:
            print("the time is up", flush=True)
            break
        try:
            part()
        except Exception:
            print(traceback.format_exc(limit=-3), flush=True)


if __name__ == "__main__":
    main()
