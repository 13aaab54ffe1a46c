"""Draw the contact sheets of a batch: every painting, on as many sheets as it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from impasto.batch.job import Job
from impasto.batch.store import free_name
from impasto.errors import PictureError
from impasto.figures.contact_sheet import Cell, contact_sheet, in_rows
from impasto.images.metadata import KEY
from impasto.images.read import bytes_of, read_bytes
from impasto.images.write import to_image, write
from impasto.records import open_regular

# inside its file, as settings are in a painting's
MARK = {"program": "impasto", "sheet": "of a batch"}
NAME = re.compile(r"contact-sheet(-\d{3})?(-sheet\d+(-\d+)?)?\.png")

SIDE = 320  # pixels of a picture on a sheet
EACH = 60  # pictures on one sheet, at most
MOST_COLUMNS = 8
# characters of a caption: a longer one does not fit, and takes long to draw
LONGEST = 200


def write_contact_sheets(
    folder: Path, results: Iterable[tuple[Job, Path | str | None]]
) -> list[Path]:
    """Write the contact sheets of a batch, in place of those of the call before.

    Args:
        folder: the batch's folder.
        results: every job with its painting, or why there is none (None: not painted yet).

    Returns:
        The paths of the sheets.

    Raises:
        OutputError: a sheet cannot be written.
    """
    found = list(results)
    columns = _columns([job for job, _ in found])
    each = EACH // columns * columns if columns else EACH
    pages = [found[start : start + each] for start in range(0, len(found), each)]
    paths = [_sheet_path(folder, number) for number in range(1, len(pages) + 1)]
    for page, path in zip(pages, paths, strict=True):
        cells = [_cell(job, result) for job, result in page]
        write(contact_sheet(in_rows(cells, columns)), path, MARK)
    for path in folder.glob("contact-sheet*.png"):
        if path not in paths and NAME.fullmatch(path.name) and is_contact_sheet(path):
            with suppress(OSError):  # one too many does no harm
                path.unlink()
    return paths


def _sheet_path(folder: Path, number: int) -> Path:
    """The path of a sheet: a new file, or an older sheet that may be replaced."""

    def is_taken(name: str) -> bool:
        path = folder / name
        return path.exists() and not is_contact_sheet(path)

    name = "contact-sheet.png" if number == 1 else f"contact-sheet-{number:03d}.png"
    return folder / free_name(name, f"sheet{number}", is_taken)


def is_contact_sheet(path: Path) -> bool:
    """True if a file is a contact sheet of a batch."""
    if not path.name.startswith("contact-sheet"):
        return False
    try:
        with open_regular(path) as file, Image.open(file, formats=("PNG",)) as image:
            return image.info.get(KEY) == json.dumps(MARK, sort_keys=True)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _columns(jobs: Sequence[Job]) -> int:
    """The number of columns: one a style if all contents have the same few styles, else 0."""
    count = len({job.styles for job in jobs})
    rows = [jobs[start : start + count] for start in range(0, len(jobs), count)]
    same = all([job.styles for job in row] == [job.styles for job in rows[0]] for row in rows)
    return count if 1 < count <= MOST_COLUMNS and same else 0


def _cell(job: Job, result: Path | str | None) -> Cell:
    content, *styles = [Path(path).stem[:LONGEST] for path in (job.content, *job.styles)]
    caption = f"{content}\n{', '.join(styles)}"
    if not isinstance(result, Path):
        return (result or "not painted yet")[: 5 * LONGEST], caption
    try:
        picture = read_bytes(bytes_of(result), str(result), enough=2 * SIDE)
    except PictureError as error:
        return f"cannot be read: {error}"[: 5 * LONGEST], caption
    image = to_image(picture.pixels, picture.alpha)
    image.thumbnail((4 * SIDE, SIDE))
    return image, caption
