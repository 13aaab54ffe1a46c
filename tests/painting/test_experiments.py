import numpy as np
import pytest
import torch

from impasto.backbone.load import load_backbone
from impasto.config import Config
from impasto.errors import ConfigError, PictureError, WeightsError
from impasto.images.read import read, read_settings, resize
from impasto.objective.losses import gram
from impasto.painting import loop
from impasto.painting.experiments import (
    blank_content,
    content_reconstructions,
    feature_maps,
    style_reconstructions,
    texture,
    texture_config,
    variations,
)
from impasto.presets import FIRST_CONVOLUTIONS, PRESETS
from impasto.solver import learning_rate
from impasto.solver.preconditioner import without_weave
from machines import EXACT

NOISE = {"noise": 1.0}

STAGES = tuple(FIRST_CONVOLUTIONS)


@pytest.fixture
def config(tiny_weights):
    return Config(backbone=str(tiny_weights), size=32, steps=2, levels=1)


@pytest.fixture
def backbone(config):
    return load_backbone(config, EXACT)


def test_a_blank_content_is_a_size_and_no_picture():
    picture = blank_content(40, 24)
    assert picture.pixels.shape == (1, 3, 24, 40)
    assert not picture.pixels.any()
    assert picture.alpha is None
    assert (picture.name, picture.sha256) == ("40x24", "canvas")
    assert blank_content(16, 16).pixels.shape == (1, 3, 16, 16)


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (0, 64), (-64, 64), (65537, 64), (64, 65537)])
def test_a_blank_content_out_of_range_is_one_line(size):
    with pytest.raises(
        ConfigError,
        match=f"{size[0]} x {size[1]} pixels cannot be painted: each side takes 16 to 65536",
    ):
        blank_content(*size)


def test_a_texture_s_config_is_the_same_without_a_content():
    config = Config(strength=2, style_layers="conv1_1=0.5", blend="1,2", levels=2, seed=5)
    changed = texture_config(config).model_dump()
    assert (changed.pop("content_layers"), changed.pop("start"), changed.pop("size")) == (
        {},
        NOISE,
        "original",
    )
    assert changed == {key: value for key, value in config.model_dump().items() if key in changed}


@pytest.mark.parametrize("size", [96, "96x64", (96,), (96, 64.5), None])
def test_a_size_that_is_no_width_and_height_is_told(style, config, size):
    with pytest.raises(ConfigError, match=r"size is .*: give \(width, height\) in pixels"):
        texture(style, size, config)


def test_a_texture_is_like_its_style_and_as_large_as_asked_for(style, config):
    steps = []
    painting = texture(style, (56, 40), config.changed(steps=60), on_step=steps.append)
    assert painting.pixels.shape == (1, 3, 40, 56)
    assert painting.pixels.isfinite().all()
    assert painting.pixels.std() > 0.05
    assert (painting.alpha, painting.steps, painting.finished, len(steps)) == (None, 60, True, 60)
    of_noise = {name: float(value) for name, value in steps[0].terms.items()}
    assert [name.split()[0] for name in of_noise] == ["style"] * 5 + ["grain", "flatness"]
    assert all(painting.terms[name] < 0.5 * of_noise[name] for name in of_noise)
    assert sum(painting.terms.values()) < 0.1 * sum(of_noise.values())
    assert painting.value == pytest.approx(sum(painting.terms.values()), rel=1e-4)


def test_a_texture_begins_as_noise_of_its_size(style, config):
    starts = []
    texture(
        style,
        (32, 48),
        config.changed(seed=3),
        on_step=lambda step: starts.append(step.picture.clone()),
    )
    assert starts[0].shape == (1, 3, 48, 32)
    noise = torch.rand(1, 3, 48, 32, generator=torch.Generator().manual_seed(3))
    assert torch.equal(starts[0], without_weave(noise).clamp(0, 1))


def test_a_texture_of_two_levels_begins_each_with_the_one_before(style, config, monkeypatch):
    monkeypatch.setattr(loop, "style_detail", lambda *_: torch.zeros(()))
    steps = []
    painting = texture(
        style, (160, 128), config.changed(steps=4, levels=2, step_ratio=1), on_step=steps.append
    )
    assert [step.level for step in steps] == [1, 1, 2, 2]
    assert [tuple(step.picture.shape[2:]) for step in steps] == [(64, 80)] * 2 + [(128, 160)] * 2
    # and nothing of a content
    assert torch.equal(steps[2].picture, resize(steps[1].best.point, 128, 160))
    assert painting.pixels.shape == (1, 3, 128, 160)


