import os

import pytest
import torch

from crafted import BROKEN
from impasto.cli.progress_bar import download_bar, make_console


@pytest.fixture(autouse=True)
def _nothing_is_painted(monkeypatch):
    def paint(*_):
        raise AssertionError("the painting began")

    monkeypatch.setattr("impasto.objective.objective.Objective.evaluate", paint)


@pytest.fixture
def refused(impasto, tmp_path):
    """Runs a command that must fail with one line, and gives that line; nothing may be written."""

    def run(*arguments: object) -> str:
        before = sorted(os.walk(tmp_path))
        code, out, err = impasto(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("impasto: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert sorted(os.walk(tmp_path)) == before
        return err

    return run


@pytest.mark.parametrize("place", ["content", "style"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_picture_is_refused(refused, tmp_path, photo, tiny, name, place):
    make, said = BROKEN[name]
    bad = make(tmp_path)
    pictures = [bad, photo] if place == "content" else [photo, bad]
    line = refused("paint", *pictures, "-o", "out.png", *tiny)
    assert said in line
    assert str(bad) in line


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize(
    "command", [["show"], ["paint", "-o", "out.png", "--from"]], ids=["show", "from"]
)
def test_a_bad_painting_is_refused(refused, tmp_path, name, command):
    refused(*command, BROKEN[name][0](tmp_path))


def test_a_picture_without_permission_is_refused(refused, tmp_path, photo, tiny, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("impasto.records.open_regular", refuse)  # root may read everything
    assert "Permission denied" in refused("paint", photo, photo, "-o", "out.png", *tiny)


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("no/where/out.png", "no folder no/where to write out.png into"),
        (".", "is a folder: give the picture a name"),
        ("folder.png", "is a folder: give the picture a name"),
        ("out", "has no picture's suffix: choose from .png"),
        ("out.psd", "has no picture's suffix: choose from .png"),
        ("long" * 100 + ".png", "File name too long"),
    ],
)
def test_a_bad_output_is_refused(refused, tmp_path, photo, style, tiny, out, said):
    (tmp_path / "folder.png").mkdir()
    assert said in refused("paint", photo, style, "-o", out, *tiny)


def test_a_read_only_folder_is_refused(refused, photo, style, tiny, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)  # root may write everywhere
    assert "cannot write out.png: Permission denied" in refused(
        "paint", photo, style, "-o", "out.png", *tiny
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--style-layers conv4_9", "no layer 'conv4_9' in VGG-19: did you mean conv4_"),
        ("--content-layers block4_conv7", "no layer 'block4_conv7' in VGG-19: did you mean conv4_"),
        ("--preset gatys-lbgfs", "no preset 'gatys-lbgfs': did you mean gatys-lbfgs?"),
        ("--preset nonsense", "no preset 'nonsense': choose from default, gatys-lbfgs"),
        ("--style-weight -1", "--style-weight is '-1': it takes a number from 0"),
        ("--style-weight nan", "--style-weight is 'nan': it takes a number from 0"),
        (
            "--content-weight 1e13",
            "--content-weight is '1e13': it takes a number from 0 to 1,000,000,000,000",
        ),
        ("--style-layers conv1_1=-3", "--style-layers conv1_1 is '-3': it takes weights from 0"),
        ("--strength 1e9", "--strength is '1e9': it takes a number from 0 to 1,000"),
        ("--steps 0", "--steps is '0': it takes a whole number from 1"),
        ("--size 3", "--size is '3': it takes a whole number from 16 to 65,536, or original"),
        ("--size large", "--size is 'large': it takes a whole number"),
        ("--blend 0,0", "its weights must add to more than 0"),
        ("--blend half", "--blend is 'half': it takes weights"),
        ("--blend 0.7,0.3", "--blend has 2 weights for 1 styles: give one a style"),
        ("--optimizer sgd", "--optimizer is 'sgd': it takes lbfgs or adam"),
        ("--device gpu", "--device is 'gpu': it takes auto or cpu or cuda or mps"),
        ("--backbone vgg91", "no network 'vgg91': did you mean vgg19"),
        ("--backbone nowhere.pth", "no weights at nowhere.pth"),
        ("--start nowhere.png", "no picture at nowhere.png"),
        ("--from photo.png --preset default", "give --from or --preset, not both"),
        ("--stepz 3", "No such option"),
        ("--steps", "requires an argument"),
    ],
)
def test_a_bad_option_is_refused(refused, photo, style, tiny, options, said):
    assert said in refused("paint", photo, style, "-o", "out.png", *tiny, *options.split())


def test_an_unknown_option_is_answered_with_the_nearest(refused, photo, style):
    assert "--strength" in refused("paint", photo, style, "--strenght", "3")


def test_an_empty_name_is_told(refused, style):
    assert "the name of a picture is empty" in refused("paint", "", style)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused(refused, photo, style, tiny, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    line = refused("paint", photo, style, "-o", "out.png", *tiny, "--device", device)
    assert f"--device {device} is not on this machine: choose from cpu" in line


def test_a_painting_that_would_be_too_thin_is_refused(refused, tmp_path, style, tiny):
    from crafted import noise

    noise(400, 20).save(tmp_path / "thin.png")
    assert "give a larger --size" in refused("paint", "thin.png", style, "-o", "out.png", *tiny)


def test_a_layer_beyond_the_weights_is_refused(refused, tmp_path, photo, style, tiny_weights):
    from safetensors.torch import load_file, save_file

    shallow = {name: tensor for name, tensor in load_file(tiny_weights).items() if name < "conv3"}
    save_file(
        shallow, tmp_path / "shallow.safetensors", {"input": "(RGB in [0, 1] - 0.45) / 0.226"}
    )
    line = refused(
        "paint", photo, style, "-o", "out.png", "--backbone", "shallow.safetensors", "--size", 32
    )
    assert "shallow.safetensors, which holds conv1_1 to conv2_2" in line


def test_from_a_file_without_settings_is_refused(refused, photo):
    for command in (["paint", "-o", "out.png", "--from"], ["show"]):
        assert "photo.png carries no settings" in refused(*command, photo)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures_are_refused(refused, photo, count):
    assert "give a CONTENT and a STYLE picture" in refused("paint", *[photo] * count)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("pain", "No such command 'pain'"),
        ("presets defualt", "no preset 'defualt': did you mean default?"),
        ("show", "Missing argument"),
        ("weights fetch vgg91", "no network 'vgg91': did you mean vgg19?"),
        ("weights verify vgg91", "no network 'vgg91': did you mean vgg19?"),
        ("demo --style wodcut", "no sample style 'wodcut': did you mean woodcut?"),
        ("demo --out nowhere", "no folder nowhere"),
    ],
)
def test_a_bad_command_is_refused(refused, arguments, said):
    assert said in refused(*arguments.split())


def test_no_arguments_show_the_help(impasto):
    code, out, err = impasto()
    assert code == 2
    assert "Usage: impasto" in out + err


def test_out_of_memory_names_the_way_out(refused, photo, style, tiny, monkeypatch):
    def fail(*_):
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate "
            "9 bytes"
        )

    monkeypatch.setattr("impasto.objective.objective.Objective.evaluate", fail)
    assert "give a smaller --size" in refused("paint", photo, style, "-o", "out.png", *tiny)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_download_is_shown_unless_quiet(capsys, quiet):
    with download_bar(make_console(quiet), "vgg19") as progress:
        progress(1, 2)
        progress(2, 2)
    assert ("vgg19" in capsys.readouterr().err) is not quiet


def test_no_download_shows_nothing(capsys):
    with download_bar(make_console(), "vgg19"):
        pass
    assert capsys.readouterr() == ("", "")


def test_the_painting_never_overwrites_what_it_is_painted_from(impasto, tiny, photo, style) -> None:
    before = photo.read_bytes()
    code, _, err = impasto("paint", photo, style, "-o", photo, *tiny)
    assert code == 2
    assert "give another name" in err
    assert photo.read_bytes() == before


def test_a_misspelt_start_names_a_near_one(impasto, tiny, photo, style) -> None:
    code, _, err = impasto("paint", photo, style, *tiny, "--start", "contnt")
    assert code == 2
    assert err.splitlines() == [
        "impasto: no start 'contnt', nor a picture of that name: did you mean content?"
    ]
