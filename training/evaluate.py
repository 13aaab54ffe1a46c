"""How much of VGG-19 a network explains: python training/evaluate.py --corpus FOLDER NETWORK...

For each layer: the part of the teacher's energy that the best linear map from the network's
features leaves unexplained, 0 to 1. The map is fitted on crops of the training pictures, changed as
in training, and tested on the pictures that are held out, whole.
"""

import argparse
from pathlib import Path

import torch

from data import Crops, Pictures, load_pictures, split
from heads import HeadFit
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from networks import LAYERS, Teacher
from train import SIZE, held_out, teacher_path

CROPS = 384


class Network:
    """A network of the package, as the functions of training see one."""

    def __init__(self, name: str):
        self.backbone = Backbone(load(name), padding="replicate")
        last = next(reversed(self.backbone.weights.kernels))
        self.layers = LAYERS[: LAYERS.index(last.removeprefix("conv")) + 1]

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Features after ReLU by layer name."""
        relus = {f"relu{name}": name for name in self.layers}
        return {relus[name]: value for name, value in self.backbone(x, relus).items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", help="names or files of networks")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of JPEG pictures")
    args = parser.parse_args()
    device = torch.device("cpu")
    trained, kept = split(load_pictures(args.corpus))
    teacher = Teacher(teacher_path(), device, torch.float32)
    pictures = Pictures(trained, device)
    print(f"{'':40} " + " ".join(f"{name:>5}" for name in LAYERS))
    for name in args.networks:
        network, crops, fit = Network(name), Crops(pictures, SIZE, 5), HeadFit()
        with torch.no_grad():
            for _ in range(CROPS // 16):
                x = crops(16)
                fit.add(network(x), teacher(x))
            left = held_out(network, teacher, kept, fit.heads())
        row = " ".join(f"{left[layer]:.3f}" if layer in left else "     " for layer in LAYERS)
        print(f"{name[-40:]:40} {row}", flush=True)


if __name__ == "__main__":
    main()