def test_a_texture_records_its_size_and_its_style(style, config, tmp_path):
    painting = texture(style, (48, 32), config, backbone=load_backbone(config, EXACT))
    settings = read_settings(painting.save(tmp_path / "texture.png"))
    assert [(each["role"], each["name"]) for each in settings["inputs"]] == [
        ("canvas", "48x32"),
        ("style", str(style)),
    ]
    assert settings["inputs"][0]["sha256"] == "canvas"
    assert settings["inputs"][1]["sha256"] == read(style).sha256
    assert settings["config"]["content_layers"] == {}
    assert settings["config"]["start"] == NOISE
    assert settings["steps_done"] == 2


def test_a_texture_is_repeatable_and_another_seed_is_another(style, config):
    once, again, other = (
        texture(style, (32, 32), config.changed(seed=seed)).pixels for seed in (1, 1, 2)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_a_texture_takes_several_styles_as_pictures_of_any_kind(photo, style, config):
    styles = [read(photo), style]
    settings = texture(styles, (32, 32), config.changed(blend="1,3")).settings
    assert [each["role"] for each in settings["inputs"]] == ["canvas", "style", "style"]
    with pytest.raises(ConfigError, match="--blend has 2 weights for 1 styles"):
        texture(style, (32, 32), config.changed(blend="1,3"))


def test_a_texture_without_style_layers_is_refused(style, config):
    with pytest.raises(ConfigError, match="--style-layers are both empty"):
        texture(style, (32, 32), config.changed(style_layers=""))
    with pytest.raises(PictureError, match="no picture at"):
        texture("missing.png", (32, 32), config)


def test_a_content_reconstruction_is_one_layer_s_content_term_from_noise():
    config = Config(levels=3, steps=77, seed=3, optimizer="adam", tv_weight=0.5)
    found = content_reconstructions(config, ["block1_conv2", "relu4_2"])
    assert [name for name, _ in found] == ["conv1_2", "relu4_2"]
    for name, changed in found:
        assert changed.content_layers == {name: 1.0}
        assert changed.style_layers == {}
        assert (changed.grain_weight, changed.start, changed.levels) == (0, NOISE, 1)
        assert (changed.steps, changed.seed, changed.optimizer, changed.tv_weight) == (
            77,
            3,
            "adam",
            0.5,
        )


def test_style_reconstructions_add_layer_after_layer():
    found = style_reconstructions(Config(levels=2, steps=77), STAGES)
    assert [name for name, _ in found] == [
        "conv1_1",
        "conv1_1 to conv2_1",
        "conv1_1 to conv3_1",
        "conv1_1 to conv4_1",
        "conv1_1 to conv5_1",
    ]
    for k, (_, changed) in enumerate(found, 1):
        assert changed.style_layers == dict.fromkeys(STAGES[:k], 1.0)
        assert (changed.content_layers, changed.grain_weight, changed.start) == ({}, 0, NOISE)
        assert (changed.size, changed.levels, changed.steps) == ("original", 2, 77)


@pytest.mark.parametrize("reconstructions", [content_reconstructions, style_reconstructions])
def test_a_reconstruction_of_an_unknown_layer_is_told(reconstructions):
    with pytest.raises(ConfigError, match=r"no layer 'conv4_9' in VGG-19: did you mean"):
        reconstructions(Config(), ["conv1_1", "conv4_9"])


def test_feature_maps_are_the_strongest_channels_strongest_first(photo, backbone):
    pixels = read(photo).pixels
    layers = ["relu1_1", "conv3_2", "relu5_1"]
    found = feature_maps(pixels, layers, backbone)
    assert [each.layer for each in found] == layers
    for each, (width, size) in zip(found, [(4, (40, 48)), (8, (10, 12)), (8, (2, 3))], strict=True):
        features = backbone(pixels, [each.layer])[each.layer]
        strength = features[0].square().mean((1, 2))
        assert each.channels == sorted(range(width), key=lambda c, s=strength: -float(s[c]))[:6]
        assert each.maps.shape == (min(6, width), *size)
        np.testing.assert_array_equal(each.maps, features[0, each.channels].numpy())


def test_the_gram_matrix_of_feature_maps_is_in_the_channels_order(photo, backbone):
    pixels = read(photo).pixels
    [found] = feature_maps(pixels, ["conv2_2"], backbone, most=2)
    features = backbone(pixels, ["conv2_2"])["conv2_2"]
    order = features[0].square().mean((1, 2)).argsort(descending=True)
    assert found.channels == order[:2].tolist()
    assert found.maps.shape[0] == 2
    assert found.gram.shape == (4, 4)
    np.testing.assert_allclose(
        found.gram, gram(features[:, order])[0].numpy(), rtol=1e-5, atol=1e-6
    )
    assert (np.diff(np.diag(found.gram)) <= 0).all()


def test_feature_maps_take_keras_names_and_refuse_unknown_layers(photo, backbone):
    pixels = read(photo).pixels
    [keras], [own] = (
        feature_maps(pixels, [name], backbone) for name in ("block2_conv1", "conv2_1")
    )
    np.testing.assert_array_equal(keras.maps, own.maps)
    with pytest.raises(ConfigError, match="no layer 'conv9_1'"):
        feature_maps(pixels, ["conv9_1"], backbone)


def test_feature_maps_of_a_layer_that_the_weights_lack_are_refused(photo, backbone):
    for name in [name for name in backbone._convolutions if name.startswith("conv5")]:
        del backbone._convolutions[name]
    with pytest.raises(WeightsError, match="layer conv5_1 is not in"):
        feature_maps(read(photo).pixels, ["conv5_1"], backbone)


def test_variations_of_two_fields_are_their_product_the_first_one_slowest():
    found = variations({"optimizer": ["lbfgs", "adam"], "strength": ["0.5", "1", "2"]}, steps=7)
    assert [(chosen["optimizer"], chosen["strength"]) for chosen, _, _ in found] == [
        ("lbfgs", "0.5"),
        ("lbfgs", "1"),
        ("lbfgs", "2"),
        ("adam", "0.5"),
        ("adam", "1"),
        ("adam", "2"),
    ]
    assert [(config.optimizer, config.strength) for _, config, _ in found] == [
        ("lbfgs", 0.5),
        ("lbfgs", 1),
        ("lbfgs", 2),
        ("adam", 0.5),
        ("adam", 1),
        ("adam", 2),
    ]
    assert {config.steps for _, config, _ in found} == {7}


def test_variations_of_one_field_leave_all_else_as_it_is():
    found = variations(
        {"style-layers": ["conv1_1,conv2_1=0.5", "block3_conv1"]}, "keras-tv", seed=4
    )
    assert [list(chosen) for chosen, _, _ in found] == [["style_layers"]] * 2
    assert [config.style_layers for _, config, _ in found] == [
        {"conv1_1": 1.0, "conv2_1": 0.5},
        {"conv3_1": 1.0},
    ]
    for _, config, _ in found:
        assert config == PRESETS["keras-tv"].config.changed(
            seed=4, style_layers=config.style_layers
        )


def test_presets_are_varied_with_the_settings_on_top():
    found = variations(
        {"preset": ["default", "keras-tv"], "seed": ["1", "2"]},
        "layered",
        backbone="tiny.pth",
        steps=5,
    )
    assert [(chosen["preset"], chosen["seed"]) for chosen, _, _ in found] == [
        ("default", "1"),
        ("default", "2"),
        ("keras-tv", "1"),
        ("keras-tv", "2"),
    ]
    for chosen, config, _ in found:
        recipe = PRESETS[chosen["preset"]].config
        assert config == recipe.changed(backbone="tiny.pth", steps=5, seed=int(chosen["seed"]))


def test_another_optimizer_takes_its_own_rate_but_not_in_place_of_one_that_was_given():
    vary = {"optimizer": ["lbfgs", "adam"]}
    assert [learning_rate(config) for _, config, _ in variations(vary, "keras-tv")] == [1.0, 0.02]
    assert [learning_rate(config) for _, config, _ in variations(vary)] == [1.0, 0.02]
    both = variations({**vary, "learning_rate": ["0.5", "0.1"]})
    assert [learning_rate(config) for _, config, _ in both] == [0.5, 0.1, 0.5, 0.1]
    given = variations(vary, learning_rate=0.25)
    assert [learning_rate(config) for _, config, _ in given] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ({"strenth": ["1", "2"]}, "no setting 'strenth' to vary: did you mean strength?"),
        ({"presets": ["default"]}, "no setting 'presets' to vary: did you mean preset?"),
        ({"zzz": ["1"]}, "no setting 'zzz' to vary: choose from preset, size"),
        ({}, "--vary names 0 fields: vary one or two"),
        (
            {"strength": ["1"], "seed": ["1"], "steps": ["1"]},
            "--vary names 3 fields: vary one or two",
        ),
        ({"strength": []}, "--vary strength is empty: give values, each once"),
        ({"strength": ["1", "2", "1"]}, "--vary strength is 1, 2, 1: give values, each once"),
        ({"strength": ["1", "much"]}, "--strength is 'much': it takes a number from 0 to 1,000"),
        ({"preset": ["default", "keras"]}, "no preset 'keras': did you mean keras-tv?"),
        ({"style_layers": ["conv1_1", "conv1_9"]}, "no layer 'conv1_9' in VGG-19"),
        ({"content_layers": [""]}, "are both empty"),
    ],
)
def test_what_cannot_be_varied_is_told_in_one_line(vary, said):
    with pytest.raises(ConfigError) as error:
        variations(vary, style_layers={} if "content_layers" in vary else {"conv1_1": 1})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def quick(tiny):
    """The tiny options, less the size, which is a texture's own."""
    return [*tiny[:2], *tiny[4:]]


