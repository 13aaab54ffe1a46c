"""The page's controls are Config's fields, each once, as the fields say."""

import asyncio

import gradio as gr
import pytest
from gradio.components import Component

from impasto.config import GROUPS, Config
from impasto.errors import ConfigError
from impasto.fields import allowed
from impasto.presets import PRESETS
from impasto.web.page.controls import (
    CHOICES,
    DRAWN,
    FIRST,
    IN_SIGHT,
    PICTURES,
    SLIDERS,
    WORDS,
    by_group,
    control,
    slider,
    values_of,
)
from impasto.web.page.form import _is_default
from impasto.web.page.html import as_labels, label

NETWORKS = ["compact", "vgg19", "vgg19-torchvision"]
FIELDS = list(Config.model_fields)
GROUPED = [name for names in by_group().values() for name in names]
SHOWN = [*FIRST, *GROUPED]
HERE = ["compact", "/home/me/nets/my.safetensors"]
TYPES = {bool: gr.Checkbox, int: gr.Number, float: gr.Number, str: gr.Textbox}


def schema_of(name: str) -> dict:
    return Config.model_json_schema()["properties"][name]


def kinds_of(name: str) -> list[dict]:
    """The field's alternatives, but for None."""
    schema = schema_of(name)
    return [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]


def config_of(values: dict[str, object]) -> Config:
    """The config that the page makes of what its controls show."""
    read = {name: control(name, NETWORKS).preprocess(value) for name, value in values.items()}
    return Config(**{name: value for name, value in read.items() if not _is_default(name, value)})


async def page_of(name: str) -> tuple[Component, gr.Blocks]:
    """A field's control with its slider, made where a loop is running: elsewhere gradio leaves one
    open."""
    with gr.Blocks() as page:
        exact = control(name, NETWORKS)
        slider(name, exact)
    return exact, page


def shown(config: Config, networks=tuple(NETWORKS)) -> dict[str, object]:
    """What the controls show of a config."""
    return {
        name: update["value"]
        for name, update in zip(SHOWN, values_of(config, SHOWN, networks), strict=True)
    }


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_in_exactly_one_place(name):
    places = [FIRST, GROUPED, PICTURES, DRAWN]
    assert sum(list(place).count(name) for place in places) == 1


def test_no_place_names_what_is_not_a_field():
    assert {*FIRST, *GROUPED, *PICTURES, *DRAWN, *SLIDERS} == set(FIELDS)
    assert set(SLIDERS) <= set(GROUPED)


def test_groups_are_config_s_in_its_order_and_none_is_empty():
    groups = by_group()
    assert list(groups) == [group for group in GROUPS if group in groups]
    for group, names in groups.items():
        assert names
        assert {Config.model_fields[name].json_schema_extra["group"] for name in names} == {group}
        assert names == sorted(names, key=FIELDS.index)


@pytest.mark.parametrize("name", GROUPED)
def test_a_control_s_names_and_help_are_the_field_s(name):
    found = control(name, NETWORKS)
    assert found.label == label(name)
    assert found.info == as_labels(Config.model_fields[name].description)
    assert "--" not in found.info
    assert found.elem_id == f"setting-{name}"
    assert found.interactive


def test_what_is_in_sight_has_words_that_need_no_guide():
    assert set(IN_SIGHT) == {*FIRST, *SLIDERS}
    for name in FIRST:
        found = control(name, NETWORKS)
        assert (found.label, found.info) == (WORDS[name][0], WORDS[name][1] or None)
    for name, words in CHOICES.items():
        assert list(words) == kinds_of(name)[0]["enum"]


@pytest.mark.parametrize("name", SHOWN)
def test_a_control_shows_the_field_s_default(name):
    assert config_of({name: control(name, NETWORKS).value}) == Config()


@pytest.mark.parametrize("name", SHOWN)
def test_a_control_s_choices_are_the_field_s(name):
    found = control(name, NETWORKS)
    values = (
        [value for _, value in found.choices]
        if isinstance(found, (gr.Dropdown, gr.Radio))
        else None
    )
    first, *others = kinds_of(name)
    if name == "backbone":
        assert values == NETWORKS
        assert not found.allow_custom_value
    elif "enum" in first:
        assert values == first["enum"]
        assert isinstance(found, gr.Radio) or not found.allow_custom_value
    elif others and schema_of(name)["usual"]:
        assert values == [*map(str, schema_of(name)["usual"]), *(each["const"] for each in others)]
        assert found.allow_custom_value
        assert all(
            getattr(config_of({name: value}), name) == Config(**{name: value}).model_dump()[name]
            for value in values[-1:]
        )
    else:
        assert values is None


