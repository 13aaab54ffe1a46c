"""Draw contact sheets and grids of pictures with captions."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from impasto.images.samples import matplotlib_data

__all__ = ["PAPER", "Cell", "contact_sheet", "in_rows", "kinds"]

PAPER, INK, FAINT = (250, 249, 246), (40, 38, 36), (200, 196, 190)
WIDEST, TALLEST = 2400, 3200  # pixels; pictures get smaller before a sheet gets larger
LEAST = 96  # pixels: the least height of pictures with captions
SMALLEST = 16  # pixels: the least height of pictures in a wide row
MOST_LINES = 6  # of one caption

Cell = tuple[Image.Image | str, str]
"""A picture, or the reason why there is none, and a caption; the first of several lines is bold."""


def kinds(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Sum the terms of each kind ("content", "style" ...) over their layers; values are numbers or
    arrays."""
    sums: dict[str, Any] = {}
    for name, value in terms.items():
        kind = name.partition(" ")[0]
        sums[kind] = sums[kind] + value if kind in sums else value
    return sums


def in_rows(cells: Sequence[Cell], columns: int = 0) -> list[list[Cell]]:
    """Split `cells` into rows of `columns`; by default as many as make the sheet about 3 : 2."""
    if not columns:
        shapes = [
            image.width / image.height for image, _ in cells if isinstance(image, Image.Image)
        ]
        columns = max(
            1, round((1.5 * len(cells) / (sum(shapes) / len(shapes) if shapes else 1.0)) ** 0.5)
        )
    return [list(cells[k : k + columns]) for k in range(0, len(cells), columns)]


