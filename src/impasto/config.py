"""Every choice that decides the picture (Config), and where it is computed (Machine).

Each field has its type, default, range and help here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from impasto.backbone.architecture import parse_layers
from impasto.errors import ConfigError, shortened
from impasto.fields import changed_fields, describe, explain, no_setting, option_name, setting
from impasto.parsing import (
    FrozenDict,
    check_mask,
    parse_bytes,
    parse_numbers,
    parse_texts,
    parse_weights,
)

__all__ = [
    "DRAFT",
    "GROUPS",
    "MOST_LEVELS",
    "MOST_STEPS",
    "STARTS",
    "Config",
    "Machine",
    "changed_by",
]

GROUPS = ("Picture", "Network", "Objective", "Solver", "Machine")
STARTS = ("content", "style", "noise")
LOOKS = {"subtle": 0.4, "painted": 1.0, "bold": 2.0}  # chosen by eye: docs/defaults.md
LAST = 0.3  # of the steps are made by the true network: docs/defaults.md
DRAFT: dict[str, Any] = {"finish": 0, "steps": 50}  # in place of the default's


MOST_LEVELS = 12
# nearer to 1 the levels would be nearly the same picture painted again and again
MIN_LEVEL_RATIO = 1.05
MOST_STEPS = 10_000_000
MOST_LISTED = 64  # in one setting
MOST_BYTES = 1 << 60

Weight = Annotated[float, Field(ge=0, le=1_000_000_000_000)]
Layers = Annotated[dict[str, Weight], BeforeValidator(parse_layers), AfterValidator(FrozenDict)]


class Config(BaseModel):
    """All settings of one painting.

    The defaults are the preset `default`. A config is immutable; `changed` makes another. Bad
    values raise ConfigError.

    Example:
        config = impasto.Config(size=768, look="bold")
        impasto.paint("photo.jpg", "painting.jpg", config, strength=2).save("out.png")
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    size: Annotated[int, Field(ge=16, le=65536)] | Literal["original"] = setting(
        512,
        "Picture",
        "pixels on the painting's long side (see --size-of), or the content's own size",
        usual=(256, 384, 512, 768, 1024, 1536, 2048),
        not_for=("texture",),
        control="first",
    )
    size_of: Literal["long", "at-most", "height"] = setting(
        "long",
        "Picture",
        "what --size measures: the long side, the long side but never enlarged, or the height",
        not_for=("texture",),
    )
    style_shape: Literal["own", "content"] = setting(
        "own",
        "Picture",
        "keep the style picture's proportions, or squeeze it to the content's shape",
    )
    style_crop: Literal["auto", "none"] = setting(
        "auto",
        "Picture",
        "trim the style picture's plain or transparent margins, or keep them",
    )
    style_scale: float = setting(
        1.0,
        "Picture",
        "size of the brush: the style picture's long side against the painting's",
        usual=(0.25, 2.5),
        ge=0.1,
        le=10,
        control="slider",
    )
    blend: Annotated[
        tuple[Weight, ...], Field(max_length=MOST_LISTED), BeforeValidator(parse_numbers)
    ] = setting(
        (),
        "Picture",
        "share of each style picture, as 0.7,0.3 (default: equal shares)",
        not_for=("reconstruct",),
        control="drawn",
    )
    fine: str = setting(
        "",
        "Picture",
        "a picture whose strokes are painted: the style of stages 1 and 2",
        takes="a path",
        path=True,
        control="picture",
    )
    coarse: str = setting(
        "",
        "Picture",
        "a picture whose forms are painted: the style of stages 3 to 5",
        takes="a path",
        path=True,
        control="picture",
    )
    mask: Annotated[
        tuple[Annotated[str, AfterValidator(check_mask)], ...],
        Field(max_length=MOST_LISTED),
        BeforeValidator(parse_texts),
    ] = setting(
        (),
        "Picture",
        "a region and its style: what is white in the picture MASK (`alpha`: what is opaque "
        "in the content) is painted "
        "as STYLE, or as what is white in STYLE_MASK of it; again for the next region. The "
        "rest is STYLE's",
        takes="MASK=STYLE or MASK=STYLE=STYLE_MASK",
        repeated=True,
        not_for=("texture",),
        control="drawn",
    )
    protect: str = setting(
        "",
        "Picture",
        "a mask of what must stay as it is (faces, text), or auto: the content weighs more there; "
        "auto finds what stands out, a person or an animal",
        takes="a path, or auto",
        path=True,
        not_for=("texture",),
        control="drawn",
    )
    protection: float = setting(
        10.0,
        "Picture",
        "how many times as much the content weighs there",
        ge=1,
        le=10_000,
        not_for=("texture",),
    )
    color: Literal["style", "content", "luminance"] = setting(
        "style",
        "Picture",
        "whose colors: the style's; the content's, given to the style before; or that, and "
        "only lightness painted",
        not_for=("texture",),
        control="first",
        aliases=("--colors", "--colour"),
    )
    color_match: Literal["root", "cholesky"] = setting(
        "root",
        "Picture",
        "how colors are given to the style: matrix square root or Cholesky",
        aliases=("--colour-match",),
    )
    palette: str = setting(
        "",
        "Picture",
        "a third picture, whose colors are given to the style",
        takes="a path",
        path=True,
        control="picture",
    )

    backbone: str = setting(
        "compact",
        "Network",
        "compact, vgg19, vgg19-keras, vgg19-torchvision, or a .safetensors, .pth or .h5 file",
        min_length=1,
        network=True,
    )
    pooling: Literal["max", "average"] = setting(
        "max", "Network", "how the network halves its features", network=True
    )
    padding: Literal["zeros", "replicate"] = setting(
        "replicate",
        "Network",
        "what is beyond the border: zeros, as published, or the picture itself, mirrored",
        network=True,
    )

    finish: Annotated[int, Field(ge=0, le=MOST_STEPS)] | Literal["auto"] = setting(
        "auto",
        "Network",
        "the last steps, made at full size with --finish-backbone (auto: 30 % of the steps where "
        "--backbone is compact, and all of them on a CUDA GPU; else 0)",
    )
    finish_backbone: str = setting(
        "vgg19", "Network", "the network of the last steps, as --backbone", min_length=1
    )

    content_layers: Layers = setting(
        {"relu4_2": 1.0},
        "Objective",
        "layers that hold the content, as conv4_2=1",
        not_for=("texture", "reconstruct"),
    )
    style_layers: Layers = setting(
        {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.0, "relu4_1": 1.0, "relu5_1": 1.0},
        "Objective",
        "layers that hold the style, as conv1_1=1,conv2_1=0.8",
        not_for=("reconstruct",),
    )
    content_weight: Weight = setting(
        1.0, "Objective", "weight of the content terms", not_for=("texture",)
    )
    style_weight: Weight = setting(2.5, "Objective", "weight of the style terms")
    look: Literal["subtle", "painted", "bold"] = setting(
        "painted",
        "Objective",
        "how much is painted: --strength times 0.4, 1 or 2",
        control="first",
    )
    strength: float = setting(
        1.0,
        "Objective",
        "more style above 1, more content below",
        usual=(0.1, 5),
        ge=0,
        le=1000,
        control="slider",
    )
    normalize: Literal["energy", "none"] = setting(
        "energy",
        "Objective",
        "divide every term by its own target's energy, or not (see docs/formulas.md)",
    )
    content_reduction: Literal["mean", "sum", "half-sum"] = setting(
        "mean",
        "Objective",
        "mean, sum or half the sum of squares (unless normalized)",
        not_for=("texture",),
    )
    style_reduction: Literal["mean", "sum"] = setting(
        "mean", "Objective", "mean or sum of squares over a Gram matrix (unless normalized)"
    )
    gram_divisor: Literal["chw", "hw", "sqrt-chw", "none"] = setting(
        "hw",
        "Objective",
        "what the Gram matrix is divided by: C*H*W, H*W, the root of C*H*W, or nothing",
    )
    feature_units: Literal["own", "normalized", "0-255"] = setting(
        "own",
        "Objective",
        "units of the features that the weights were chosen for (unless normalized)",
    )
    style_term: Literal["gram", "wasserstein", "moments", "sliced", "neighbors"] = setting(
        "wasserstein",
        "Objective",
        "what of the features is the style: Gram matrix, Wasserstein distance of mean and "
        "covariance, mean and "
        "deviation, sliced Wasserstein distance, nearest neighbors",
    )
    grain_weight: Weight = setting(
        1,
        "Objective",
        "weight of the grain: pixels that differ from their neighbors as the style's do",
        not_for=("reconstruct",),
    )
    edge_weight: Weight = setting(
        0.0,
        "Objective",
        "weight of the edges: the content's Laplacian is kept",
        not_for=("texture",),
    )
    tv_weight: Weight = setting(0.0, "Objective", "weight of total variation: smoother above 0")
    tv_form: Literal["squared", "absolute"] = setting(
        "squared", "Objective", "squared or absolute differences"
    )
    tv_reduction: Literal["mean", "sum"] = setting(
        "mean", "Objective", "mean or sum of the differences"
    )

    optimizer: Literal["lbfgs", "adam"] = setting("lbfgs", "Solver", "L-BFGS or Adam")
    steps: int = setting(100, "Solver", "solver steps in all, over all levels", ge=1, le=MOST_STEPS)
    learning_rate: float | None = setting(
        None, "Solver", "step length (default: 1 for L-BFGS, 0.02 for Adam)", gt=0, le=100
    )
    history: int = setting(10, "Solver", "pairs that L-BFGS remembers", ge=1, le=1000)
    precondition: float = setting(
        0.5,
        "Solver",
        "L-BFGS's first guess is 1/|f|^this at frequency f: coarse forms move farther than "
        "fine ones; 0: none",
        ge=0,
        le=2,
    )
    first_step: float = setting(
        0.01,
        "Solver",
        "root mean square of L-BFGS's first step; 0 (with --precondition 0): min(1, 1/|g|_1) "
        "g, as torch",
        ge=0,
        le=1,
    )
    start: Annotated[
        dict[str, Weight],
        Field(max_length=MOST_LISTED),
        BeforeValidator(parse_weights),
        AfterValidator(FrozenDict),
    ] = setting(
        {"content": 1.0},
        "Solver",
        "content, style, noise, a picture's path, or a blend as content=0.6,noise=0.4",
        not_for=("texture", "reconstruct"),
    )
    seed: int = setting(0, "Solver", "seed of the noise", ge=0, le=2**32 - 1)
    clamp: bool = setting(
        True, "Solver", "keep every pixel between black and white after each step"
    )
    levels: Annotated[int, Field(ge=1, le=MOST_LEVELS)] | Literal["auto"] = setting(
        "auto",
        "Solver",
        "sizes painted one after the other, small to large (auto: the first is about 128 pixels)",
    )
    level_ratio: float = setting(
        2.0,
        "Solver",
        "each level is this much larger than the one before",
        ge=MIN_LEVEL_RATIO,
        le=16,
    )
    step_ratio: float = setting(
        0.7, "Solver", "steps of a level against the level before", ge=0.01, le=16
    )

    @model_validator(mode="wrap")
    @classmethod
    def _one_line(cls, data: Any, handler: Any) -> Config:
        try:
            config: Config = handler(data)
        except ValidationError as error:
            raise explain(cls, error) from None
        config._check_together()
        return config

    def _check_together(self) -> None:
        if not self.content_layers and not self.style_layers:
            raise ConfigError(
                "--content-layers and --style-layers are both empty: name at least one layer"
            )
        if self.palette and self.color != "style":
            raise ConfigError(
                f"--palette and --color {self.color} are two answers to one question: give one",
                self.palette,
            )
        for name in self.start:
            if name.encode(errors="replace").decode() != name:  # half a character
                raise ConfigError(
                    f"--start names {shortened(name)}, which is no Unicode: rename that picture",
                    name,
                )
        if self.finish != "auto" and self.finish >= self.steps:
            raise ConfigError(
                f"--finish {self.finish} leaves none of {self.steps} steps for --backbone: give "
                f"fewer than {self.steps}",
                self.finish,
            )
        for name in ("blend", "start"):
            value = getattr(self, name)
            weights = value.values() if isinstance(value, dict) else value
            if (value or name == "start") and not sum(weights) > 0:
                raise ConfigError(
                    f"{option_name(name)} is {value}: its weights must add to more than 0", value
                )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show only what differs from the defaults."""
        return changed_fields(self)

    @property
    def style_factor(self) -> float:
        """What the weights of the style and grain terms are multiplied by."""
        return LOOKS[self.look] * self.strength

    @property
    def finish_steps(self) -> int:
        """How many of the steps are made with `finish_backbone`, the last ones."""
        usual = int(LAST * self.steps) if self.backbone == "compact" else 0
        steps = usual if self.finish == "auto" else self.finish
        return 0 if self.finish_backbone == self.backbone else steps

    @property
    def finisher(self) -> str:
        """The network that makes the last steps, or "" if there is none."""
        return self.finish_backbone if self.finish_steps else ""

    @property
    def later_steps(self) -> int:
        """How many steps a frame of a film has, unless told, that is not the first of a shot."""
        share = LAST if self.backbone == self.finish_backbone else 0.8  # of a still's steps
        return max(2, round(0.3 * (self.finish_steps or share * self.steps)))

    def changed(self, **settings: Any) -> Config:
        """This config with `settings` in place of its own, checked again. Raises ConfigError.

        Another optimizer takes its own learning rate, unless one is given with it.
        """
        if settings.get("optimizer", self.optimizer) != self.optimizer:
            settings = {"learning_rate": None, **settings}
        return Config(**{**self.model_dump(), **settings})


class Machine(BaseModel):
    """Where a painting is computed, and within which limits.

    Precision, tiles and threads change a painting by rounding only. Bad values raise ConfigError.

    Example:
        paint("photo.jpg", "painting.jpg", machine=Machine(device="cuda", memory="8GB"))
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    memory: Annotated[
        Annotated[int, Field(ge=1, le=MOST_BYTES, strict=True)] | Literal["auto"],
        BeforeValidator(parse_bytes),
    ] = setting(
        "auto",
        "Machine",
        "memory to paint in; a picture that takes more is painted in tiles (auto: what is free)",
        takes="bytes, as 4GB or 800MB, or auto",
    )
    tile: Annotated[int, Field(ge=16, le=65536)] | Literal["auto"] = setting(
        "auto", "Machine", "largest side of a tile in pixels (auto: what fits into the memory)"
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = setting(
        "auto",
        "Machine",
        "processors to compute on (auto: all that this process may use)",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto", "Machine", "where to compute", network=True
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "Machine",
        "of the network's features (auto: the fastest here, measured once)",
        network=True,
    )
    convolution: Literal["auto", "direct", "winograd", "int8"] = setting(
        "auto",
        "Machine",
        "how a CPU convolves: as the sum itself, by Winograd's algorithm (float32), or in 8-bit "
        "integers (auto: the fastest here, measured once)",
        network=True,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _one_line(cls, data: Any, handler: Any) -> Machine:
        try:
            return cast(Machine, handler(data))
        except ValidationError as error:
            raise explain(cls, error) from None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show only what differs from the defaults."""
        return changed_fields(self)

    def changed(self, **settings: Any) -> Machine:
        """Return this machine with `settings` in place of its own, checked again."""
        return Machine(**{**self.model_dump(), **settings})


def changed_by(
    settings: Mapping[str, Any], config: Config, machine: Machine | None = None
) -> tuple[Config, Machine]:
    """Return `config` and `machine` with `settings` of either in place of their own.

    Raises ConfigError.
    """
    known = [*Config.model_fields, *Machine.model_fields]
    if strange := [name for name in settings if name not in known]:
        raise no_setting(strange[0], known)
    of_machine = {name: value for name, value in settings.items() if name in Machine.model_fields}
    of_config = {name: value for name, value in settings.items() if name not in of_machine}
    return config.changed(**of_config), (machine or Machine()).changed(**of_machine)


for _model in (Config, Machine):
    describe(_model)
