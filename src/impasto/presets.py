"""Named Configs. Every number has its source beside it.

A recipe is what its author published, in impasto's words. Where a published table leaves something
open, the source says what was chosen and why.
"""

from __future__ import annotations

from dataclasses import dataclass

from impasto.config import Config
from impasto.errors import ConfigError, did_you_mean

__all__ = ["PRESETS", "Preset", "preset"]

FIRST_CONVOLUTIONS = {f"conv{stage}_1": 1.0 for stage in range(1, 6)}


@dataclass(frozen=True)
class Preset:
    """A config, what it is for in one line, and where each of its numbers comes from, by field."""

    config: Config
    about: str
    sources: dict[str, str]


PRESETS: dict[str, Preset] = {
    "default": Preset(
        Config(),
        "the default: small to large with L-BFGS, every term in units of its own target",
        {
            "content_layers": "relu4_2: Gatys et al. 2016, section 3",
            "style_layers": "the first convolution of each stage: Gatys et al. 2016, section 3",
            "normalize": "docs/formulas.md",
            "style_weight": "chosen by eye and referee (docs/defaults.md)",
            "grain_weight": "chosen by eye and referee (docs/defaults.md)",
            "levels": "from about 128 pixels on, chosen by eye (docs/speed.md)",
            "steps": "120, half as many again from size to size: benchmarks/levels.py",
            "precondition": "0.5: benchmarks/solvers.py; history 10 costs 0.3 % against 100 there",
        },
    ),
    "gatys-lbfgs": Preset(
        Config(
            backbone="vgg19-torchvision",
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
        "recipe A: Gatys et al. with L-BFGS from the content, as "
        "coopercox315/neural-style-transfer has it",
        {
            "optimizer": "L-BFGS, learning rate 1, history 100: torch.optim.LBFGS's defaults",
            "steps": "300: the recipe",
            "content_layers": "conv4_2: Gatys et al. 2016, section 3",
            "style_layers": "conv1_1 to conv5_1: Gatys et al. 2016, section 3",
            "style_weight": "1e6, with Gram/(C*H*W) and mean squares: the recipe",
            "size": "long side at most 512, style resized to the content's shape: the "
            "recipe's loader",
            "clamp": "none while painting: the recipe clamps when it saves",
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
        "recipe B: Adam with total variation; step 17,000 is its 'realistic', 30,000 its "
        "'abstract' picture",
        {
            "content_layers": "block5_conv2, weight 1, half the sum of squares: the recipe",
            "style_layers": "block1_conv1 to block5_conv1, sum of squares: the recipe",
            "style_weight": "1e4: the recipe",
            "gram_divisor": "not in the recipe's table; C*H*W, as recipes A and E, so that "
            "its 1e4 is in their range",
            "tv_weight": "10, squared, summed, on pixels from 0 to 255: 10 * 255^2 on pixels "
            "from 0 to 1",
            "learning_rate": "not in the recipe's table; 0.02 of the pixel range, "
            "TensorFlow's style transfer tutorial",
            "steps": "30,000, a snapshot every 1,000: the recipe",
            "size": "not in the recipe's table; 512 at most, as recipe A",
        },
    ),
    "noise-start": Preset(
        Config(
            backbone="vgg19-torchvision",
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
        "recipe C: from white noise; --start content and --optimizer adam are its other forms",
        {
            "start": "noise (or content): the recipe; Gatys et al. 2016, section 2.3",
            "content_layers": "conv4_2, mean squared error: the recipe",
            "style_layers": "the five first convolutions, Gram matrices, mean squared error: "
            "the recipe",
            "style_weight": "not in the recipe's table; as recipe A, whose terms it shares",
            "steps": "not in the recipe's table; 500, because noise is further away than the "
            "content",
        },
    ),
    "layered": Preset(
        Config(
            backbone="vgg19-torchvision",
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
        "recipe D: Adam, shallow layers weigh more than deep ones",
        {
            "style_layers": "1.0, 0.8, 0.5, 0.3, 0.1: the recipe",
            "style_weight": "1e4: the recipe",
            "gram_divisor": "mean squares of plain Grams, divided by the layer's C*H*W: its "
            "root before squaring",
            "learning_rate": "Udacity's notebook: 0.003 on normalised pixels, whose unit is "
            "0.226 of the range",
            "steps": "5,000: the recipe",
            "size": "400 at most: Udacity's notebook",
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
        "recipe E: L-BFGS with total variation, 400 pixels high",
        {
            "content_weight": "1e5, mean squares: the recipe",
            "style_weight": "3e4, sum of squares, a mean over the five layers (0.2 each): the "
            "recipe",
            "tv_weight": "1, absolute, summed, on pixels from 0 to 255: 255 on pixels from 0 to 1",
            "steps": "1,000: the recipe",
            "size": "height 400: the recipe",
            "backbone": "its features are those of pixels from 0 to 255 less the mean: "
            "Oxford's input",
        },
    ),
}


def preset(name: str) -> Preset:
    """The preset `name`. Raises ConfigError with the nearest name."""
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}: {did_you_mean(name, PRESETS)}", name, list(PRESETS))
    return PRESETS[name]
