"""A network that another has taught: its distances are measured in the teacher's metric."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from impasto import Config
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.errors import WeightsError
from impasto.objective.objective import Objective
from impasto.objective.style_distances import Moments, gram_distance, pulled_back, seen_through
from impasto.objective.style_distances import wasserstein_distance as wasserstein

LAYERS = {"content_layers": "relu3_1", "style_layers": "relu1_1,relu2_1"}


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def taught(tiny_weights) -> Backbone:
    """The tiny network with a metric at every layer."""
    weights = load(str(tiny_weights))
    metrics = {
        name: random(k, len(bias), len(bias)) - 0.3
        for k, (name, (_, bias)) in enumerate(weights.kernels.items())
    }
    return Backbone(replace(weights, metrics=metrics))


@pytest.mark.parametrize("distance", [gram_distance, wasserstein])
def test_moments_seen_through_a_metric_are_those_of_features_that_it_multiplied(distance) -> None:
    metric = random(0, 5, 5).double()
    x, target = random(1, 5, 400).double(), random(2, 5, 300).double()

    def moments(features: torch.Tensor) -> Moments:
        return Moments(features.mean(1)[None], (features @ features.mT / features.shape[1])[None])

    seen = seen_through(moments(target), metric)
    assert torch.allclose(seen.second, moments(metric @ target).second)
    assert torch.allclose(seen.mean, moments(metric @ target).mean)
    own = moments(x)
    mean, second = own.mean.clone().requires_grad_(), own.second.clone().requires_grad_()
    value, by_mean, by_second = pulled_back(distance(seen_through(own, metric), seen), metric)
    autograd = distance(seen_through(Moments(mean, second), metric), seen)[0]
    assert torch.allclose(value, autograd)
    if distance is gram_distance:  # the root's way back is no graph of autograd's
        autograd.backward()
        assert torch.allclose(by_second, second.grad)
        assert by_mean is None


def test_the_objective_is_that_of_features_multiplied_by_the_metric(taught) -> None:
    config = Config(**LAYERS, style_term="gram", grain_weight=0, style_weight=2)
    content, style, x = random(1, 1, 3, 40, 48), random(2, 1, 3, 36, 36), random(3, 1, 3, 40, 48)
    loss, gradient = Objective(config, taught, content, [style]).evaluate(x)

    def seen(pixels: torch.Tensor, layer: str) -> torch.Tensor:
        metric = taught.weights.metrics[layer.replace("relu", "conv")]
        return F.conv2d(taught(pixels, [layer])[layer], metric[:, :, None, None])

    def gram(pixels: torch.Tensor, layer: str) -> torch.Tensor:
        features = seen(pixels, layer).flatten(2)[0]
        return features @ features.mT / features.shape[1]

    point = x.clone().requires_grad_()
    target = seen(content, "relu3_1")
    total = (seen(point, "relu3_1") - target).square().sum() / target.square().sum()
    for layer in ("relu1_1", "relu2_1"):
        wanted = gram(style, layer)
        total = total + 2 * (gram(point, layer) - wanted).square().sum() / wanted.square().sum()
    total.backward()
    assert float(loss.total) == pytest.approx(float(total.detach()), rel=1e-4)
    assert (gradient - point.grad).norm() < 1e-3 * point.grad.norm()


@pytest.mark.parametrize("term", ["gram", "wasserstein", "moments"])
def test_tiles_make_no_difference(taught, term: str) -> None:
    config = Config(**LAYERS, style_term=term)
    content, style, x = random(1, 1, 3, 96, 80), random(2, 1, 3, 90, 90), random(3, 1, 3, 96, 80)
    protect = torch.zeros(1, 1, 96, 80)
    protect[..., :40] = 1
    whole, tiled = (
        Objective(config, taught, content, [style], tile_size, protect).evaluate(x)
        for tile_size in (None, 32)
    )
    assert float(whole[0].total) == pytest.approx(float(tiled[0].total), rel=1e-4)
    assert (whole[1] - tiled[1]).norm() < 1e-3 * whole[1].norm()


def test_layers_before_relu_have_no_metric(taught) -> None:
    plain = Backbone(replace(taught.weights, metrics={}))
    config = Config(content_layers="conv3_1", style_layers="conv1_1", grain_weight=0)
    content, style, x = (random(k, 1, 3, 32, 32) for k in (1, 2, 3))
    with_metric, without = (
        Objective(config, network, content, [style])(x).total for network in (taught, plain)
    )
    assert torch.equal(with_metric, without)


def test_a_metric_is_read_from_the_file_and_must_fit(tiny_weights, tmp_path) -> None:
    tensors = load_file(tiny_weights)
    width = len(tensors["conv1_1.bias"])
    said = {"input": "(RGB in [0, 1] - 0.45) / 0.226"}
    save_file({**tensors, "conv1_1.metric": 2 * torch.eye(width)}, tmp_path / "a.safetensors", said)
    weights = load(str(tmp_path / "a.safetensors"))
    assert torch.equal(weights.metrics["conv1_1"], 2 * torch.eye(width))
    assert weights.sha256 != load(str(tiny_weights)).sha256
    save_file({**tensors, "conv1_1.metric": torch.eye(width + 1)}, tmp_path / "b.safetensors", said)
    with pytest.raises(WeightsError, match="the metric of conv1_1 has shape"):
        load(str(tmp_path / "b.safetensors"))
