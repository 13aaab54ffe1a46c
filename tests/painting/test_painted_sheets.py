"""Small paintings for a sheet: side by side in threads, or several in one pass."""

from contextlib import closing
from functools import partial

import pytest
import torch

from impasto.backbone.load import load_backbone
from impasto.config import Config, Machine
from impasto.errors import ConfigError
from impasto.images.read import read
from impasto.painting.run import Run
from impasto.painting.sheet import paint_sheet

MACHINE = Machine(device="cpu", precision="float32")


@pytest.fixture
def prepare(tiny_weights, photo, style):
    """What prepares six runs: each has another strength, and the fourth cannot be painted."""
    config = Config(backbone=str(tiny_weights), size=32, steps=2, levels=1, finish=0)
    network = load_backbone(config, MACHINE)

    def run(number: int) -> Run:
        if number == 3:
            raise ConfigError("not this one")
        own = config.changed(strength=1 + number)
        return Run.prepare(read(photo), [read(style)], own, MACHINE, backbone=network)

    return [partial(run, number) for number in range(6)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # of the second only the order of the work
def test_each_is_the_painting_that_is_painted_alone(prepare, device):
    found, last = {}, 0.0
    for progress in paint_sheet(prepare, torch.device(device)):
        assert progress.fraction >= last
        last = progress.fraction
        found |= progress.finished
        assert progress.done == len(found)
    assert last == 1.0
    assert found.pop(3) == "not this one"
    for number, image in found.items():
        assert image.tobytes() == prepare[number]().paint().image.tobytes()


def test_it_ends_when_it_is_closed(prepare):
    with closing(paint_sheet(prepare, torch.device("cpu"))) as painting:
        assert next(painting).done in (0, 1)
