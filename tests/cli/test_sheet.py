"""`impasto sheet`: one photograph in many styles, and the other way round."""

import re

import pytest
from PIL import Image

from impasto.fields import option_name
from impasto.parsing import format_value
from impasto.presets import OF_QUICK


@pytest.fixture
def folder(photo, style, tmp_path):
    """Three pictures of two shapes, a broken one, and another file."""
    place = tmp_path / "folder"
    place.mkdir()
    Image.open(style).save(place / "a.png")
    Image.open(style).rotate(90, expand=True).save(place / "b.png")
    Image.open(photo).save(place / "c.png")
    (place / "broken.png").write_bytes(b"no picture")
    (place / "notes.txt").write_text("not a picture either")
    return place


@pytest.fixture
def sheet(impasto, tiny):
    """Makes a sheet of tiny paintings."""
    few = [word for word in tiny if word not in ("--levels", "1")]
    return lambda *words: impasto("sheet", *words, *few)


@pytest.mark.parametrize("more", [[], ["--photos"]])
def test_a_cell_for_each_picture_and_broken_ones_are_named(sheet, sheets, photo, folder, more):
    code, out, err = sheet(photo, folder, "-o", "sheet.jpg", *more)
    assert (code, out) == (3, "sheet.jpg\n")
    assert "left out: " in err
    assert "broken.png is not a picture" in err
    first = "style" if more else "photograph"
    titles = [caption for row in sheets[0] for _, caption in row]
    assert titles == [f"{first}\nphoto.png", "a.png", "b.png", "c.png"]
    sizes = [image.size for row in sheets[0] for image, _ in row]
    assert sizes == [(32, 27), *([(32, 27), (27, 32), (32, 27)] if more else [(32, 27)] * 3)]
    with Image.open("sheet.jpg") as image:
        assert image.format == "JPEG"


def test_each_cell_is_the_painting_that_paint_makes(
    sheet, sheets, impasto, photo, folder, tiny, tmp_path
):
    assert sheet(photo, folder / "a.png", folder / "b.png")[0] == 0
    few = [word for word in tiny if word not in ("--levels", "1")]
    for name, value in OF_QUICK.items():
        few += [option_name(name), format_value(value)]
    impasto("paint", photo, folder / "b.png", *few, "--finish", 0, "-o", "out.png")
    painted = Image.open(tmp_path / "out.png")
    shown = next(image for row in sheets[0] for image, caption in row if caption == "b.png")
    upper = (0, 0, 32, 16)  # below is the style, small
    assert shown.crop(upper).tobytes() == painted.crop(upper).tobytes()
    assert shown.tobytes() != painted.tobytes()


def test_what_fails_is_told_beside_the_sheet_and_without_a_painting_there_is_none(
    sheet, impasto, photo, style, tmp_path
):
    Image.new("RGB", (640, 16)).save(tmp_path / "tape.png")
    code, _, err = sheet(style, photo, tmp_path / "tape.png", "--photos", "-o", "sheet.jpg")
    assert code == 3
    assert "impasto: tape.png: " in err
    assert "would be painted at 32 x 1 pixels" in err
    code, _, err = impasto("sheet", tmp_path / "tape.png", style, "-o", "none.jpg", "--size", 32)
    assert code == 2
    assert "none of 1 could be painted, and no sheet was written" in err
    assert not (tmp_path / "none.jpg").exists()


def test_large_paintings_and_exchanged_arguments_are_refused(refused, photo, folder, style):
    for size in (4096, "original"):
        assert "is too large for a sheet" in refused("sheet", photo, folder, "--size", size)
    assert "is a folder, and the style comes first" in refused("sheet", folder, style, "--photos")


def test_the_help_has_the_defaults_of_a_sheet(impasto):
    text = " ".join(impasto("sheet", "--help")[1].split())
    assert "default: 192]" in text
    assert re.search(r"--steps .{,200}default: 8]", text)


def test_what_cannot_be_drawn_is_told(refused, photo, tmp_path, folder, tiny):
    (tmp_path / "empty").mkdir()
    assert "no picture in the folder empty" in refused("sheet", photo, "empty", *tiny[:2])
    assert "no picture at missing.png" in refused("sheet", "missing.png", folder, *tiny[:2])
    assert "Missing argument" in refused("sheet", photo)
