"""How much of the teacher a network explains: python training/evaluate.py --shared ../shared
NETWORK...

For each layer that has a teacher: the share of the target's variance that the best linear map from
the network's features leaves unexplained (0 is perfect). The map is fitted on crops of the corpus
and tested on other crops, changed as in training: of the pictures in shared/images (most of which
are in the corpus too) and, mostly, of half-finished paintings if --paintings names a folder of
them. So this tells networks apart; it is no test on unseen pictures. Also draws the training's
curves (--log run/train.jsonl --curves curves.png).
"""

import argparse
import json
from pathlib import Path

import torch

from data import batches, load_pictures
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from networks import Teacher

LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_4", "4_1", "5_1")
CROPS, SIDE, SAMPLE = 64, 128, 40_000


def matrix(features: list[torch.Tensor]) -> torch.Tensor:
    """(positions, channels) of a list of feature maps, at most SAMPLE positions, evenly taken."""
    flat = torch.cat([f.float().permute(0, 2, 3, 1).flatten(0, 2) for f in features])
    return flat[:: max(1, len(flat) // SAMPLE)]


@torch.no_grad()
def unexplained(
    backbone: Backbone, teacher: Teacher, fit: list[torch.Tensor], tests: list[list[torch.Tensor]]
) -> dict:
    """By layer, the unexplained share of variance on each of the `tests`."""
    relus = [f"relu{name}" for name in LAYERS]
    features = [[backbone(x, relus) for x in batch] for batch in (fit, *tests)]
    targets = [[teacher(x, 1, 5) for x in batch] for batch in (fit, *tests)]
    out = {}
    for name in LAYERS:
        pairs = []
        for f, t in zip(features, targets, strict=True):
            inputs = matrix([each[f"relu{name}"] for each in f])
            pairs.append(
                (
                    torch.cat([inputs, torch.ones(len(inputs), 1)], 1),
                    matrix([each[name] for each in t]),
                )
            )
        head = torch.linalg.lstsq(*pairs[0]).solution
        out[name] = [
            float((t - f @ head).square().sum() / (t - t.mean(0)).square().sum())
            for f, t in pairs[1:]
        ]
    return out


def draw_curves(log: Path, out: Path) -> None:
    """Unexplained variance against steps, a panel a phase, a line a layer."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # A resumed run has some steps twice: the later ones count.
    parsed = [json.loads(line) for line in log.read_text().splitlines()]
    rows = sorted(
        {(row["phase"], row["step"]): row for row in parsed}.values(), key=lambda row: row["step"]
    )
    phases = list(dict.fromkeys(row["phase"] for row in parsed))
    figure, axes = plt.subplots(
        1, len(phases), figsize=(12, 4.4), sharey=True, layout="constrained"
    )
    for axis, phase in zip(axes, phases, strict=True):
        mine = [row for row in rows if row["phase"] == phase]
        layers = [key for key in mine[0] if key not in ("phase", "step", "seconds")]
        for k, layer in enumerate(layers):
            color = plt.get_cmap("viridis")(k / max(1, len(layers) - 1))
            axis.plot(
                [row["step"] for row in mine],
                [row[layer] for row in mine],
                color=color,
                lw=1,
                label=layer,
            )
        axis.set(title=phase, xlabel="step", yscale="log")
        axis.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    axes[0].set_ylabel("unexplained variance")
    figure.savefig(out, dpi=110, bbox_inches="tight", metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help="names or files of networks")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, help="folder of half-finished paintings")
    parser.add_argument("--log", type=Path, help="train.jsonl of a run")
    parser.add_argument(
        "--curves", type=Path, default=Path("curves.png"), help="where the curves go"
    )
    args = parser.parse_args()
    if args.log:
        draw_curves(args.log, args.curves)
    if not args.networks:
        return
    teacher = Teacher(args.shared / "weights")

    def crops(
        pictures: list[torch.Tensor], seed: int, painted: list[torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        stream = batches(pictures, SIDE, 16, seed, painted, share=0.9)
        return [next(stream) for _ in range(CROPS // 16)]

    fit = crops(load_pictures(args.shared / "corpus"), 1)
    images = load_pictures(args.shared / "images" / "content") + load_pictures(
        args.shared / "images" / "style"
    )
    tests = [crops(images, 2)]
    if args.paintings:
        tests.append(
            crops(images, 3, [p for p in load_pictures(args.paintings) if min(p.shape[1:]) >= SIDE])
        )
    print(f"{'':40} " + " ".join(f"{name:>11}" for name in LAYERS))
    for network in args.networks:
        shares = unexplained(Backbone(load(network), padding="replicate"), teacher, fit, tests)
        line = " ".join(
            "/".join(f"{share:.3f}" for share in shares[name]).rjust(11) for name in LAYERS
        )
        print(f"{network[-40:]:40} {line}")


if __name__ == "__main__":
    main()
