"""Half-finished paintings, made with the network as it is so far: the pictures on which it must not
be fooled.

A painting is driven to wherever the network's Gram matrices say that it is near; where the teacher
sees something else, the student has a blind spot. These pictures show it those spots.
"""

import random
from pathlib import Path

import torch

from data import load_pictures
from impasto import Config, paint_steps
from impasto.backbone.load import load_backbone
from impasto.errors import SolverError
from impasto.images.write import to_image

SEED = 7
PAIRS = 60
SIDE = 256
KEPT = (6, 18, 45, 90)  # steps whose pictures are kept


def paint_half_finished(corpus: Path, out: Path) -> list[torch.Tensor]:
    """PAIRS random pairs of pictures of `corpus`, painted with out/before_paintings.safetensors, as
    uint8 (3, H, W).

    The pictures are kept in out/paintings; those already there are not painted again.
    """
    folder = out / "paintings"
    folder.mkdir(exist_ok=True)
    paths = sorted(corpus.glob("*.jpg"))
    photographs = [path for path in paths if path.name.startswith("photo")]
    others = [path for path in paths if not path.name.startswith("photo")]
    # Every setting that matters stands here: the defaults may change, the recipe of the committed
    # network may not.
    base = Config(
        backbone=str(out / "before_paintings.safetensors"),
        size=SIDE,
        levels=1,
        steps=max(KEPT),
        padding="replicate",
        content_layers="relu4_2",
        style_layers="relu1_1,relu2_1,relu3_1,relu4_1,relu5_1",
        normalize="energy",
        gram_divisor="hw",
        grain_weight=0,
        optimizer="lbfgs",
        history=20,
        first_step=0,
        clamp=True,
    )
    backbone = load_backbone(base)
    rng = random.Random(SEED)
    for pair in range(PAIRS):
        content = rng.choice(photographs if rng.random() < 0.7 else others)
        style = rng.choice(others if rng.random() < 0.85 else photographs)
        noise = rng.choice((0.0, 0.0, 0.3, 1.0))
        config = base.changed(
            style_weight=10 * 10 ** rng.uniform(-0.7, 1.2),
            start={"content": 1 - noise, "noise": noise},
            seed=pair,
        )
        if (folder / f"{pair:04d}_{KEPT[-1]:03d}.png").exists():
            continue
        try:
            for step in paint_steps(content, style, config, backbone=backbone):
                if step.number in KEPT:
                    to_image(step.picture).save(folder / f"{pair:04d}_{step.number:03d}.png")
        except SolverError as error:
            print(f"{content.name} in the style of {style.name}: {error}", flush=True)
    # Crops of the last phase have 128 pixels: a narrower painting has none.
    return [picture for picture in load_pictures(folder) if min(picture.shape[1:]) >= 128]