def test_a_texture_is_as_large_as_asked_for_and_named_after_its_style(
    impasto, style, quick, tmp_path
):
    code, out, err = impasto("texture", style, *quick, "--size", "48x32")
    assert code == 0
    assert out.startswith("style-texture.png  (painted in ")
    assert "step 2/2" in err
    assert read(tmp_path / "style-texture.png").pixels.shape == (1, 3, 32, 48)
    settings = read_settings(tmp_path / "style-texture.png")
    assert [(each["role"], each["name"]) for each in settings["inputs"]] == [
        ("canvas", "48x32"),
        ("style", str(style)),
    ]
    assert settings["config"]["content_layers"] == {}
    assert {name.split()[0] for name in settings["terms"]} == {"style", "grain", "flatness"}


@pytest.mark.parametrize("size", ["32x20", " 32 × 20 ", "32,20", None])
def test_a_texture_s_size_may_be_written_as_people_do(
    impasto, style, quick, tmp_path, monkeypatch, size
):
    monkeypatch.setattr(
        "impasto.painting.run.Run.prepare", lambda content, *_, **__: pytest.fail(content.name)
    )
    with pytest.raises(pytest.fail.Exception) as said:
        impasto("texture", style, *quick, *(["--size", size] if size else []))
    assert str(said.value) == ("32x20" if size else "512x512")


