import numpy as np
import pytest
from PIL import Image

from impasto.errors import ConfigError, PictureError
from impasto.pictures import read
from impasto.pictures.figures import PAPER, contact_sheet
from impasto.pictures.samples import STYLES, sample_photograph, sample_style

RED = Image.new("RGB", (80, 40), "red")
BLUE = Image.new("RGB", (30, 60), "blue")


def test_a_sheet_holds_its_pictures_at_one_height():
    sheet = contact_sheet([[(RED, "content"), (BLUE, "style")]], height=40, margin=10)
    assert sheet.mode == "RGB"
    assert sheet.width == 10 + 80 + 10 + 20 + 10  # the second picture is scaled to 20 x 40
    values = np.asarray(sheet)
    assert (values[10:50, 10:90] == (255, 0, 0)).all()
    assert (values[10:50, 100:120] == (0, 0, 255)).all()
    assert (values[:10] == PAPER).all()
    assert (values[:, 90:100][:50] == PAPER).all()


def test_captions_stand_under_their_pictures():
    values = np.asarray(contact_sheet([[(RED, "content"), (BLUE, "")]], height=40, margin=10))
    written = (values != PAPER).any(2)[50:]
    assert written[:, 10:90].any()
    assert not written[:, 100:120].any()


def test_a_short_row_ends_in_paper():
    values = np.asarray(contact_sheet([[(RED, "a"), (RED, "b")], [(BLUE, "c")]], height=40, margin=10))
    second = values[len(values) // 2 + 5 :]
    assert (second[:30, 10:30] == (0, 0, 255)).any()
    assert (second[:, 60:] == PAPER).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_show_the_paper(mode):
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    if mode == "P":
        clear = Image.new("P", (40, 40), 0)
        clear.info["transparency"] = 0
    elif mode != "RGBA":
        clear = clear.convert("LA") if mode == "LA" else clear.convert("LA").convert("PA")
    assert clear.mode == mode
    values = np.asarray(contact_sheet([[(clear, "")]], height=40, margin=10))
    assert (values == PAPER).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_pictures_of_any_mode_are_taken(mode):
    white = Image.new("RGB", (40, 40), "white").convert(mode)
    assert (np.asarray(contact_sheet([[(white, "")]], height=40, margin=10))[10:50, 10:50] == 255).all()


def test_the_sample_photograph_is_here():
    assert read(sample_photograph()).pixels.shape[1] == 3


def test_without_matplotlib_the_error_names_it(monkeypatch):
    monkeypatch.setattr("impasto.pictures.samples.find_spec", lambda name: None)
    with pytest.raises(PictureError, match="pip install matplotlib"):
        sample_photograph()


@pytest.mark.parametrize("name", STYLES)
def test_every_sample_style_is_here(name):
    assert min(read(sample_style(name)).pixels.shape[2:]) >= 256


def test_an_unknown_sample_style_is_told():
    with pytest.raises(ConfigError, match="did you mean woodcut"):
        sample_style("woodcuts")
