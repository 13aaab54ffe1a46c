"""Python's arguments: settings as keywords, pictures in memory, files in memory in and out."""

import io
import pydoc
import re

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto.config import Config, Machine
from impasto.errors import ConfigError, OutputError, PictureError, use_option_names
from impasto.images.read import read, settings_in
from machines import EXACT


@pytest.fixture(autouse=True)
def _words_of_python():
    before = use_option_names(False)
    yield
    use_option_names(before)


@pytest.fixture
def quick(tiny_weights):
    return Config(backbone=str(tiny_weights), size=32, steps=2, levels=1, finish=0)


def same(one: impasto.Painting, other: impasto.Painting) -> bool:
    return torch.equal(one.pixels, other.pixels)


def test_keywords_are_fields_of_config_and_machine_and_take_precedence(quick, photo, style):
    painting = impasto.paint(photo, style, quick, size=48, look="bold", precision="float32")
    assert painting.config == quick.changed(size=48, look="bold")
    assert painting.settings["machine"]["precision"] == "float32"
    assert same(painting, impasto.paint(photo, style, quick.changed(size=48, look="bold"), EXACT))


def test_the_steps_the_run_and_textures_take_keywords_too(quick, photo, style, tiny_weights):
    name = str(tiny_weights)
    *_, last = impasto.paint_steps(photo, style, quick, steps=3)
    assert last.steps == 3
    assert impasto.Run.prepare(photo, style, quick, backbone=name, steps=4).config.steps == 4
    texture = impasto.texture(style, (32, 24), quick, backbone=name, steps=1)
    assert np.asarray(texture).shape == (24, 32, 3)


def test_the_network_by_its_name_or_loaded_once(quick, photo, style, tiny_weights):
    by_name = impasto.paint(photo, style, quick.changed(backbone="compact"), EXACT,
                            backbone=str(tiny_weights))  # fmt: skip
    loaded = impasto.load_backbone(str(tiny_weights), EXACT, pooling="max", finish=0)
    assert same(by_name, impasto.paint(photo, style, quick, EXACT, backbone=loaded))
    average = impasto.load_backbone(quick, precision="float32", pooling="average")
    assert not same(by_name, impasto.paint(photo, style, quick, EXACT, backbone=average))


def test_bytes_and_open_files_are_pictures(quick, photo, style):
    from_paths = impasto.paint(photo, style, quick, EXACT)
    with photo.open("rb") as file:
        painting = impasto.paint(file, io.BytesIO(style.read_bytes()), quick, EXACT)
    assert same(painting, from_paths)
    assert read(photo.read_bytes()).sha256 == read(photo).sha256
    for bad in (b"", b"no picture", io.BytesIO(), io.StringIO("text"), file):
        with pytest.raises(PictureError):
            read(bad)