def test_texture_from_its_file_is_the_same_bytes_again(impasto, style, photo, quick, tmp_path):
    typed = ["--size", "40x32", "--seed", 3, "--blend", "1,2", "--preset", "layered", "--steps", 3]
    assert impasto("texture", style, photo, "-o", "one.png", *quick, *typed)[0] == 0
    assert impasto("texture", "--from", "one.png", "-o", "two.png", "--quiet") == (0, "", "")
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    assert impasto("texture", "--from", "one.png", "-o", "wide.png", "--size", "64x16")[0] == 0
    assert read(tmp_path / "wide.png").pixels.shape == (1, 3, 16, 64)
    assert (
        read_settings(tmp_path / "wide.png")["config"]
        == read_settings(tmp_path / "one.png")["config"]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a STYLE picture: impasto texture painting.jpg"),
        *(
            (
                ["{style}", "--size", size],
                f"--size is '{size}': a texture takes its width and height, as 1024x768",
            )
            for size in ("512", "axb", "32x32x32", "-32x32", "", "1e3x32", "32.5x32")
        ),
        (
            ["{style}", "--size", "15x64"],
            "15 x 64 pixels cannot be painted: each side takes 16 to 65536",
        ),
        (["{style}", "--size", "64x65537"], "64 x 65537 pixels cannot be painted"),
        (["missing.png"], "no picture at missing.png"),
        (["{style}", "-o", "{style}"], "is one of the pictures to paint from"),
        (
            ["{style}", "--from", "out.png", "--preset", "default"],
            "give --from or --preset, not both",
        ),
        (["{style}", "--style-layers", "relu9_1"], "no layer 'relu9_1'"),
    ],
)
def test_a_texture_that_cannot_be_is_told_in_one_line(refused, style, quick, arguments, said):
    assert said in refused("texture", *quick, *(each.format(style=style) for each in arguments))


def test_a_texture_and_a_painting_are_not_made_from_one_another(
    impasto, refused, photo, style, tiny, quick
):
    assert impasto("texture", style, "-o", "texture.png", *quick, "--size", "32x32")[0] == 0
    assert impasto("paint", photo, style, "-o", "painting.png", *tiny)[0] == 0
    assert (
        "texture.png is a texture: `impasto texture --from texture.png` makes it again"
        in refused("paint", "--from", "texture.png", "-o", "again.png")
    )
    assert (
        "painting.png is not a texture: `impasto paint --from painting.png` paints it again"
        in refused("texture", "--from", "painting.png", "-o", "again.png")
    )
