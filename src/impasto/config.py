"""Config: every choice that decides the picture, with its type, default, range and help in one
place.

The command line's options and the settings inside a painting's file are made from these fields.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from impasto.errors import ConfigError, did_you_mean, shortened
from impasto.parsing import (
    CONVOLUTIONS,
    DEPTHS,
    LAYERS,
    WIDTHS,
    FrozenDict,
    check_mask,
    layer_name,
    parse_bytes,
    parse_layers,
    parse_numbers,
    parse_texts,
    parse_weights,
)

__all__ = [
    "CONVOLUTIONS",
    "DEPTHS",
    "GROUPS",
    "LAYERS",
    "MOST_LEVELS",
    "STARTS",
    "WIDTHS",
    "Config",
    "allowed",
    "layer_name",
    "option_name",
]

GROUPS = ("Picture", "Network", "Objective", "Solver", "Machine")
STARTS = ("content", "style", "noise")


def option_name(field: str) -> str:
    """A field's name as it is typed: "style_layers" is "--style-layers"."""
    return "--" + field.replace("_", "-")


MOST_LEVELS = 12
# nearer to 1 the levels would be nearly the same picture painted again and again
MIN_LEVEL_RATIO = 1.05
MOST_STEPS = 10_000_000
MOST_LISTED, MOST_SNAPSHOTS = 64, 10_000  # in one setting
MOST_BYTES = 1 << 60

Weight = Annotated[float, Field(ge=0, le=1_000_000_000_000)]
Layers = Annotated[dict[str, Weight], BeforeValidator(parse_layers), AfterValidator(FrozenDict)]


def _option(
    default: Any,
    group: str,
    help: str,
    takes: str = "",
    usual: tuple[float, ...] = (),
    **limits: Any,
) -> Any:
    """A field. takes: in words, where its type does not say it; usual: the values that a page
    offers first."""
    extra: dict[str, Any] = {"group": group, "takes": takes, "usual": list(usual)}
    return Field(default, description=help, json_schema_extra=extra, **limits)


