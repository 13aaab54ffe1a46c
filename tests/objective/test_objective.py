"""The objective's written-out gradient against autograd's, the tape it runs on, and what bfloat16
may cost."""

import weakref

import pytest
import torch
import torch.nn.functional as F

from configs import gram_config, position_factor
from framing import seen
from grains import flatness_between, grain_between
from impasto import Config
from impasto.backbone.int8 import has_int8
from impasto.backbone.pooling import AVERAGE_GAIN
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.images.read import resize
from impasto.images.samples import sample_portrait, sample_style
from impasto.objective import losses
from impasto.objective.losses import (
    content_loss,
    differences,
    energy,
    gram,
    second_moment_sum,
    style_loss,
    total_variation,
)
from impasto.objective.objective import Objective
from impasto.objective.regions import Region, StyleSource
from impasto.painting.problem import regions_at
from impasto.painting.run import Run
from layouts import NAMES, random_kernels

WEIGHTS = Weights("random", random_kernels(), "BGR", (0.4, 0.45, 0.5), (4.0, 4.5, 5.0))
LAYERS = {
    # deep and shallow, before and after ReLU, before a pooling and not, one that both kinds of
    # terms want
    "content_layers": "conv1_2,relu4_2=2,conv4_2,relu3_4",
    "style_layers": "relu1_1,conv1_2=0.5,relu1_2,relu2_2,conv3_4=0.3,relu4_2,conv5_1,relu5_4=2",
}
FORMS = {
    "default": {"tv_weight": 0.3, "grain_weight": 2, "strength": 1.7, "blend": "1,3"},
    "default-rough": {"tv_weight": 2, "tv_form": "absolute", "tv_reduction": "sum", "blend": "1,0"},
    "plain": {
        "normalize": "none",
        "gram_divisor": "chw",
        "content_reduction": "half-sum",
        "style_reduction": "sum",
        "tv_weight": 0.01,
        "tv_form": "absolute",
        "grain_weight": 2,
        "style_weight": 4,
        "strength": 0.3,
    },
    "plain-0-255": {
        "normalize": "none",
        "gram_divisor": "sqrt-chw",
        "feature_units": "0-255",
        "content_weight": 0.2,
        "tv_weight": 1,
        "tv_reduction": "sum",
        "grain_weight": 0,
    },
}
UNITS = {"own": 1.0, "0-255": 255 / 4.5}


