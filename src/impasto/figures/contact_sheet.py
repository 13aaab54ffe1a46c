"""Figures made of pictures: contact sheets and grids, with captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from impasto.images.samples import matplotlib_data

__all__ = ["PAPER", "Cell", "contact_sheet", "in_rows", "kinds"]

PAPER, INK, FAINT = (250, 249, 246), (40, 38, 36), (200, 196, 190)
WIDEST, TALLEST = 2400, 3200  # pixels; a sheet that would be larger has smaller pictures
LEAST = 96  # pixels of a picture's height that captions can still stand under
SMALLEST = 16  # pixels of a picture's height, where so many stand beside one another
MOST_LINES = 6  # of one caption

Cell = tuple[Image.Image | str, str]
"""A picture, or in words why there is none; and its caption, whose first line is bold if there are
more."""


def kinds(terms: Mapping[str, Any]) -> dict[str, Any]:
    """The sum of each kind of term: "content", "style" and so on, over their layers; of numbers or
    arrays alike."""
    sums: dict[str, Any] = {}
    for name, value in terms.items():
        kind = name.partition(" ")[0]
        sums[kind] = sums[kind] + value if kind in sums else value
    return sums


def in_rows(cells: Sequence[Cell], columns: int = 0) -> list[list[Cell]]:
    """`cells` in rows of `columns`, or of what makes the sheet about 3 : 2."""
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
    """Captioned pictures in rows on light paper, each `height` pixels high; a short row ends in
    paper.

    Where the sheet would be wider than WIDEST or taller than TALLEST, the pictures are less high.
    Captions are wrapped to their picture's width.
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
    """Of a caption under pictures of this height: its size, and that of a line."""
    size = max(12, height // 24)
    return size, round(1.4 * size)


def _below(row: list[tuple[Image.Image, list[Line]]], line: int) -> int:
    """Pixels that a row's captions take."""
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
    """DejaVu Sans, which matplotlib ships; laid out alike on every machine."""
    name = f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(
        str(matplotlib_data() / "fonts" / "ttf" / name), size, layout_engine=ImageFont.Layout.BASIC
    )


def _plain(image: Image.Image | str) -> Image.Image | str:
    if isinstance(image, str):
        return _drawable(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _drawable(text: str) -> str:
    """A name that is no Unicode (of a file from another time) with question marks in it."""
    return text.encode(errors="replace").decode()


def _shape(image: Image.Image) -> float:
    return image.width / image.height


def _widest(rows: Sequence[Sequence[Cell]], shape: float, margin: int) -> int:
    """The height of a picture at which the widest row fits; words are as wide as a picture of the
    usual `shape`."""
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
    """The picture at its height (or its reason in a frame of the `usual` width), and the lines of
    its caption."""
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
    """A frame with `text` in it, where a picture would have been."""
    frame = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(frame)
    draw.rectangle((0, 0, width - 1, height - 1), outline=FAINT)
    lines = _wrapped(text, width - 2 * size, size, max(1, int(height / (1.4 * size)) - 1))
    for k, (each, _) in enumerate(lines):
        at = width / 2, height / 2 + (k - (len(lines) - 1) / 2) * 1.4 * size
        draw.text(at, each, INK, font(size), anchor="mm")
    return frame


def _wrapped(text: str, width: int, size: int, most: int, bold_first: bool = False) -> list[Line]:
    """`text` in at most so many lines of at most `width` pixels; broken at spaces, but not at
    no-break ones."""
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
        lines = [*lines[: most - 1], (f"{last} …", bold)]
    return [(_cut(line, font(size, bold), width), bold) for line, bold in lines]


def _cut(line: str, used: ImageFont.FreeTypeFont, width: int) -> str:
    """`line`, or as much of it as fits before an ellipsis."""
    if used.getlength(line) <= width:
        return line
    line = line.removesuffix(" …")
    kept = next(
        k for k in range(len(line), -1, -1) if k == 0 or used.getlength(line[:k] + "…") <= width
    )
    return line[:kept] + "…"
