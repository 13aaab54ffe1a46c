"""Figures made of pictures: the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

__all__ = ["contact_sheet"]

PAPER, INK = (250, 249, 246), (40, 38, 36)


def contact_sheet(
    rows: Sequence[Sequence[tuple[Image.Image, str]]], height: int = 320, margin: int = 16
) -> Image.Image:
    """Captioned pictures in rows on light paper, each `height` pixels high; a short row ends in paper."""
    size = max(12, height // 20)
    font, line = ImageFont.load_default(size), 2 * size
    cells = [[(_at_height(image, height), caption) for image, caption in row] for row in rows]
    width = max(sum(image.width + margin for image, _ in row) for row in cells) + margin
    sheet = Image.new("RGB", (width, len(cells) * (height + line + margin) + margin), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = margin
    for row in cells:
        left = margin
        for image, caption in row:
            sheet.paste(image, (left, top), image if image.mode == "RGBA" else None)
            draw.text((left + image.width / 2, top + height + line / 2), caption, INK, font, anchor="mm")
            left += image.width + margin
        top += height + line + margin
    return sheet


def _at_height(image: Image.Image, height: int) -> Image.Image:
    kept = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return kept.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.LANCZOS)
