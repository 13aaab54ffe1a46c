"""Presets: named Configs, each number with its source beside it.

All but the default are published recipes, in impasto's settings. Where a recipe leaves something
open, the source says what was chosen, and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from impasto.config import Config
from impasto.errors import ConfigError, did_you_mean

__all__ = ["OF_QUICK", "PRESETS", "QUICK", "Preset", "preset", "quick"]

FIRST_CONVOLUTIONS = {f"conv{stage}_1": 1.0 for stage in range(1, 6)}
# Where the recipes were published. Gatys et al. 2016: "Image Style Transfer Using Convolutional
# Neural Networks", CVPR 2016; its preprint is arXiv 1508.06576.
COX = "https://github.com/coopercox315/neural-style-transfer"
RATUL = "https://github.com/ratul-d/Neural-Style-Transfer-using-CNN"
UDACITY = "https://github.com/udacity/deep-learning-v2-pytorch"
GORDIC = "https://github.com/gordicaleksa/pytorch-neural-style-transfer"
TENSORFLOW = "https://www.tensorflow.org/tutorials/generative/style_transfer"
# What `quick` changes.
OF_QUICK: dict[str, Any] = {
    "style_layers": {f"relu{stage}_1": 1.0 for stage in range(1, 5)},
    "style_weight": 5.0,
    "first_step": 0.05,
    "step_ratio": 0.5,
}
# Small and quick, for a sheet of many paintings: what a style does to the picture shows, its finest
# strokes do not.
QUICK = {"size": 192, "steps": 8, "finish": 0}


@dataclass(frozen=True)
class Preset:
    """A config, what it is for in one line, and where each of its numbers comes from, by field."""

    config: Config
    about: str
    sources: dict[str, str]


PRESETS: dict[str, Preset] = {
    "default": Preset(
        Config(),
        "small to large with L-BFGS, every term in units of its own target; the default",
        {
            "content_layers": "relu4_2: Gatys et al. 2016, section 3",
            "style_layers": "the first convolution of each stage: Gatys et al. 2016, section 3",
            "normalize": "energy: docs/formulas.md, the objective",
            "style_weight": "2.5, chosen by eye and by score: docs/defaults.md",
            "grain_weight": "1, chosen by eye and by score: docs/defaults.md",
            "levels": "from about 128 pixels on, chosen by eye: docs/speed.md",
            "steps": "100, more at the small sizes, where forms are painted and a step costs "
            "little: docs/defaults.md",
            "precondition": "0.5: benchmarks/RESULTS.md, table 5; history 10 costs 0.3 % against "
            "100 there",
        },
    ),
    "gatys-lbfgs": Preset(
        Config(
            backbone="vgg19",
            feature_units="normalized",
            padding="zeros",
            size=512,
            size_of="at-most",
            style_shape="content",
            content_layers={"conv4_2": 1.0},
            style_layers=FIRST_CONVOLUTIONS,
            content_weight=1,
            style_weight=1e6,
            normalize="none",
            style_term="gram",
            grain_weight=0,
            gram_divisor="chw",
            content_reduction="mean",
            style_reduction="mean",
            optimizer="lbfgs",
            history=100,
            first_step=0,
            precondition=0,
            steps=300,
            start={"content": 1},
            levels=1,
            clamp=False,
        ),
        "Gatys et al. 2016 with L-BFGS from the content: 300 evaluations",
        {
            "backbone": "Oxford's VGG-19; the author has torchvision's numbers: "
            "--backbone vgg19-torchvision",
            "optimizer": "L-BFGS, learning rate 1, history 100: torch.optim.LBFGS's defaults, "
            f"{COX} src/model.py, run_style_transfer",
            "steps": f"300 evaluations: {COX} src/model.py, run_style_transfer",
            "content_layers": "conv4_2: Gatys et al. 2016, section 3",
            "style_layers": "conv1_1 to conv5_1: Gatys et al. 2016, section 3",
            "style_weight": "1e6, with Gram/(C*H*W) and mean squares: "
            f"{COX} src/model.py, gram_matrix and run_style_transfer",
            "size": "long side at most 512, the style resized to the content's shape: "
            f"{COX} src/model.py, load_image",
            "clamp": f"none while painting, only when it is saved: {COX} src/model.py, save_image",
        },
    ),
    "keras-tv": Preset(
        Config(
            backbone="vgg19",
            feature_units="0-255",
            padding="zeros",
            size=512,
            size_of="at-most",
            content_layers={"block5_conv2": 1.0},
            style_layers=FIRST_CONVOLUTIONS,
            content_weight=1,
            style_weight=1e4,
            normalize="none",
            style_term="gram",
            grain_weight=0,
            gram_divisor="chw",
            content_reduction="half-sum",
            style_reduction="sum",
            tv_weight=10 * 255**2,
            tv_form="squared",
            tv_reduction="sum",
            optimizer="adam",
            learning_rate=0.02,
            steps=30_000,
            start={"content": 1},
            levels=1,
        ),
        "Adam with total variation; step 17,000 is its 'realistic', 30,000 its 'abstract' picture",
        {
            "content_layers": "block5_conv2, weight 1, half the sum of squares: "
            f"{RATUL} README, Methodology",
            "style_layers": "block1_conv1 to block5_conv1, sum of squares: "
            f"{RATUL} README, Methodology",
            "style_weight": f"1e4: {RATUL} README, Results & Observations",
            "gram_divisor": "not in its README; C*H*W as in gatys-lbfgs and lbfgs-tv, so that "
            "its 1e4 is in their range",
            "tv_weight": "10, squared, summed, on pixels from 0 to 255: 10 * 255^2 on pixels "
            f"from 0 to 1: {RATUL} README, Methodology; its script has absolute differences",
            "learning_rate": f"not in its README; 0.02 of the pixel range: {TENSORFLOW}; "
            "its script has 0.02 on pixels from 0 to 255",
            "steps": f"30,000: {RATUL} README, Results & Observations",
            "size": "not in its README; 512 at most, as in gatys-lbfgs",
        },
    ),
    "noise-start": Preset(
        Config(
            backbone="vgg19",
            feature_units="normalized",
            padding="zeros",
            size=512,
            size_of="at-most",
            style_shape="content",
            content_layers={"conv4_2": 1.0},
            style_layers=FIRST_CONVOLUTIONS,
            content_weight=1,
            style_weight=1e6,
            normalize="none",
            style_term="gram",
            grain_weight=0,
            gram_divisor="chw",
            content_reduction="mean",
            style_reduction="mean",
            optimizer="lbfgs",
            history=100,
            first_step=0,
            precondition=0,
            steps=500,
            start={"noise": 1},
            levels=1,
        ),
        "Gatys et al. 2016 from white noise; --start content and --optimizer adam are its other "
        "forms",
        {
            "start": "white noise: Gatys et al. 2016, sections 2.3 and 3.3",
            "content_layers": "conv4_2: Gatys et al. 2016, section 3; mean squares, as in "
            "gatys-lbfgs",
            "style_layers": "conv1_1 to conv5_1: Gatys et al. 2016, section 3; mean squares of "
            "Gram matrices, as in gatys-lbfgs",
            "style_weight": "not published with it; 1e6 as in gatys-lbfgs, whose terms it shares",
            "steps": "not published with it; 500, because noise is farther away than the content",
        },
    ),
    "layered": Preset(
        Config(
            backbone="vgg19",
            feature_units="normalized",
            padding="zeros",
            size=400,
            size_of="at-most",
            style_shape="content",
            content_layers={"conv4_2": 1.0},
            style_layers={
                "conv1_1": 1.0,
                "conv2_1": 0.8,
                "conv3_1": 0.5,
                "conv4_1": 0.3,
                "conv5_1": 0.1,
            },
            content_weight=1,
            style_weight=1e4,
            normalize="none",
            style_term="gram",
            grain_weight=0,
            gram_divisor="sqrt-chw",
            content_reduction="mean",
            style_reduction="mean",
            optimizer="adam",
            learning_rate=0.003 * 0.226,
            steps=5000,
            start={"content": 1},
            levels=1,
            clamp=False,
        ),
        "Adam, shallow layers weigh more than deep ones; after Udacity's notebook",
        {
            "backbone": "Oxford's VGG-19; the author has torchvision's numbers: "
            "--backbone vgg19-torchvision",
            "style_layers": "1.0, 0.8, 0.5, 0.3, 0.1: "
            f"{UDACITY} style-transfer/Style_Transfer_Exercise.ipynb, Loss and Weights",
            "style_weight": "1e4, whose source is not known; the notebook has 1e6",
            "gram_divisor": "mean squares of plain Grams, divided by the layer's C*H*W: its "
            "root before squaring",
            "learning_rate": "Udacity's notebook: 0.003 on normalized pixels, whose unit is "
            "0.226 of the range",
            "steps": "5,000, whose source is not known; the notebook recommends 2,000 or more",
            "size": "400 at most: Udacity's notebook, load_image",
            "clamp": "none while painting: Udacity's notebook",
        },
    ),
    "lbfgs-tv": Preset(
        Config(
            backbone="vgg19",
            feature_units="0-255",
            padding="zeros",
            size=400,
            size_of="height",
            content_layers={"conv4_2": 1.0},
            style_layers={f"relu{stage}_1": 0.2 for stage in range(1, 6)},
            content_weight=1e5,
            style_weight=3e4,
            normalize="none",
            style_term="gram",
            grain_weight=0,
            gram_divisor="chw",
            content_reduction="mean",
            style_reduction="sum",
            tv_weight=255,
            tv_form="absolute",
            tv_reduction="sum",
            optimizer="lbfgs",
            history=100,
            first_step=0,
            precondition=0,
            steps=1000,
            start={"content": 1},
            levels=1,
            clamp=False,
        ),
        "L-BFGS with total variation, 400 pixels high",
        {
            "content_weight": f"1e5, mean squares: {GORDIC} neural_style_transfer.py, build_loss",
            "style_weight": "3e4, sum of squares, a mean over the five layers (0.2 each): "
            f"{GORDIC} neural_style_transfer.py, build_loss",
            "gram_divisor": f"C*H*W: {GORDIC} utils/utils.py, gram_matrix",
            "tv_weight": "1, absolute, summed, on pixels from 0 to 255: 255 on pixels from 0 to "
            f"1: {GORDIC} utils/utils.py, total_variation",
            "optimizer": "L-BFGS without the line search (strong Wolfe) that "
            f"{GORDIC} neural_style_transfer.py has",
            "steps": f"1,000: {GORDIC} neural_style_transfer.py",
            "size": f"height 400: {GORDIC} neural_style_transfer.py",
            "backbone": "its features are those of pixels from 0 to 255 less the mean, Oxford's "
            "input; the author has them of torchvision's numbers: --backbone vgg19-torchvision",
        },
    ),
}


def preset(name: str) -> Preset:
    """The preset `name`. Raises ConfigError with the nearest name."""
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}: {did_you_mean(name, PRESETS)}", name, list(PRESETS))
    return PRESETS[name]


def quick(config: Config) -> Config:
    """Return a config for a small painting by few steps, if its objective is the default's.

    The steps begin longer, and more weight of the style makes up for those that are missing. Stage
    5 is left out: it has few positions in a small picture, little weight, and takes half the time.
    Chosen by benchmarks/style_order.py.
    """
    default = Config()
    if any(getattr(config, name) != getattr(default, name) for name in OF_QUICK):
        return config
    return config.changed(**OF_QUICK)
