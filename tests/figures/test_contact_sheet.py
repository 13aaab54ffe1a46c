import numpy as np
import pytest
from PIL import Image, ImageDraw

from impasto.errors import ConfigError
from impasto.figures.contact_sheet import (
    FAINT,
    MOST_LINES,
    PAPER,
    TALLEST,
    WIDEST,
    contact_sheet,
    font,
    in_rows,
    kinds,
)
from impasto.images.read import read
from impasto.images.samples import STYLES, sample_photograph, sample_portrait, sample_style
from impasto.images.write import write

RED = Image.new("RGB", (80, 40), "red")
BLUE = Image.new("RGB", (30, 60), "blue")
PARAGRAPH = "one long paragraph with words of several lengths that has to go on in another line"


@pytest.fixture
def written(monkeypatch):
    """What is written into figures from here on: its text, its font, whether that is bold."""
    found, write_text = [], ImageDraw.ImageDraw.text

    def text(self, at, words, fill, font, **more):
        found.append((words, font, "Bold" in font.getname()[1]))
        write_text(self, at, words, fill, font, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return found


def stretches(mask):
    """First and last of each stretch of True, as a range."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


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
    values = np.asarray(
        contact_sheet([[(RED, "a"), (RED, "b")], [(BLUE, "c")]], height=40, margin=10)
    )
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
    assert (
        np.asarray(contact_sheet([[(white, "")]], height=40, margin=10))[10:50, 10:50] == 255
    ).all()


@pytest.mark.parametrize("sample", [sample_photograph, sample_portrait])
def test_the_sample_photographs_are_here(sample):
    assert min(read(sample()).pixels.shape[2:]) >= 512


def test_without_matplotlib_captions_have_plain_letters(monkeypatch):
    monkeypatch.setattr("impasto.images.samples.find_spec", lambda name: None)
    font.cache_clear()
    white = Image.new("RGB", (200, 40), "white")
    try:
        accented, plain = (
            contact_sheet([[(white, text)]], height=40)
            for text in ("Café 3 × 4 中", "Cafe 3 x 4 ?")
        )
        assert accented == plain
        assert accented != contact_sheet([[(white, "")]], height=40)
        contact_sheet([[(white, "a caption that is much too long " * 40)]], height=40)
    finally:
        font.cache_clear()


@pytest.mark.parametrize("name", STYLES)
def test_every_sample_style_is_here(name):
    assert min(read(sample_style(name)).pixels.shape[2:]) >= 256


def test_an_unknown_sample_style_is_told():
    with pytest.raises(ConfigError, match="did you mean woodcut"):
        sample_style("woodcuts")


@pytest.mark.parametrize(
    ("shape", "count", "columns", "rows"),
    [
        ((40, 40), 6, 0, [3, 3]),  # 3 : 2
        ((40, 40), 24, 0, [6, 6, 6, 6]),
        ((80, 40), 6, 0, [2, 2, 2]),
        ((30, 60), 6, 0, [4, 2]),
        ((400, 20), 3, 0, [1, 1, 1]),
        ((40, 40), 5, 2, [2, 2, 1]),
        ((40, 40), 3, 7, [3]),
        ((40, 40), 1, 0, [1]),
    ],
)
def test_rows_make_a_sheet_of_about_3_to_2_or_of_the_columns_asked_for(shape, count, columns, rows):
    cells = [(Image.new("RGB", shape), str(k)) for k in range(count)]
    laid = in_rows(cells, columns)
    assert [len(row) for row in laid] == rows
    assert [caption for row in laid for _, caption in row] == [str(k) for k in range(count)]


def test_rows_of_words_alone_are_laid_out_too():
    assert [len(row) for row in in_rows([("no memory", "")] * 6)] == [3, 3]
    assert [len(row) for row in in_rows([(RED, ""), ("no memory", ""), (RED, "")])] == [2, 1]


def test_kinds_are_the_sums_over_the_layers():
    terms = {"content relu4_2": 1.0, "style relu1_1": 2.0, "style relu2_1": 3.0, "tv": 4.0}
    assert kinds(terms) == {"content": 1.0, "style": 5.0, "tv": 4.0}
    assert list(kinds(terms)) == ["content", "style", "tv"]
    assert kinds({}) == {}


def test_kinds_of_arrays_leave_the_arrays_as_they_are():
    first, second = np.array([1.0, np.nan]), np.array([2.0, 3.0])
    np.testing.assert_array_equal(
        kinds({"style a": first, "style b": second})["style"], [3.0, np.nan]
    )
    np.testing.assert_array_equal(first, [1.0, np.nan])


def test_all_margins_of_a_sheet_without_captions_are_even():
    values = np.asarray(contact_sheet([[(RED, ""), (RED, "")]] * 2, height=40, margin=10))
    red = (values == (255, 0, 0)).all(2)
    assert values.shape[1] == 10 + 80 + 10 + 80 + 10
    assert stretches(red.any(0)) == [(10, 90), (100, 180)]
    top, bottom = stretches(red.any(1))
    assert top == (10, 50)
    assert bottom[0] - top[1] == len(values) - bottom[1] == 10


def test_the_margins_of_a_sheet_with_captions_are_even_too():
    values = np.asarray(contact_sheet([[(RED, "Hp"), (RED, "Hp")]] * 2, height=40, margin=10))
    left, right = stretches((values == (255, 0, 0)).all(2).any(0))
    assert (left[0], right[0] - left[1], values.shape[1] - right[1]) == (10, 10, 10)
    first, caption, second, last = stretches((values != PAPER).any(2).any(1))
    assert first[0] == 10
    assert caption[0] - first[1] == last[0] - second[1] > 4  # a caption does not touch its picture
    assert second[0] - caption[1] == len(values) - last[1]
    assert 10 <= second[0] - caption[1] <= 10 + 6  # the line's own leading


def test_a_caption_is_centred_under_its_picture():
    values = np.asarray(contact_sheet([[(RED, "style"), (BLUE, "x")]], height=40, margin=10))
    (left, *_, right), *_ = np.nonzero((values != PAPER).any(2)[50:, :95].any(0))
    assert abs((left + right) / 2 - 50) <= 1.5


@pytest.mark.parametrize("width", [60, 90, 120, 150, 160])
@pytest.mark.parametrize(
    "caption", [PARAGRAPH, f"a title that is long\n{PARAGRAPH}"], ids=["paragraph", "title"]
)
def test_every_line_of_a_caption_is_no_wider_than_its_picture(written, width, caption):
    contact_sheet([[(Image.new("RGB", (width, 40)), caption)]], height=40)
    assert len(written) > 1
    assert [text for text, font, _ in written if font.getlength(text) > width] == []


def test_a_wrapped_caption_has_all_its_words_in_order(written):
    contact_sheet([[(Image.new("RGB", (200, 40)), PARAGRAPH)]], height=40)
    assert len(written) > 1
    assert " ".join(text for text, *_ in written) == PARAGRAPH


def test_the_first_line_is_bold_if_there_are_several(written):
    contact_sheet([[(RED, "title\none\ntwo"), (RED, "alone")]], height=40)
    assert [(text, bold) for text, _, bold in written] == [
        ("title", True),
        ("one", False),
        ("two", False),
        ("alone", False),
    ]


def test_a_line_that_is_wrapped_has_one_weight(written):
    contact_sheet([[(Image.new("RGB", (200, 40)), PARAGRAPH)]], height=40)
    assert {bold for _, _, bold in written} == {False}
    written.clear()
    contact_sheet([[(RED, "a title in two lines\nplain")]], height=40)
    assert [bold for _, _, bold in written] == [True, True, False]


def test_a_no_break_space_does_not_break(written):
    contact_sheet([[(RED, "step\u00a01,000 style\u00a00.43")]], height=40)
    assert [text for text, *_ in written] == ["step\u00a01,000", "style\u00a00.43"]


def test_a_word_that_is_too_long_ends_with_an_ellipsis(written):
    contact_sheet([[(RED, "Donaudampfschifffahrtsgesellschaft.jpg")]], height=40)
    [(text, font, _)] = written
    assert text.startswith("Donau")
    assert text.endswith("…")
    assert font.getlength(text) <= 80


def test_a_caption_of_too_many_lines_ends_with_an_ellipsis(written):
    contact_sheet([[(RED, "\n".join("abcdefghij"))]], height=40)
    assert len(written) == MOST_LINES
    assert written[-1][0].endswith("…")


def test_words_stand_in_a_frame_of_a_picture_s_shape(written):
    sheet = contact_sheet([[("not enough memory", "failed"), (RED, "done")]], height=100, margin=10)
    values = np.asarray(sheet)
    assert sheet.width == 10 + 200 + 10 + 200 + 10
    for edge in (values[10, 10:210], values[109, 10:210], values[10:110, 10], values[10:110, 209]):
        assert (edge == FAINT).all()
    ink = (values[11:109, 11:209] != PAPER).any(2)
    [(top, bottom)] = stretches(ink.any(1))
    assert abs((top + bottom) / 2 - 49) <= 2
    assert 0.01 < ink.mean() < 0.2
    assert [text for text, *_ in written] == ["not enough memory", "failed", "done"]
    assert (values[10:110, 220:420] == (255, 0, 0)).all()


def test_words_that_do_not_fit_into_their_frame_end_with_an_ellipsis(written):
    contact_sheet([[(f"{PARAGRAPH}, " * 9, "")]], height=100)
    assert 3 <= len(written) <= 100 / (1.4 * 12)
    assert all(font.getlength(text) <= 100 * 4 / 3 for text, font, _ in written)
    assert written[-1][0].endswith("…")


def test_a_sheet_of_words_alone_is_drawn():
    values = np.asarray(
        contact_sheet([[("no memory", "a"), ("no memory", "b")]], height=48, margin=10)
    )
    assert stretches((values[10] == FAINT).all(1)) == [(10, 74), (84, 148)]  # 4 : 3


THREE_LINES = "optimizer\u00a0lbfgs\n12.3\u00a0s, 200\u00a0evaluations\nobjective\u00a00.1234"


@pytest.mark.parametrize(
    ("shape", "count", "columns"),
    [
        pytest.param((1200, 900), 24, 0, marks=pytest.mark.slow),
        ((600, 800), 24, 0),
        pytest.param((640, 360), 60, 0, marks=pytest.mark.slow),
        ((32, 27), 60, 0),
        ((800, 600), 24, 8),
        pytest.param((800, 600), 24, 2, marks=pytest.mark.slow),
    ],
)
def test_a_sheet_of_many_large_pictures_stays_within_its_bounds(shape, count, columns):
    picture = Image.new("RGB", shape, "red")
    sheet = contact_sheet(in_rows([(picture, THREE_LINES)] * count, columns))
    assert sheet.width <= WIDEST
    assert sheet.height <= TALLEST
    values = np.asarray(sheet)
    across = stretches((values == (255, 0, 0)).all(2).any(0))
    assert len(across) == (columns or len(in_rows([(picture, "")] * count)[0]))
    assert {right - left for left, right in across} == {across[0][1] - across[0][0]}
    assert across[0][0] == 16 == sheet.width - across[-1][1]


def test_a_sheet_with_words_among_wide_pictures_stays_within_its_bounds():
    wide = Image.new("RGB", (1600, 400))
    assert contact_sheet([[(wide, "a"), *[("no memory", "b")] * 4]]).width <= WIDEST


def test_the_same_sheet_is_written_as_the_same_bytes(tmp_path):
    rows = [
        [(RED, "content\nlong words that wrap"), ("no memory", "")],
        [(BLUE.convert("RGBA"), "style")],
    ]
    for name in ("one.png", "two.png"):
        write(contact_sheet(rows), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
