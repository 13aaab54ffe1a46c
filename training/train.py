"""Trains `compact`, the network in the package: python training/train.py --shared ../shared --out training/run

Phases (see PHASES): stages 1 and 2, then 3, then 4 and 5, each with the earlier stages frozen; then the network paints
(paintings.py), and all stages are tuned together on photographs and on those half-finished paintings. A checkpoint is
written every 250 steps and at the end of each phase; a second call goes on where the first stopped.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from data import batches, load_pictures
from networks import CHANNELS, MEAN, STD, Features, Student, Teacher, fold
from safetensors.torch import save_file

SEED = 20261120
TARGET_CHANNELS = {
    "1_1": 64, "1_2": 64, "2_1": 128, "2_2": 128, "3_1": 256, "3_2": 256, "3_3": 256, "3_4": 256,
    "4_1": 512, "4_2": 128, "4_3": 128, "4_4": 128, "5_1": 512, "5_2": 512,
}  # fmt: skip
GRAM_WEIGHT = 2.0  # of the Gram term against the feature term


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
    Phase("stages12", 1, 2, size=48, batch=64, steps=2000, rate=3e-3),
    Phase("stage3", 3, 3, size=64, batch=32, steps=3000, rate=3e-3),
    Phase("stages45", 4, 5, size=128, batch=16, steps=3500, rate=3e-3),
    Phase("together", 1, 5, size=128, batch=12, steps=4500, rate=1.5e-3, paintings=True),
)


def layer_loss(
    feature: torch.Tensor, head: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(features, Gram) of one layer, both relative, both 0 when the head W reproduces the target: t = W f.

    features: |t - W f|^2 over the target's variance (each channel about its own mean).
    Gram: |G(W f) - G(t)|^2 / |G(t)|^2, a mean over the batch.
    Both need only the moments f f^T, t f^T and t t^T, so W f itself, the largest tensor of all, is never made.
    feature (B, c, h, w), head (C, c, 1, 1), target (B, C, h, w).
    """
    f, t = (x.permute(0, 2, 3, 1).flatten(1, 2).float() for x in (feature, target))  # (B, hw, channels)
    w = head.flatten(1)
    count = t.shape[0] * t.shape[1]
    ff, tf, tt = f.mT @ f, t.mT @ f, t.mT @ t
    energy = tt.diagonal(dim1=1, dim2=2).sum()
    variance = energy / count - t.mean((0, 1)).square().sum()
    painted = w @ ff @ w.mT
    error = energy - 2 * (w * tf.sum(0)).sum() + painted.diagonal(dim1=1, dim2=2).sum()
    gram = ((painted - tt).square().sum((1, 2)) / tt.square().sum((1, 2))).mean()
    return error / count / variance, gram


def losses(
    student: Student, features: Features, targets: Features, scales: dict[str, float]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The two losses of every layer that has a target."""
    return {
        name: layer_loss(features[name], student.heads[name].weight * scales[name], target)
        for name, target in targets.items()
    }


def run_phase(
    phase: Phase, student: Student, teacher: Teacher, scales: dict[str, float], data, out: Path, start: int
) -> None:
    """Train one phase from step `start`; writes out/train.jsonl and out/checkpoint.pt as it goes."""
    trained = student.stage_modules(phase.first, phase.last)
    student.eval().requires_grad_(False)
    trained.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=phase.rate, weight_decay=1e-4)
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
        parts = losses(student, features, targets, scales)
        total = sum(f + GRAM_WEIGHT * g for f, g in parts.values())
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        if step % 25 == 0 or step == phase.steps - 1:
            row = {"phase": phase.name, "step": step, "seconds": round(time.monotonic() - began, 1)}
            row |= {name: [round(f.item(), 4), round(g.item(), 4)] for name, (f, g) in parts.items()}
            with (out / "train.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
        if (step + 1) % 250 == 0 or step == phase.steps - 1:
            save_checkpoint(checkpoint, phase.name, step + 1, student, optimizer)


def save_checkpoint(path: Path, phase: str, step: int, student: Student, optimizer) -> None:
    state = {"phase": phase, "step": step, "student": student.state_dict(), "optimizer": optimizer.state_dict()}
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)


def export(student: Student, path: Path) -> None:
    """Write the plain network as safetensors (float32, OIHW)."""
    metadata = {
        "channels": " ".join(map(str, CHANNELS)),
        "input": f"(RGB in [0, 1] - {MEAN}) / {STD}",
        "padding": "replicate in the first convolution, zeros after",
        "licence": "MIT; teachers: Oxford VGG-19 (CC BY 4.0), Collaborative Distillation (MIT)",
    }
    student.eval()
    save_file(fold(student), path, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with corpus/ and weights/ (the teachers)")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, log and compact.safetensors")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.backends.mkldnn.deterministic = True
    pictures = load_pictures(args.shared / "corpus")
    teacher, student = Teacher(args.shared / "weights"), Student(TARGET_CHANNELS)
    scales = teacher.scales(next(batches(pictures, 128, 32, SEED)))
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

            export(student, args.out / "before_paintings.safetensors")
            paintings = paint_half_finished(args.shared / "corpus", args.out)
        data = batches(pictures, phase.size, phase.batch, SEED + 100 * index + start, paintings)
        run_phase(phase, student, teacher, scales, data, args.out, start)
        export(student, args.out / f"{phase.name}.safetensors")
    export(student, args.out / "compact.safetensors")


if __name__ == "__main__":
    main()
