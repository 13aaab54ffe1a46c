"""The last steps by another network: which they are, that they count, and the same bytes again."""

import json

import pytest
import torch

from impasto import Config, ConfigError, Machine, paint
from impasto.backbone.load import load_backbone, load_weights, network_key, settled
from impasto.images.read import read, read_settings
from impasto.objective.objective import Objective
from impasto.painting.batched import batch_key, paint_batched
from impasto.painting.levels import levels_for
from impasto.painting.run import Run
from layouts import random_kernels, write_safetensors
from machines import EXACT


@pytest.fixture(scope="module")
def finisher(tmp_path_factory) -> str:
    """Another network than the tiny one."""
    path = tmp_path_factory.mktemp("finisher") / "other.safetensors"
    return str(write_safetensors(path, random_kernels(seed=7)))


@pytest.fixture
def config(tiny_weights, finisher) -> Config:
    settings = {"size": 96, "steps": 12, "levels": 2, "level_ratio": 1.4, "finish": 4}
    return Config(backbone=str(tiny_weights), finish_backbone=finisher, **settings)


def test_some_of_compacts_steps_are_the_true_network_s() -> None:
    assert Config().finish_steps == 30
    assert Config().finish_backbone == "vgg19"
    assert Config(steps=2).finish_steps == 0
    assert Config(backbone="vgg19").finish_steps == 0
    assert Config(backbone="vgg19", finish=9).finish_steps == 0  # it is the same network
    assert Config(backbone="other.pth").finish_steps == 0
    assert Config(backbone="other.pth", finish=9).finish_steps == 9
    assert Config(finish=0).finish_steps == 0


def test_steps_are_left_for_the_other_network() -> None:
    with pytest.raises(ConfigError, match=r"--finish 8 leaves none of 8 steps for --backbone"):
        Config(finish=8, steps=8)


def test_the_last_level_is_the_finisher_s(config, photo) -> None:
    levels = levels_for(read(photo), config)
    assert [(level.steps, level.finish) for level in levels][-1] == (4, True)
    assert not any(level.finish for level in levels[:-1])
    assert sum(level.steps for level in levels) == 12
    assert levels[-1][:2] == levels[-2][:2]


def test_the_last_steps_lower_the_finisher_s_own_objective(config, photo, style) -> None:
    run = Run.prepare(photo, style, config, EXACT)
    assert run.backbone.finisher is not None
    steps = list(run.steps())
    last = steps[-1].level
    assert [step.level for step in steps[-5:]] == [last - 1, last, last, last, last]
    values = [float(step.value) for step in steps[-4:]]
    assert values[-1] < values[0]
    painting = run.painting(steps[-1])
    assert (painting.settings["finisher"], painting.doubt) == (config.finish_backbone, "")
    # its value is that of the finisher's objective, at the picture that it has
    content, reference = run.problem.content.pixels, run.problem.style_sources[0].pixels
    assert content.shape[0] == reference.shape[0] == 1
    assert painting.value == pytest.approx(min(values), rel=1e-5)
    draft = paint(photo, style, config.changed(finish=0), EXACT)
    assert draft.settings["finisher"] == ""
    assert not torch.equal(draft.pixels, painting.pixels)


def test_the_finish_goes_on_from_the_best_point_of_the_level_before(config, photo, style) -> None:
    run = Run.prepare(photo, style, config, EXACT)
    steps = list(run.steps())
    best, first = steps[-5].best.point, steps[-4].picture
    assert first.shape == best.shape
    assert (first - best).abs().max() < 0.2  # one step of the solver at most


def test_a_batch_and_tiles_finish_as_a_painting_alone(config, photo, style) -> None:
    alone = paint(photo, style, config, EXACT)
    runs = [Run.prepare(photo, style, config.changed(seed=k), EXACT) for k in (1, 2)]
    assert batch_key(runs[0]) == batch_key(runs[1])
    for last in paint_batched(runs):  # noqa: B007
        pass
    assert (runs[0].painting(last[0]).pixels - alone.pixels).abs().max() < 1e-4
    calm = {"optimizer": "adam", "learning_rate": 0.001}  # makes little of rounding
    large = config.changed(size=192, levels=1, **calm)
    whole, tiled = (paint(photo, style, large, EXACT.changed(tile=t)) for t in ("auto", 85))
    assert (tiled.pixels - whole.pixels).norm() < 1e-3 * whole.pixels.norm()