class Config(BaseModel):
    """All settings of one painting. The defaults are the `default` preset; bad values raise
    ConfigError."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    size: Annotated[int, Field(ge=16, le=65536)] | Literal["original"] = _option(
        512,
        "Picture",
        "pixels on the painting's long side (see --size-of), or the content's own size",
        usual=(256, 384, 512, 768, 1024, 1536, 2048),
    )
    size_of: Literal["long", "at-most", "height"] = _option(
        "long",
        "Picture",
        "what --size measures: the long side, the long side but never enlarged, or the height",
    )
    style_shape: Literal["own", "content"] = _option(
        "own",
        "Picture",
        "keep the style picture's proportions, or squeeze it to the content's shape",
    )
    style_scale: float = _option(
        1.0,
        "Picture",
        "size of the brush: the style picture's long side against the painting's",
        usual=(0.25, 2.5),
        ge=0.1,
        le=10,
    )
    blend: Annotated[
        tuple[Weight, ...], Field(max_length=MOST_LISTED), BeforeValidator(parse_numbers)
    ] = _option((), "Picture", "share of each style picture, as 0.7,0.3 (default: equal shares)")
    fine: str = _option(
        "",
        "Picture",
        "a picture whose strokes are painted: the style of stages 1 and 2",
        takes="a path",
    )
    coarse: str = _option(
        "",
        "Picture",
        "a picture whose forms are painted: the style of stages 3 to 5",
        takes="a path",
    )
    mask: Annotated[
        tuple[Annotated[str, AfterValidator(check_mask)], ...],
        Field(max_length=MOST_LISTED),
        BeforeValidator(parse_texts),
    ] = _option(
        (),
        "Picture",
        "a region and its style: what is white in the picture MASK (`alpha`: what is opaque "
        "in the content) is painted "
        "as STYLE, or as what is white in STYLE_MASK of it; again for the next region. The "
        "rest is STYLE's",
        takes="MASK=STYLE or MASK=STYLE=STYLE_MASK",
    )
    protect: str = _option(
        "",
        "Picture",
        "a mask of what must stay as it is (faces, text): the content weighs more there",
        takes="a path",
    )
    protection: float = _option(
        10.0, "Picture", "how many times as much the content weighs there", ge=1, le=10_000
    )
    colour: Literal["style", "content", "luminance"] = _option(
        "style",
        "Picture",
        "whose colours: the style's; the content's, given to the style before; or that, and "
        "only lightness painted",
    )
    colour_match: Literal["root", "cholesky"] = _option(
        "root", "Picture", "how colours are given to the style: matrix square root or Cholesky"
    )
    palette: str = _option(
        "", "Picture", "a third picture, whose colours are given to the style", takes="a path"
    )

    backbone: str = _option(
        "compact",
        "Network",
        "compact, vgg19, vgg19-torchvision, or a .safetensors, .pth or .h5 file",
        min_length=1,
    )
    pooling: Literal["max", "average"] = _option(
        "max", "Network", "how the network halves its features"
    )
    padding: Literal["zeros", "replicate"] = _option(
        "replicate", "Network", "border of the first convolution"
    )

    content_layers: Layers = _option(
        {"relu4_2": 1.0}, "Objective", "layers that hold the content, as conv4_2=1"
    )
    style_layers: Layers = _option(
        {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.0, "relu4_1": 1.0, "relu5_1": 1.0},
        "Objective",
        "layers that hold the style, as conv1_1=1,conv2_1=0.8",
    )
    content_weight: Weight = _option(1.0, "Objective", "weight of the content terms")
    style_weight: Weight = _option(3.5, "Objective", "weight of the style terms")
    strength: float = _option(
        1.0, "Objective", "more style above 1, more content below", usual=(0.1, 5), ge=0, le=1000
    )
    normalize: Literal["energy", "none"] = _option(
        "energy",
        "Objective",
        "divide every term by its own target's energy, or not (see docs/formulas.md)",
    )
    content_reduction: Literal["mean", "sum", "half-sum"] = _option(
        "mean", "Objective", "mean, sum or half the sum of squares (unless normalized)"
    )
    style_reduction: Literal["mean", "sum"] = _option(
        "mean", "Objective", "mean or sum of squares over a Gram matrix (unless normalized)"
    )
    gram_divisor: Literal["chw", "hw", "sqrt-chw", "none"] = _option(
        "hw",
        "Objective",
        "what the Gram matrix is divided by: C*H*W, H*W, the root of C*H*W, or nothing",
    )
    feature_units: Literal["own", "normalized", "0-255"] = _option(
        "own",
        "Objective",
        "units of the features that the weights were chosen for (unless normalized)",
    )
    style_term: Literal["gram", "wasserstein", "moments", "sliced", "neighbours"] = _option(
        "gram",
        "Objective",
        "what of the features is the style: Gram matrix, Wasserstein distance of mean and "
        "covariance, mean and "
        "deviation, sliced Wasserstein distance, nearest neighbours",
    )
    grain_weight: Weight = _option(
        0.5,
        "Objective",
        "weight of the grain: pixels that differ from their neighbours as the style's do",
    )
    edge_weight: Weight = _option(
        0.0, "Objective", "weight of the edges: the content's Laplacian is kept"
    )
    tv_weight: Weight = _option(0.0, "Objective", "weight of total variation: smoother above 0")
    tv_form: Literal["squared", "absolute"] = _option(
        "squared", "Objective", "squared or absolute differences"
    )
    tv_reduction: Literal["mean", "sum"] = _option(
        "mean", "Objective", "mean or sum of the differences"
    )

    optimizer: Literal["lbfgs", "adam"] = _option("lbfgs", "Solver", "L-BFGS or Adam")
    steps: int = _option(120, "Solver", "solver steps in all, over all levels", ge=1, le=MOST_STEPS)
    learning_rate: float | None = _option(
        None, "Solver", "step length (default: 1 for L-BFGS, 0.02 for Adam)", gt=0, le=100
    )
    history: int = _option(10, "Solver", "pairs that L-BFGS remembers", ge=1, le=1000)
    precondition: float = _option(
        0.5,
        "Solver",
        "L-BFGS's first guess is 1/|f|^this at frequency f: coarse forms move farther than "
        "fine ones; 0: none",
        ge=0,
        le=2,
    )
    first_step: float = _option(
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
    ] = _option(
        {"content": 1.0},
        "Solver",
        "content, style, noise, a picture's path, or a blend as content=0.6,noise=0.4",
    )
    seed: int = _option(0, "Solver", "seed of the noise", ge=0, le=2**32 - 1)
    clamp: bool = _option(
        True, "Solver", "keep every pixel between black and white after each step"
    )
    levels: Annotated[int, Field(ge=1, le=MOST_LEVELS)] | Literal["auto"] = _option(
        "auto",
        "Solver",
        "sizes painted one after the other, small to large (auto: the first is about 128 pixels)",
    )
    level_ratio: float = _option(
        2.0,
        "Solver",
        "each level is this much larger than the one before",
        ge=MIN_LEVEL_RATIO,
        le=16,
    )
    step_ratio: float = _option(
        1.5, "Solver", "steps of a level against the level before", ge=0.01, le=16
    )
    save_every: int = _option(
        0,
        "Solver",
        "write a snapshot every so many steps (command line only; 0: none)",
        ge=0,
        le=MOST_STEPS,
    )

    save_at: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MOST_STEPS)], ...],
        Field(max_length=MOST_SNAPSHOTS),
        BeforeValidator(parse_numbers),
    ] = _option(
        (),
        "Solver",
        "write a snapshot at these steps, as 3000,9000 (command line only)",
        takes="steps, as 3000,9000",
    )

    memory: Annotated[
        Annotated[int, Field(ge=1, le=MOST_BYTES, strict=True)] | Literal["auto"],
        BeforeValidator(parse_bytes),
    ] = _option(
        "auto",
        "Machine",
        "memory to paint in; a picture that takes more is painted in tiles (auto: what is free)",
        takes="bytes, as 4GB or 800MB, or auto",
    )
    tile: Annotated[int, Field(ge=16, le=65536)] | Literal["auto"] = _option(
        "auto", "Machine", "largest side of a tile in pixels (auto: what fits into the memory)"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = _option("auto", "Machine", "where to compute")
    precision: Literal["auto", "float32", "bfloat16"] = _option(
        "auto",
        "Machine",
        "of the network's features: bfloat16 where the hardware multiplies it fast, else float32",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _one_line(cls, data: Any, handler: Any) -> Config:
        try:
            config: Config = handler(data)
        except ValidationError as error:
            raise _explain(error) from None
        config._check_together()
        return config

    def _check_together(self) -> None:
        if not self.content_layers and not self.style_layers:
            raise ConfigError(
                "--content-layers and --style-layers are both empty: name at least one layer"
            )
        if self.palette and self.colour != "style":
            raise ConfigError(
                f"--palette and --colour {self.colour} are two answers to one question: give "
                "one of them",
                self.palette,
            )
        for name in self.start:
            if name.encode(errors="replace").decode() != name:  # half a character
                raise ConfigError(
                    f"--start names {shortened(name)}, which is no Unicode: rename that picture",
                    name,
                )
        beyond = [step for step in self.save_at if step > self.steps]
        if beyond:
            raise ConfigError(
                f"--save-at {beyond[0]} is beyond the last of {self.steps} steps: choose "
                "earlier ones",
                beyond,
            )
        for name in ("blend", "start"):
            value = getattr(self, name)
            weights = value.values() if isinstance(value, dict) else value
            if (value or name == "start") and not sum(weights) > 0:
                raise ConfigError(
                    f"{option_name(name)} is {value}: its weights must add to more than 0", value
                )

    def changed(self, **settings: Any) -> Config:
        """This config with `settings` in place of its own, checked again. Raises ConfigError.

        Another optimizer takes its own learning rate, unless one is given with it.
        """
        if settings.get("optimizer", self.optimizer) != self.optimizer:
            settings = {"learning_rate": None, **settings}
        return Config(**{**self.model_dump(), **settings})


@lru_cache(maxsize=1)  # it takes some milliseconds, and every refused value asks for it
def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = Config.model_json_schema()["properties"]
    return found


def allowed(field: str) -> str:
    """What a field takes, in words, from its schema: "16 to 65536, or original"."""
    schema = _schemas()[field]
    if schema["takes"]:
        return str(schema["takes"])
    parts = [_allowed(part) for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    return ", or ".join(parts)


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return " or ".join(schema.get("enum", [schema.get("const")]))
    kind = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "a name or path",
    }
    text = kind.get(
        schema["type"],
        "weights from 0, as NAME=1,NAME=0.5"
        if schema["type"] == "object"
        else "weights, as 0.7,0.3",
    )
    above = "exclusiveMinimum" in schema
    low, high = (
        schema["exclusiveMinimum"] if above else schema.get("minimum"),
        schema.get("maximum"),
    )
    if high is not None:
        return (
            f"{text} above {low:,} up to {high:,}" if above else f"{text} from {low:,} to {high:,}"
        )
    return text if low is None else f"{text} from {low:,}"


def _explain(error: ValidationError) -> ConfigError:
    """pydantic's first complaint as one line: the option, its value, what it takes."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        given = shortened(first["input"])
        return ConfigError(
            f"settings are {given}: give a mapping of names to values", first["input"]
        )
    name, value = str(first["loc"][0]), first["input"]
    if name not in Config.model_fields:
        known = list(Config.model_fields)
        return ConfigError(
            f"no setting {shortened(name)}: {did_you_mean(name, known)}", name, known
        )
    inside = [str(part) for part in first["loc"][1:] if str(part) in LAYERS]
    where = f"{option_name(name)} {' '.join(inside)}".strip()
    if first["type"] == "too_long":
        most = first["ctx"]["max_length"]
        return ConfigError(
            f"{where} lists {len(value):,} things: it takes at most {most:,}", value, most
        )
    return ConfigError(
        f"{where} is {shortened(value)}: it takes {allowed(name)}", value, allowed(name)
    )
