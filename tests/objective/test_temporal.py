"""The term that holds a frame of a film to the earlier painting."""

import pytest
import torch

from configs import gram_config
from impasto.backbone.load import load_backbone
from impasto.config import Machine
from impasto.objective.objective import Objective
from impasto.objective.pixel_terms import Reference, Temporal
from impasto.objective.tiles import cut


def test_its_value_by_hand():
    pixels = torch.zeros(1, 3, 16, 16)
    known = torch.zeros(1, 1, 16, 16)
    known[..., 0, :2] = 1  # two pixels
    x = torch.zeros(1, 3, 16, 16)
    x[0, :, 0, 0] = torch.tensor([1.0, 2.0, 0.0])
    x[0, :, 5, 5] = 7.0  # not known
    term, (tile,) = Temporal(Reference(pixels, known, 4.0)), cut(16, 16, 16, ["relu1_1"])
    # 4 (1 + 4) / 2
    assert float(term.value(term.measure(x, tile))) == 10.0


def test_its_gradient_is_that_of_autograd():
    generator = torch.Generator().manual_seed(0)
    x, pixels = (torch.rand(1, 3, 20, 24, generator=generator) for _ in range(2))
    known = (torch.rand(1, 1, 20, 24, generator=generator) > 0.4).float()
    term, (tile,) = Temporal(Reference(pixels, known, 3.0)), cut(20, 24, 24, ["relu1_1"])
    x.requires_grad_()
    (3.0 * (known * (x - pixels) ** 2).sum() / known.sum()).backward()
    total = term.measure(x.detach(), tile)
    torch.testing.assert_close(term.add_gradient(None, x.detach(), tile, total), x.grad)


def test_nothing_known_asks_for_nothing():
    x = torch.rand(1, 3, 16, 16)
    term = Temporal(Reference(torch.zeros_like(x), torch.zeros(1, 1, 16, 16), 3.0))
    (tile,) = cut(16, 16, 16, ["relu1_1"])
    assert float(term.value(term.measure(x, tile))) == 0
    assert not term.add_gradient(None, x, tile, term.measure(x, tile)).any()


@pytest.mark.parametrize("tile_size", [64, 80])
def test_it_is_exact_over_tiles(tiny_weights, tile_size):
    generator = torch.Generator().manual_seed(1)
    config = gram_config(backbone=str(tiny_weights), style_layers="relu1_1,relu2_1", edge_weight=0)
    config = config.changed(content_layers="relu2_1")
    backbone = load_backbone(config, Machine(device="cpu", precision="float32"))
    content, style, x, pixels = (torch.rand(1, 3, 100, 130, generator=generator) for _ in range(4))
    reference = Reference(pixels, (pixels[:, :1] > 0.3).float(), 30.0)
    whole, tiled = (
        Objective(config, backbone, content, [style], size, reference=reference).evaluate(x)
        for size in (None, tile_size)
    )
    torch.testing.assert_close(whole[0].terms["temporal"], tiled[0].terms["temporal"])
    torch.testing.assert_close(whole[1], tiled[1], rtol=1e-4, atol=1e-7)