def test_a_run_resumed_in_its_finish_ends_with_the_same_bytes(config, photo, style) -> None:
    run = Run.prepare(photo, style, config, EXACT)
    steps = list(run.steps())
    for number in (7, 8, 10):
        state = next(step.state() for step in run.steps() if step.number == number)
        again = Run(run.problem, config, run.machine, run.backbone, run.plan, resume=state)
        for last in again.steps():  # noqa: B007
            pass
        assert torch.equal(again.painting(last).pixels, run.painting(steps[-1]).pixels)


def test_from_and_draft_on_the_command_line(impasto, config, photo, style, tmp_path) -> None:
    settings = ("--size", 64, "--steps", 8, "--levels", 1, "--device", "cpu")
    networks = ("--backbone", config.backbone, "--finish-backbone", config.finish_backbone)
    given = ("paint", photo, style, *settings, *networks, "--finish", 3)
    assert impasto(*given, "-o", "out.png")[0] == 0
    assert read_settings(tmp_path / "out.png")["finisher"] == config.finish_backbone
    assert impasto("paint", "--from", "out.png", "-o", "again.png")[0] == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()
    code, out, _ = impasto(*given[:-2], "--draft", "-o", "draft.png", "--json")
    assert code == 0
    assert json.loads(out)["config"]["finish"] == 0
    assert read_settings(tmp_path / "draft.png")["finisher"] == ""


def test_the_automatic_finish_is_resumed_and_painted_again_with_the_same_bytes(
    impasto, ctrl_c, finisher, photo, style, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("impasto.painting.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.painting.checkpoint.COST", 1e9)
    settings = ("--size", 32, "--steps", 8, "--levels", 1, "--device", "cpu")
    given = ("paint", photo, style, *settings, "--finish-backbone", finisher)
    assert impasto(*given, "-o", "whole.png")[0] == 0
    assert read_settings(tmp_path / "whole.png")["config"]["finish"] == "auto"
    assert impasto("paint", "--from", "whole.png", "-o", "again.png")[0] == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    with monkeypatch.context() as patch:
        ctrl_c(4, patch)
        impasto(*given, "-o", "out.png", "--checkpoint", "kept")
    assert impasto("resume", "kept")[0] == 0
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_networks_are_told_apart(config) -> None:
    keys = {
        network_key(config.changed(**changes), EXACT)
        for changes in ({}, {"finish": 0}, {"finish_backbone": "vgg19"}, {"steps": 30})
    }
    assert len(keys) == 3  # how many steps there are makes no other network


def test_time_left_counts_what_the_finisher_costs(config, photo, style, monkeypatch) -> None:
    monkeypatch.setattr(Objective, "evaluate", Objective.evaluate)
    run = Run.prepare(photo, style, config, EXACT)
    fractions = [step.fraction for step in run.steps()]
    assert fractions[-1] == pytest.approx(1)
    layers = [*config.content_layers, *config.style_layers]
    ratio = run.backbone.finisher.cost(layers) / run.backbone.cost(layers)
    last, before = fractions[-1] - fractions[-2], fractions[-5] - fractions[-6]
    assert last / before == pytest.approx(ratio, rel=1e-3)


@pytest.fixture
def on_gpu(monkeypatch):
    """A machine whose device counts as a CUDA GPU where the networks are chosen."""
    monkeypatch.setattr(
        "impasto.backbone.load.find_device",
        lambda name: torch.device("cuda" if name == "auto" else name),
    )
    return Machine(device="auto")


def test_on_a_gpu_the_true_network_makes_all_steps(on_gpu) -> None:
    config = settled(Config(), on_gpu)
    assert (config.backbone, config.finish_steps, config.finisher) == ("vgg19", 0, "")
    assert settled(Config(), Machine(device="cpu")) == Config()
    for other in (Config(finish=7), Config(finish=0), Config(backbone="vgg19")):
        assert settled(other, on_gpu) == other


def test_of_weights_that_came_along_the_last_steps_network_is_taken() -> None:
    both = load_weights(Config())
    assert load_backbone(Config(), Machine(device="cpu"), weights=both).finisher is not None
    network = load_backbone(Config(backbone="vgg19"), Machine(device="cpu"), weights=both)
    assert (network.weights.name, network.finisher) == ("vgg19", None)
