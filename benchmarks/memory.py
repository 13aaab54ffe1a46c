"""Table 3: peak memory and seconds against pixels, in one piece and in tiles; a process a row."""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import psutil
import torch
from common import ROOT, machine, record

from impasto.backbone.load import load_backbone
from impasto.config import Config, Machine
from impasto.images.read import read
from impasto.images.samples import sample_portrait, sample_style
from impasto.painting.run import Run
from impasto.painting.tuning import tune_allocator

BUDGETS = {512: "300MB", 1024: "500MB", 2048: "1.2GB", 4096: "4GB"}
HISTORY = 3  # pairs are whole pictures: with the default 10 they would take most of the memory
STEPS = 4  # at the last size: from the second on there is a pair, and steps are timed


def measure(network: str, size: int, memory: str, device: str, precision: str) -> dict:
    """Paint a few steps of the sample at size x size; peak bytes beyond interpreter, weights and
    pictures."""
    machine = Machine(device=device, memory=memory, precision=precision)
    config = Config(backbone=network, finish=0, size=size, levels=1, steps=STEPS, history=HISTORY)
    backbone = load_backbone(config, machine)
    # square
    content = read(np.asarray(read(sample_portrait()).pixels[0].permute(1, 2, 0))[:400, :400])
    style = read(sample_style("strokes"))
    run = Run.prepare(content, style, config, machine, backbone=backbone)
    plan = run.plan
    tune_allocator(plan, backbone)  # as `impasto paint` does
    rest = psutil.Process().memory_info().rss
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        rest = torch.cuda.memory_allocated()
    times = []
    began = time.perf_counter()
    for step in run.steps():
        _ = float(step.value)
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device != "cpu":
        peak = torch.cuda.max_memory_allocated()
    seconds = sorted(times[1:])[(STEPS - 1) // 2]
    return {
        "network": network,
        "size": size,
        "memory": memory,
        "side": plan.tile_size,
        "planned": plan.needed,
        "peak": peak - rest,
        "history": config.history,
        "seconds": seconds,
        "seconds_a_megapixel": seconds / size**2 * 1e6,
    }


def main() -> None:
    """Run each row in a process of its own, and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", help="of --one")
    parser.add_argument(
        "--one",
        nargs=3,
        metavar=("NETWORK", "SIZE", "MEMORY"),
        help="measure one row, print it as JSON",
    )
    args = parser.parse_args()
    if args.one:
        network, size, memory = args.one
        print(json.dumps(measure(network, int(size), memory, args.device, args.precision)))
        return
    print(machine(args.device))
    rows = []
    for network in ("compact", "vgg19"):
        for size, budget in BUDGETS.items():
            for memory in ("auto", budget):
                command = [
                    sys.executable,
                    __file__,
                    "--device",
                    args.device,
                    "--one",
                    network,
                    str(size),
                    memory,
                ]
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, cwd=ROOT
                )
                if done.returncode:
                    print(network, size, memory, done.stderr.strip().splitlines()[-1], flush=True)
                    continue
                rows.append(json.loads(done.stdout))
                print(rows[-1], flush=True)
                record("memory", rows, args.device)  # a run that is cut off has told this much


if __name__ == "__main__":
    main()
