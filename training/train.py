"""Trains `compact`, the network in the package: python training/train.py --shared ../shared --out
training/run

Phases (see PHASES): stages 1 and 2, then 3, then 4 and 5, each with the earlier stages frozen; then
the network paints (paintings.py), and all stages are tuned together on photographs and on those
half-finished paintings. A checkpoint is written every 250 steps and at the end of each phase; a
second call goes on where the first stopped.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from data import batches, load_pictures
from networks import CHANNELS, MEAN, STD, Student, Teacher, fold

SEED = 20261120
MEMORY = 0.9  # how much of the heads' moments is kept from one batch to the next


@dataclass(frozen=True)
class Phase:
    """One stretch of training: stages `first` to `last` on crops of `size` pixels."""

    name: str
    first: int
    last: int
    size: int
    batch: int
    steps: int
    rate: float
    paintings: bool = False


PHASES = (
    Phase("stages12", 1, 2, size=48, batch=64, steps=1200, rate=1e-2),
    Phase("stage3", 3, 3, size=64, batch=32, steps=1600, rate=1e-2),
    Phase("stages45", 4, 5, size=128, batch=16, steps=2400, rate=1e-2),
    Phase("together", 1, 5, size=128, batch=12, steps=2400, rate=3e-3, paintings=True),
)


class Heads:
    """The best linear map from the student's features to each target, solved, not learned.

    For fixed features the best head W is a least-squares problem; its moments are averaged over
    recent batches. The gradient of the loss at the best W is that at a constant W (variable
    projection, Golub & Pereyra 1973), so the convolutions see at every step what a head trained to
    the end would tell them.
    """

    def __init__(self) -> None:
        self._moments: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def loss(self, name: str, feature: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The share of the target's variance (about its mean) that the feature does not explain, 0
        to 1.

        feature (B, c, h, w), target (B, C, h, w). Only second moments are needed: W f is never
        made.
        """
        # (positions, channels)
        f, t = (x.permute(0, 2, 3, 1).flatten(0, 2).float() for x in (feature, target))
        mean_f, mean_t = f.mean(0), t.mean(0)
        ff = f.mT @ f / len(f) - mean_f.outer(mean_f)
        tf = t.mT @ f / len(f) - mean_t.outer(mean_f)
        variance = t.square().sum() / len(t) - mean_t.square().sum()
        w = self._solve(name, ff.detach(), tf.detach() / variance.sqrt())
        tf = tf / variance.sqrt()
        return 1 - 2 * (w * tf).sum() + ((w @ ff) * w).sum()

    @torch.no_grad()
    def _solve(self, name: str, ff: torch.Tensor, tf: torch.Tensor) -> torch.Tensor:
        before_ff, before_tf = self._moments.get(name, (ff, tf))
        ff, tf = torch.lerp(ff, before_ff, MEMORY), torch.lerp(tf, before_tf, MEMORY)
        self._moments[name] = ff, tf
        ridge = 1e-3 * ff.diagonal().mean() * torch.eye(len(ff))
        return torch.linalg.solve(ff + ridge, tf.mT).mT


def run_phase(
    phase: Phase, student: Student, teacher: Teacher, data, out: Path, start: int
) -> None:
    """Train one phase from step `start`; writes out/train.jsonl and out/checkpoint.pt as it
    goes."""
    trained = student.stage_modules(phase.first, phase.last)
    student.eval().requires_grad_(False)
    trained.train().requires_grad_(True)
    heads = Heads()
    optimizer = torch.optim.Adam(trained.parameters(), lr=phase.rate)
    checkpoint = out / "checkpoint.pt"
    if start:
        optimizer.load_state_dict(torch.load(checkpoint, weights_only=True)["optimizer"])
    began = time.monotonic()
    for step in range(start, phase.steps):
        warm = min(1.0, (step + 1) / 100)
        rate = warm * phase.rate * (0.5 + 0.5 * math.cos(math.pi * step / phase.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        x = next(data)
        targets = teacher(x, phase.first, phase.last)
        with torch.autocast("cpu", torch.bfloat16):
            features = student(x, phase.last)
        parts = {name: heads.loss(name, features[name], target) for name, target in targets.items()}
        total = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        if step % 25 == 0 or step == phase.steps - 1:
            row = {"phase": phase.name, "step": step, "seconds": round(time.monotonic() - began, 1)}
            row |= {name: round(part.item(), 4) for name, part in parts.items()}
            with (out / "train.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
        if (step + 1) % 250 == 0 or step == phase.steps - 1:
            save_checkpoint(checkpoint, phase.name, step + 1, student, optimizer)


def save_checkpoint(path: Path, phase: str, step: int, student: Student, optimizer) -> None:
    state = {
        "phase": phase,
        "step": step,
        "student": student.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)


def export(student: Student, path: Path) -> None:
    """Write the plain network as safetensors (float32, OIHW)."""
    metadata = {
        "channels": " ".join(map(str, CHANNELS)),
        "input": f"(RGB in [0, 1] - {MEAN}) / {STD}",
        "padding": "replicate in the first convolution, zeros after",
        "license": "MIT; teachers: Oxford VGG-19 (CC BY 4.0), Collaborative Distillation (MIT)",
    }
    student.eval()
    save_file(fold(student), path, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shared", type=Path, required=True, help="folder with corpus/ and weights/ (the teachers)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoint, log and compact.safetensors"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.backends.mkldnn.deterministic = True
    pictures = load_pictures(args.shared / "corpus")
    teacher, student = Teacher(args.shared / "weights"), Student()
    done, step = None, 0
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(state["student"])
        done, step = state["phase"], state["step"]
    names = [phase.name for phase in PHASES]
    first = names.index(done) if done else 0
    for index, phase in enumerate(PHASES[first:], first):
        start = step if phase.name == done else 0
        if start == phase.steps:
            continue
        paintings = None
        if phase.paintings:
            from paintings import paint_half_finished

            if start == 0:
                export(student, args.out / "before_paintings.safetensors")
            paintings = paint_half_finished(args.shared / "corpus", args.out)
        data = batches(pictures, phase.size, phase.batch, SEED + 100 * index + start, paintings)
        run_phase(phase, student, teacher, data, args.out, start)
        export(student, args.out / f"{phase.name}.safetensors")
    export(student, args.out / "compact.safetensors")


if __name__ == "__main__":
    main()
