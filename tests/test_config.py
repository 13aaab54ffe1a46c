import copy
import pickle

import pytest
from pydantic import ValidationError

from impasto.backbone.architecture import LAYERS, layer_name
from impasto.config import DRAFT, GROUPS, Config
from impasto.errors import ConfigError
from impasto.fields import allowed, option_name
from impasto.presets import PRESETS
from impasto.solver import learning_rate


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("conv4_2", "conv4_2"),
        ("block4_conv2", "conv4_2"),
        ("relu1_1", "relu1_1"),
        (" Conv5_4 ", "conv5_4"),
    ],
)
def test_layer_names(typed: str, name: str) -> None:
    assert layer_name(typed) == name


def test_vgg19_has_sixteen_convolutions() -> None:
    assert len(LAYERS) == 32


@pytest.mark.parametrize("bad", ["conv3_5", "conv6_1", "block1_conv3", "pool1", ""])
def test_unknown_layers_name_a_near_one(bad: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean|choose from") as caught:
        layer_name(bad)
    assert caught.value.value == bad
    assert caught.value.allowed == LAYERS


@pytest.mark.parametrize(
    "given",
    ["conv1_1=1,conv2_1=0.5", {"conv1_1": 1, "block2_conv1": 0.5}, "block1_conv1, conv2_1=.5"],
)
def test_layers_from_text_and_mapping(given) -> None:
    assert Config(style_layers=given).style_layers == {"conv1_1": 1.0, "conv2_1": 0.5}


def test_layers_from_a_list_weigh_one() -> None:
    assert Config(content_layers=["conv4_2", "relu5_1"]).content_layers == {
        "conv4_2": 1.0,
        "relu5_1": 1.0,
    }


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"strength": -1}, "--strength is -1: it takes a number from 0 to 1,000"),
        ({"strength": "nan"}, "--strength is 'nan': it takes a number from 0 to 1,000"),
        ({"size": 3}, "--size is 3: it takes a whole number from 16 to 65,536, or original"),
        (
            {"size": "huge"},
            "--size is 'huge': it takes a whole number from 16 to 65,536, or original",
        ),
        ({"optimizer": "sgd"}, "--optimizer is 'sgd': it takes lbfgs or adam"),
        ({"steps": 0}, "--steps is 0: it takes a whole number from 1 to 10,000,000"),
        ({"learning_rate": 0}, "--learning-rate is 0: it takes a number above 0 up to 100"),
        ({"strenght": 2}, "no setting 'strenght': did you mean strength?"),
        (
            {"preset": "gatys-lbfgs"},
            "no setting 'preset': it is a whole config: "
            "impasto.PRESETS[NAME].config, or an option of its own",
        ),
        (
            {"style_layers": "conv1_1=-2"},
            "--style-layers conv1_1 is '-2': it takes weights from 0, as NAME=1,NAME=0.5",
        ),
        ({"style_layers": "", "content_layers": ""}, "are both empty"),
        ({"blend": "0,0"}, "must add to more than 0"),
        ({"start": "content=0"}, "must add to more than 0"),
    ],
)
def test_bad_settings_say_so_in_one_line(settings: dict, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**settings)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_from_the_command_line_becomes_values() -> None:
    config = Config(
        size="original", steps="12", clamp="false", blend="0.7,0.3", start="content=0.6,noise=0.4"
    )
    assert (config.size, config.steps, config.clamp) == ("original", 12, False)
    assert config.blend == (0.7, 0.3)
    assert config.start == {"content": 0.6, "noise": 0.4}


def test_a_config_survives_json() -> None:
    config = Config(style_layers="conv1_1=0.3", blend="1,2", size="original")
    assert Config(**config.model_dump(mode="json")) == config


def test_a_config_is_a_value() -> None:
    config = Config()
    with pytest.raises(ConfigError):
        config.changed(steps=-1)
    assert config.changed(steps=3).steps == 3
    assert config.steps == Config().steps


def test_another_optimizer_brings_its_own_rate() -> None:
    assert learning_rate(Config()) == 1
    assert learning_rate(Config().changed(optimizer="adam")) == 0.02
    adam = Config(optimizer="adam", learning_rate=0.5)
    assert learning_rate(adam.changed(optimizer="lbfgs")) == 1
    assert learning_rate(Config().changed(optimizer="adam", learning_rate=0.1)) == 0.1
    assert learning_rate(adam.changed(steps=3)) == 0.5


@pytest.mark.parametrize("field", Config.model_fields)
def test_every_field_has_help_group_and_range(field: str) -> None:
    info = Config.model_fields[field]
    assert info.description
    assert info.json_schema_extra["group"] in GROUPS
    assert allowed(Config, field)
    assert option_name(field).startswith("--")


def test_a_config_does_not_change_at_any_depth() -> None:
    config = PRESETS["default"].config
    before = config.model_dump()
    for change in (
        lambda: config.content_layers.__setitem__("relu1_1", 5.0),
        lambda: config.style_layers.update(relu1_1=5.0),
        lambda: config.start.pop("content"),
        config.style_layers.clear,
        lambda: setattr(config, "size", 5),
    ):
        with pytest.raises((TypeError, ValidationError)):
            change()
    assert config.model_dump() == before


def test_equal_configs_have_one_hash() -> None:
    assert (
        len({Config(), Config(style_layers=Config().style_layers), PRESETS["default"].config}) == 1
    )
    assert hash(Config(start="noise")) != hash(Config())
    assert pickle.loads(pickle.dumps(Config())) == copy.deepcopy(Config()) == Config()
    assert Config(style_layers={"relu1_1": 2}).style_layers == {"relu1_1": 2}
    assert type(Config().model_dump()["style_layers"]) is dict


def test_frames_after_the_first_of_a_shot_have_fewer_steps() -> None:
    assert Config().later_steps == 9, "half as many as VGG-19 makes of a still"
    assert Config(**DRAFT).later_steps == 12, "a quarter of a still's, where it makes none"
    assert Config(backbone="vgg19").later_steps == 9, "as the default on a GPU"
    assert Config(steps=1).later_steps == 2, "the first one only looks at the start"