def test_masks_and_other_pictures_in_memory_are_arguments(quick, photo, style, tmp_path):
    mask = np.zeros((40, 48), np.uint8)
    mask[:20] = 255
    other = np.asarray(Image.open(style))[::-1].copy()
    for name, array in (("mask", mask), ("other", other)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    masked = quick.changed(
        mask=f"{tmp_path}/mask.png={tmp_path}/other.png", protect=f"{tmp_path}/mask.png"
    )
    expected = impasto.paint(photo, style, masked, EXACT)
    for region in ((mask, Image.fromarray(other)), (tmp_path / "mask.png", other)):
        for regions in (region, [region]):
            painting = impasto.paint(photo, style, quick, EXACT, mask=regions, protect=mask)
            assert same(painting, expected)
    with_all = impasto.paint(
        photo, style, quick, EXACT, mask=[(mask, other, mask)], palette=other, fine=None
    )
    roles = [each["role"] for each in with_all.settings["inputs"]]
    assert {"palette", "mask", "mask-style", "style-mask"} <= set(roles)


def test_a_start_is_a_setting_or_a_picture(quick, photo, style):
    noise = impasto.paint(photo, style, quick, EXACT, start="noise")
    assert noise.config.start == {"noise": 1}
    assert same(noise, impasto.paint(photo, style, quick, EXACT, start={"noise": 1}))
    for start in (style, str(style)):
        assert impasto.paint(photo, style, quick, EXACT, start=start).config.start == {
            str(style): 1
        }
    assert impasto.paint(photo, style, quick, EXACT, start=Image.open(style)).settings[
        "inputs"
    ].pop()["role"] == "start"  # fmt: skip


def test_a_painting_into_memory_an_array_and_a_notebook(quick, photo, style, tmp_path):
    painting = impasto.paint(photo, style, quick, EXACT)
    for name, kind in (("png", "PNG"), ("JPEG", "JPEG"), (".webp", "WEBP")):
        buffer = io.BytesIO()
        assert painting.save(buffer, format=name) is None
        assert Image.open(buffer).format == kind
        assert settings_in(buffer.getvalue(), name)["config"]["size"] == 32
    array = np.asarray(painting)
    assert (array.dtype, array.shape) == (np.uint8, (27, 32, 3))
    assert np.array_equal(array, np.asarray(painting.image))
    assert np.asarray(painting, dtype=np.float32).dtype == np.float32
    shown = Image.open(io.BytesIO(painting._repr_png_()))
    assert np.array_equal(np.asarray(shown), array)
    assert re.fullmatch(
        r"<Painting 32 x 27, 2 steps in [\d.]+ s, objective [\d.e+-]+>", repr(painting)
    )
    assert painting.save(tmp_path / "out.png", format="png") == tmp_path / "out.png"
    with pytest.raises(OutputError, match=r"the suffix of .* is its format"):
        painting.save(tmp_path / "out.png", format="jpeg")
    with pytest.raises(OutputError, match="did you mean jpg"):
        painting.save(io.BytesIO(), format="jpgg")
    for closed in (io.StringIO(), (tmp_path / "out.png").open("rb")):
        with pytest.raises(OutputError, match="cannot write the painting"), closed:
            painting.save(closed)


def test_the_picture_of_a_step_stays_after_a_break(quick, photo, style):
    for step in impasto.paint_steps(photo, style, quick, EXACT, steps=5):
        at_once = np.asarray(step.image)
        if step.number == 3:
            break
    assert step.image.size == (32, 27)
    assert np.array_equal(at_once, np.asarray(step.image))
    assert repr(step).startswith("<Step 3 of 5, 32 x 27, objective ")


def test_errors_name_arguments_in_python_and_options_on_the_command_line(photo, style):
    calls = {
        "size=7: it takes a whole number": lambda: impasto.paint(photo, style, size=7),
        "look='bald': it takes subtle or": lambda: Config(look="bald"),
        "no setting 'devise': did you mean device?": lambda: impasto.paint(
            photo, style, devise="cpu"
        ),
        "config is {'size': 64}: it takes an impasto.Config": lambda: impasto.paint(
            photo, style, {"size": 64}
        ),
        "palette and color luminance are two answers": lambda: Config(
            palette="a.png", color="luminance"
        ),
    }
    for line, call in calls.items():
        with pytest.raises(ConfigError, match=re.escape(line)):
            call()
    use_option_names()
    try:
        with pytest.raises(ConfigError, match="--style-weight is -1: it takes"):
            Config(style_weight=-1)
    finally:
        use_option_names(False)


def test_a_config_shows_what_is_not_default_and_helps(tiny_weights):
    config = Config(size=64, style_layers={"relu1_1": 1})
    assert repr(config) == "Config(size=64, style_layers={'relu1_1': 1.0})"
    assert repr(Machine()) == "Machine()"
    assert eval(repr(config)) == config
    text = pydoc.render_doc(Config, renderer=pydoc.plaintext)
    for name in Config.model_fields:
        assert re.search(rf"^ \|      {name} = ", text, re.MULTILINE), name
    # Python 3.13 has a line for each
    assert re.search(r"Config\([\s|]*\*,[\s|]*size=512,[\s|]*size_of='long',", text)
    assert "--" not in text[: text.index("Method resolution order")]