def contact_sheet(
    rows: Sequence[Sequence[Cell]], height: int = 320, margin: int = 16
) -> Image.Image:
    """Draw captioned pictures in rows on a light background.

    Captions are wrapped to the width of their picture.

    Args:
        rows: of pictures and captions.
        height: of each picture in pixels; less if the sheet would be wider than WIDEST or taller
        than TALLEST.
        margin: between pictures, in pixels.
    """
    rows = [[(_plain(image), _drawable(caption)) for image, caption in row] for row in rows]
    shape = next(
        (_shape(image) for row in rows for image, _ in row if isinstance(image, Image.Image)), 4 / 3
    )
    height = min(height, _widest(rows, shape, margin))
    laid = _laid_out(rows, height, shape)
    while (over := _total(laid, height, margin) - TALLEST) > 0 and height > LEAST:
        # captions wrap into more lines as pictures shrink
        height = max(LEAST, height - max(1, over // len(rows)))
        laid = _laid_out(rows, height, shape)
    size, line = _text_size(height)
    width = max(sum(image.width + margin for image, _ in row) for row in laid) + margin
    sheet = Image.new("RGB", (width, _total(laid, height, margin)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = margin
    for row in laid:
        left = margin
        for image, lines in row:
            sheet.paste(image, (left, top), image if image.mode == "RGBA" else None)
            for k, (text, bold) in enumerate(lines):
                at = left + image.width / 2, top + height + line // 2 + (k + 0.5) * line
                draw.text(at, text, INK, font(size, bold), anchor="mm")
            left += image.width + margin
        top += height + _below(row, line) + margin
    return sheet


Line = tuple[str, bool]  # of text, and whether it is bold
LaidOut = list[list[tuple[Image.Image, list[Line]]]]


def _text_size(height: int) -> tuple[int, int]:
    """The font size and the line height of captions under pictures of this height."""
    size = max(12, height // 24)
    return size, round(1.4 * size)


def _below(row: list[tuple[Image.Image, list[Line]]], line: int) -> int:
    """The height of a row's captions in pixels."""
    most = max((len(lines) for _, lines in row), default=0)
    return most * line + line // 2 if most else 0


def _total(laid: LaidOut, height: int, margin: int) -> int:
    _, line = _text_size(height)
    return margin + sum(height + _below(row, line) + margin for row in laid)


def _laid_out(rows: Sequence[Sequence[Cell]], height: int, shape: float) -> LaidOut:
    size, _ = _text_size(height)
    return [
        [_laid(image, caption, height, round(shape * height), size) for image, caption in row]
        for row in rows
    ]


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Load the font of captions; its layout is the same on every machine.

    It is matplotlib's DejaVu Sans with the extra `plots`; else Pillow's own font, which has no bold
    and the letters of ASCII only.
    """
    data = matplotlib_data()
    if data is None:
        small = ImageFont.load_default(size)
        assert isinstance(small, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
        return small
    name = f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(
        str(data / "fonts" / "ttf" / name), size, layout_engine=ImageFont.Layout.BASIC
    )


def _plain(image: Image.Image | str) -> Image.Image | str:
    if isinstance(image, str):
        return _drawable(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _drawable(text: str) -> str:
    """Replace what the font lacks: by plain letters, or else by question marks.

    That is what is not Unicode (old file names), and without the extra `plots` what is not ASCII.
    """
    if matplotlib_data() is None:
        plain = unicodedata.normalize("NFKD", text.replace("×", "x").replace("…", "..."))
        text = "".join(letter for letter in plain if not unicodedata.combining(letter))
        return text.encode("ascii", errors="replace").decode()
    return text.encode(errors="replace").decode()


def _shape(image: Image.Image) -> float:
    return image.width / image.height


def _widest(rows: Sequence[Sequence[Cell]], shape: float, margin: int) -> int:
    """The height of pictures at which the widest row fits; a missing picture counts as one of
    `shape`."""
    fitting = []
    for row in rows:
        shapes = [_shape(image) if isinstance(image, Image.Image) else shape for image, _ in row]
        # half a pixel each for rounding
        fitting.append(
            (WIDEST - margin * (len(row) + 1) - len(row) / 2) / sum(shapes) if shapes else WIDEST
        )
    return max(SMALLEST, int(min(fitting)))


def _laid(
    image: Image.Image | str, caption: str, height: int, usual: int, size: int
) -> tuple[Image.Image, list[Line]]:
    """Scale a picture to `height` (or draw its reason in a frame `usual` pixels wide), and wrap its
    caption."""
    if isinstance(image, str):
        drawn = _reason(image, usual, height, size)
    else:
        drawn = image.resize(
            (max(1, round(_shape(image) * height)), height), Image.Resampling.LANCZOS
        )
    return drawn, _wrapped(
        caption, drawn.width, size, MOST_LINES, "\n" in caption
    ) if caption else []


def _reason(text: str, width: int, height: int, size: int) -> Image.Image:
    """Draw a frame with `text` in place of a missing picture."""
    frame = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(frame)
    draw.rectangle((0, 0, width - 1, height - 1), outline=FAINT)
    lines = _wrapped(text, width - 2 * size, size, max(1, int(height / (1.4 * size)) - 1))
    for k, (each, _) in enumerate(lines):
        at = width / 2, height / 2 + (k - (len(lines) - 1) / 2) * 1.4 * size
        draw.text(at, each, INK, font(size), anchor="mm")
    return frame


def _wrapped(text: str, width: int, size: int, most: int, bold_first: bool = False) -> list[Line]:
    """Wrap `text` at spaces (not at no-break ones) into at most `most` lines of `width` pixels."""
    lines: list[Line] = []
    for k, paragraph in enumerate(text.split("\n")):
        bold, line = bold_first and k == 0, ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}".strip(" ")
            if line and font(size, bold).getlength(longer) > width:
                lines.append((line, bold))
                line = word
            else:
                line = longer
        lines.append((line, bold))
    if len(lines) > most:
        last, bold = lines[most - 1]
        lines = [*lines[: most - 1], (f"{last} {_more()}", bold)]
    return [(_cut(line, font(size, bold), width), bold) for line, bold in lines]


def _cut(line: str, used: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut `line` to `width` pixels, with an ellipsis if it is too long."""
    if used.getlength(line) <= width:
        return line
    more = _more()
    line = line.removesuffix(f" {more}")
    kept = next(
        k for k in range(len(line), -1, -1) if k == 0 or used.getlength(line[:k] + more) <= width
    )
    return line[:kept] + more


def _more() -> str:
    """The ellipsis of the font."""
    return _drawable("…")
