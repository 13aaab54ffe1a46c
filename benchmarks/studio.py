"""The demo in the studio against the library, and in a studio whose main thread computes too.

Medians of five; each kind runs in a process of its own, one after the other: python
benchmarks/studio.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 5


def alone() -> None:
    """Paint with the library, in the main thread."""
    from impasto import Config, paint
    from impasto.backbone.load import load_backbone
    from impasto.images.samples import sample_portrait, sample_style

    config = Config()
    backbone = load_backbone(config)
    for _ in range(1 + RUNS):
        print(
            paint(sample_portrait(), sample_style("strokes"), config, backbone=backbone).seconds,
            flush=True,
        )


def studio(crowded: bool) -> None:
    """Paint with the studio's worker. crowded: the main thread has OpenMP threads of its own, as
    after a warm-up there."""
    import torch

    from impasto.config import Machine
    from impasto.images.samples import sample_portrait, sample_style
    from impasto.web.jobs.limits import Limits
    from impasto.web.jobs.queue import Studio
    from impasto.web.jobs.request import PaintRequest, Upload

    if crowded:
        torch.rand(4000, 4000) @ torch.rand(4000, 4000)
    place = Studio(Limits(), Machine())
    place.open()
    photograph = Upload("photograph", sample_portrait().read_bytes)
    style = Upload("style", sample_style("strokes").read_bytes)
    for _ in range(1 + RUNS):
        job = place.submit(PaintRequest(photograph, [style], {}), "benchmark")
        while not job.over:
            time.sleep(0.1)
        assert job.progress is not None
        print(job.progress.seconds, flush=True)
    place.close()


def measured(kind: str) -> float:
    """Median seconds of a painting, without the first."""
    done = subprocess.run(
        [sys.executable, __file__, kind], capture_output=True, text=True, check=True
    )
    return statistics.median([float(line) for line in done.stdout.split()][1:])


KINDS = {"library": alone, "studio": lambda: studio(False), "crowded": lambda: studio(True)}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        KINDS[sys.argv[1]]()
    else:
        seconds = {kind: measured(kind) for kind in KINDS}
        for kind, each in seconds.items():
            print(f"{kind:8} {each:5.2f} s   {each / seconds['library']:.2f} times the library")