@pytest.mark.parametrize(
    "name", [name for name in SHOWN if isinstance(control(name, NETWORKS), gr.Number)]
)
def test_a_number_s_range_is_the_field_s(name):
    found, schema = control(name, NETWORKS), schema_of(name)
    assert found.minimum == schema.get("minimum", schema.get("exclusiveMinimum"))
    assert found.maximum == schema.get("maximum")
    assert found.precision == (0 if schema["type"] == "integer" else None)


@pytest.mark.parametrize("name", SHOWN)
def test_a_control_is_of_the_field_s_kind(name):
    kind, found = Config.model_fields[name].annotation, control(name, NETWORKS)
    if isinstance(found, gr.Textbox):
        assert found.placeholder == allowed(Config, name)
    elif not isinstance(found, (gr.Dropdown, gr.Radio)):
        assert isinstance(found, TYPES[kind])


@pytest.mark.parametrize("name", [name for name in FIELDS if schema_of(name)["usual"]])
def test_usual_values_lie_in_the_field_s_range(name):
    for value in schema_of(name)["usual"]:
        assert getattr(Config(**{name: value}), name) == value
    assert schema_of(name)["usual"] == sorted(schema_of(name)["usual"])


def test_the_controls_as_they_are_at_first_are_config():
    assert config_of({name: control(name, NETWORKS).value for name in SHOWN}) == Config()


def test_the_first_network_is_chosen_at_first():
    found = control("backbone", HERE[::-1])
    assert found.value == HERE[1]
    assert [text for text, _ in control("backbone", HERE).choices] == [
        "compact (in the box)",
        HERE[1],
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_the_controls_take_over_every_preset(name):
    config = PRESETS[name].config
    mine = {field: getattr(config, field) for field in SHOWN}
    assert config_of(shown(config)) == Config(**mine)


OTHER = {
    "size": "original",
    "levels": 3,
    "learning_rate": 0.5,
    "content_layers": {},
    "style_layers": {"conv1_1": 0.25, "relu3_4": 2.0},
    "start": {"content": 0.6, "noise": 0.4},
    "clamp": False,
    "style_scale": 9.75,
    "seed": 2**32 - 1,
    "content_weight": 1e12,
}


@pytest.mark.parametrize("name", OTHER)
def test_the_controls_take_over_other_values(name):
    config = Config(**{name: OTHER[name]})
    assert config_of(shown(config)) == config


@pytest.mark.parametrize(
    "settings",
    [{"style_layers": {"relu1_1": 1 / 3}}, {"start": {"content": 0.1234567, "noise": 0.8765433}}],
)
def test_the_controls_take_over_every_digit(settings):
    assert config_of(shown(Config(**settings))) == Config(**settings)


def test_a_network_that_is_not_here_is_left_as_it_is():
    (update,) = values_of(Config(backbone="vgg19"), ["backbone"], ["compact"])
    assert "value" not in update


def test_a_start_from_another_picture_is_not_taken_over():
    with pytest.raises(ConfigError, match="began from another picture"):
        values_of(Config(start={"cat.png": 1}), SHOWN, NETWORKS)


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_is_the_field_s_usual_range_beside_its_exact_control(name):
    exact, page = asyncio.run(page_of(name))
    found = next(each for each in page.blocks.values() if isinstance(each, gr.Slider))
    assert [found.minimum, found.maximum] == schema_of(name)["usual"]
    assert found.value == exact.value == Config.model_fields[name].default
    assert (found.label, found.info) == WORDS[name]
    assert found.elem_id == f"slider-{name}"
    bound = [
        ([each._id for each in event.inputs], [each._id for each in event.outputs])
        for event in page.fns.values()
    ]
    assert bound == [([found._id], [exact._id]), ([exact._id], [found._id])]
    assert exact.minimum <= found.minimum < found.maximum <= exact.maximum