def picture(seed: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(
        1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


X, CONTENT, STYLES = (
    picture(1, 37, 51),
    picture(2, 37, 51),
    [picture(3, 64, 33), picture(4, 23, 40)],
)


def shared(config: Config, styles: list[torch.Tensor]) -> list[Region]:
    """The styles, blended as the config says."""
    weights = config.blend or [1.0] * len(styles)
    return [
        Region(
            "",
            None,
            [StyleSource(each, weight) for each, weight in zip(styles, weights, strict=True)],
        )
    ]


def plainly(
    config: Config,
    backbone: Backbone,
    content: torch.Tensor,
    styles: list[torch.Tensor],
    x: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """The weighted terms at x as the formulas read, for autograd to see."""
    normalized = config.normalize == "energy"
    layers = [*config.content_layers, *config.style_layers]
    units = UNITS[config.feature_units]
    here, there, *patterns = (
        {layer: units * f for layer, f in seen(backbone, each, layers).items()}
        for each in (x, content, *styles)
    )
    weights = [
        weight / sum(config.blend or [len(styles)])
        for weight in config.blend or [1.0] * len(styles)
    ]

    def blended(values: list[torch.Tensor]) -> torch.Tensor:
        return sum(weight * value for weight, value in zip(weights, values, strict=True))

    def pattern_loss(a: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (
            (a - target).square().sum() / energy(target)
            if normalized
            else style_loss(a, target, config.style_reduction)
        )

    terms: dict[str, torch.Tensor] = {}
    for layer, weight in config.content_layers.items():
        f, target = here[layer], there[layer]
        loss = (f - target).square().sum() / energy(target)
        if not normalized:
            loss = content_loss(f, target, config.content_reduction)
        terms[f"content {layer}"] = config.content_weight * weight * loss
    for layer, weight in config.style_layers.items():
        target = blended([gram(each[layer], config.gram_divisor) for each in patterns])
        loss = pattern_loss(gram(here[layer], config.gram_divisor), target)
        weight *= position_factor(config, layer, here[layer])
        terms[f"style {layer}"] = config.strength * config.style_weight * weight * loss
    if config.grain_weight:
        loss = grain_between(
            gram(differences(x)), blended([gram(differences(each)) for each in styles])
        )
        terms["grain"] = config.strength * config.grain_weight * loss
        loss = flatness_between(differences(x), [differences(each) for each in styles], blended)
        terms["flatness"] = config.strength * config.grain_weight * loss
    if config.tv_weight:
        form, reduction = config.tv_form, config.tv_reduction
        unit = (
            blended([total_variation(each, form, reduction) for each in styles])
            if normalized
            else 1
        )
        terms["tv"] = config.tv_weight * total_variation(x, form, reduction) / unit
    return terms


def network(pixels: torch.Tensor, pooling: str, padding: str) -> dict[str, torch.Tensor]:
    """Every layer of WEIGHTS, in plain torch."""
    mean, scale = (torch.tensor(each).view(1, 3, 1, 1) for each in (WEIGHTS.mean, WEIGHTS.scale))
    y = (pixels.flip(1) - mean) * scale
    found: dict[str, torch.Tensor] = {}
    for name, (kernel, bias) in WEIGHTS.kernels.items():
        if name.endswith("_1") and name != "conv1_1":
            y = F.max_pool2d(y, 2) if pooling == "max" else F.avg_pool2d(y, 2) * AVERAGE_GAIN
        first = name == "conv1_1" and padding == "replicate"
        y = F.pad(y, (1, 1, 1, 1), mode="replicate" if first else "constant")
        found[name] = F.conv2d(y, kernel.to(y), bias.to(y))
        y = found[name.replace("conv", "relu")] = found[name].relu()
    return found


# --- the gradient


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("form", FORMS)
def test_value_and_gradient_are_those_of_the_formulas(
    form: str, pooling: str, padding: str
) -> None:
    config = gram_config(**LAYERS, **FORMS[form])
    backbone = Backbone(WEIGHTS, pooling=pooling, padding=padding, dtype=torch.float64)
    x = X.clone().requires_grad_()
    terms = plainly(config, backbone, CONTENT, STYLES, x)
    total = sum(terms.values())
    (expected,) = torch.autograd.grad(total, x)
    value, gradient = Objective(config, backbone, CONTENT, shared(config, STYLES)).evaluate(X)
    assert set(value.terms) == set(terms)
    for name, term in terms.items():
        torch.testing.assert_close(value.terms[name], term.detach(), rtol=1e-12, atol=0, msg=name)
    torch.testing.assert_close(value.total, total.detach(), rtol=1e-12, atol=0)
    assert (gradient - expected).norm() < 1e-12 * expected.norm()


@pytest.mark.parametrize("form", FORMS)
def test_in_float32_the_gradient_is_that_of_float64(form: str) -> None:
    config = gram_config(**LAYERS, **FORMS[form])
    (exact, expected), (value, gradient) = (
        Objective(
            config,
            Backbone(WEIGHTS, dtype=dtype),
            CONTENT.to(dtype),
            [each.to(dtype) for each in STYLES],
        ).evaluate(X.to(dtype))
        for dtype in (torch.float64, torch.float32)
    )
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(value.total.double(), exact.total, rtol=1e-5, atol=0)
    assert (gradient - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("size", [(16, 16), (16, 47), (33, 17)])
@pytest.mark.parametrize(
    ("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.3)]
)
def test_the_smallest_pictures_have_a_gradient_too(
    size: tuple[int, int], dtype: torch.dtype, near: float
) -> None:
    # the deepest maps are one position high or wide
    config, wide = (
        gram_config(**LAYERS, tv_weight=1),
        torch.float64 if dtype == torch.float64 else torch.float32,
    )
    x, content, style = (picture(k, *size) for k in (1, 2, 3))
    at = x.clone().requires_grad_()
    terms = plainly(
        config, Backbone(WEIGHTS, pooling="average", dtype=torch.float64), content, [style], at
    )
    (expected,) = torch.autograd.grad(sum(terms.values()), at)
    backbone = Backbone(WEIGHTS, pooling="average", dtype=dtype)
    _, gradient = Objective(config, backbone, content.to(wide), [style.to(wide)]).evaluate(
        x.to(wide)
    )
    assert (gradient - expected).norm() < near * expected.norm()


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("size", [(32, 48), (37, 51), (31, 16)])
def test_the_way_back_is_that_of_plain_torch(
    size: tuple[int, int], pooling: str, padding: str
) -> None:
    # autograd's own way through a network that is written here, for a random function of every
    # layer
    pixels = picture(1, *size).requires_grad_()
    layers = [*NAMES, *(name.replace("conv", "relu") for name in NAMES)]
    theirs = network(pixels, pooling, padding)
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: torch.randn(theirs[name].shape, generator=generator, dtype=torch.float64)
        for name in layers
    }
    backbone = Backbone(WEIGHTS, pooling=pooling, padding=padding, dtype=torch.float64)
    for wanted in (
        ["conv1_1"],
        ["relu2_2"],
        ["conv3_4"],
        ["relu5_1", "relu1_1"],
        ["conv4_2", "relu1_2"],
        layers,
    ):
        (expected,) = torch.autograd.grad(
            sum((theirs[k] * weights[k]).sum() for k in wanted), pixels, retain_graph=True
        )
        features, tape = backbone.record(pixels, wanted)
        for name in wanted:
            torch.testing.assert_close(
                features[name], theirs[name].detach(), rtol=1e-12, atol=1e-12
            )
        gradient = tape.gradient(
            lambda name, g: weights[name].clone() if g is None else g + weights[name]
        )
        torch.testing.assert_close(
            gradient, expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max())
        )


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_autograd_may_come_twice(pooling: str) -> None:
    backbone = Backbone(WEIGHTS, pooling=pooling, dtype=torch.float64)
    x = X.clone().requires_grad_()
    found = backbone(x, ["relu1_2", "conv4_2"])
    total = sum(each.square().sum() for each in found.values())
    first, second = (torch.autograd.grad(total, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_a_layer_that_nothing_depends_on_is_no_matter() -> None:
    backbone = Backbone(WEIGHTS, dtype=torch.float64)
    x = X.clone().requires_grad_()
    (alone,) = torch.autograd.grad(backbone(x, ["conv2_1"])["conv2_1"].square().sum(), x)
    (among,) = torch.autograd.grad(
        backbone(x, ["relu1_1", "conv2_1", "relu5_1"])["conv2_1"].square().sum(), x
    )
    torch.testing.assert_close(among, alone)


# --- the tape


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_recorded_layers_are_those_of_a_call(
    dtype: torch.dtype, pooling: str, padding: str
) -> None:
    backbone = Backbone(WEIGHTS, pooling=pooling, padding=padding, dtype=dtype)
    layers = ["conv1_1", "relu1_2", "conv2_2", "relu2_2", "relu3_1", "conv5_1"]
    found, expected = backbone.record(X.float(), layers)[0], backbone(X.float(), layers)
    assert list(found) == layers
    for name in layers:
        assert torch.equal(found[name], expected[name]), name
        assert not found[name].requires_grad


def test_a_tape_holds_a_trace_for_each_convolution_up_to_the_last() -> None:
    _, tape = Backbone(WEIGHTS).record(X.float(), ["relu2_1", "conv3_2"])
    assert [trace.name for trace in tape.traces] == list(NAMES[: NAMES.index("conv3_2") + 1])


def test_the_way_back_frees_what_it_has_passed() -> None:
    features, tape = Backbone(WEIGHTS).record(X.float(), ["relu1_1", "conv3_1", "relu5_1"])
    maps = {trace.name: weakref.ref(trace.y) for trace in tape.traces}
    assert all(there() is not None for there in maps.values())
    alive: dict[str, list[str]] = {}

    def add(layer: str, g: torch.Tensor | None) -> torch.Tensor:
        alive[layer] = [name for name, there in maps.items() if there() is not None]
        x = features.pop(layer)
        return x if g is None else g + x

    tape.gradient(add)
    assert alive == {
        "relu5_1": list(NAMES[: NAMES.index("conv5_1") + 1]),
        "conv3_1": list(NAMES[: NAMES.index("conv3_1") + 1]),
        "relu1_1": ["conv1_1"],
    }
    assert not tape.traces
    assert all(there() is None for there in maps.values())


def test_a_tape_leads_back_once() -> None:
    features, tape = Backbone(WEIGHTS).record(X.float(), ["relu2_1"])
    tape.gradient(lambda layer, _: features[layer])
    with pytest.raises(RuntimeError, match="a tape leads back once"):
        tape.gradient(lambda layer, _: features[layer])


def test_an_evaluation_keeps_no_features(monkeypatch) -> None:
    maps: list[weakref.ref[torch.Tensor]] = []
    record = Backbone.record

    def watched(self: Backbone, *arguments):
        features, tape = record(self, *arguments)
        maps.extend(
            weakref.ref(each) for each in [*features.values(), *(trace.y for trace in tape.traces)]
        )
        return features, tape

    monkeypatch.setattr(Backbone, "record", watched)
    objective = Objective(gram_config(), Backbone(WEIGHTS), CONTENT.float(), [STYLES[0].float()])
    kept = objective.evaluate(X.float())
    assert maps
    assert kept[1].shape == X.shape
    assert all(there() is None for there in maps)


# --- bfloat16


@pytest.mark.parametrize("channels", [1, 3, 24, 64])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 99), (10, 10), (37, 41), (30, 50), (7, 29)]
)
@pytest.mark.parametrize("batch", [1, 2])
def test_products_of_bfloat16_features_are_nearly_exact(
    channels: int, height: int, width: int, batch: int, monkeypatch
) -> None:
    # 1517 = 15 blocks of 101 and 2 left over, 1500 = 15 of 100, 203 = 2 of 101 and 1, the others a
    # single one
    monkeypatch.setattr(losses, "BLOCK", 100)
    generator = torch.Generator().manual_seed(channels)
    features = torch.randn(batch, channels, height, width, generator=generator).abs().bfloat16()
    f = features.double().flatten(2)
    expected = f @ f.mT
    for memory_format in (torch.channels_last, torch.contiguous_format):
        found = second_moment_sum(features.contiguous(memory_format=memory_format))
        assert found.dtype == torch.float32
        assert ((found - expected).abs() < 3e-5 * expected).all()
    torch.testing.assert_close(
        gram(features, "chw").double(), expected / f[0].numel(), rtol=3e-5, atol=0
    )


def test_a_block_of_the_usual_length_is_no_less_exact() -> None:
    features = (
        torch.randn(1, 8, 1, 2 * losses.BLOCK + 5, generator=torch.Generator().manual_seed(1))
        .abs()
        .bfloat16()
    )
    f = features.double().flatten(2)
    expected = f @ f.mT
    assert ((second_moment_sum(features) - expected).abs() < 3e-5 * expected).all()


def test_products_of_differing_signs_are_as_near_for_their_size(monkeypatch) -> None:
    monkeypatch.setattr(losses, "BLOCK", 100)
    features = torch.randn(1, 24, 37, 41, generator=torch.Generator().manual_seed(1)).bfloat16()
    f = features.double().flatten(2)
    size = f.norm(dim=2)
    assert (
        (second_moment_sum(features) - f @ f.mT).abs() < 3e-5 * size[:, :, None] * size[:, None]
    ).all()


def test_the_products_of_no_positions_are_zero() -> None:
    # as in a tile that holds no position of a deep layer
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert torch.equal(
            second_moment_sum(torch.ones(1, 4, 0, 3, dtype=dtype)).float(), torch.zeros(1, 4, 4)
        ), dtype


@pytest.mark.slow
@pytest.mark.parametrize("way", ["bfloat16", "int8"])
@pytest.mark.parametrize("term", ["gram", "wasserstein"])
def test_a_painting_of_rounded_numbers_is_as_good_as_one_in_float32(term: str, way: str) -> None:
    if way == "int8" and not has_int8():
        pytest.skip("this processor has no products of bytes")
    config = gram_config(size=128, levels=1, steps=60, backbone="compact", style_term=term)
    settings = {"pooling": config.pooling, "padding": config.padding}
    weights = load("compact")
    exact = Backbone(weights, **settings)
    convolution = "int8" if way == "int8" else "direct"
    rough = Backbone(weights, dtype=torch.bfloat16, convolution=convolution, **settings)
    runs = [
        Run.prepare(sample_portrait(), sample_style("strokes"), config, backbone=each)
        for each in (exact, rough)
    ]
    ones, problem = [run.paint() for run in runs], runs[0].problem
    (level,) = problem.levels
    content = resize(problem.content.pixels, level.height, level.width)
    objective = Objective(config, exact, content, regions_at(problem, level, config))
    values = [float(objective(each.pixels).total) for each in ones]
    # it is the objective that was painted with
    assert values[0] == pytest.approx(ones[0].value, rel=1e-5)
    assert values[1] < 1.02 * values[0]
