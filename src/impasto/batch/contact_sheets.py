"""The contact sheets of a batch: everything that it made, in as many files as it takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from impasto.errors import PictureError
from impasto.figures.contact_sheet import Cell, contact_sheet, in_rows
from impasto.images.read import bytes_of, read_bytes
from impasto.images.write import KEY, to_image, write
from impasto.records import open_regular

if TYPE_CHECKING:
    from impasto.batch.job import Job
    from impasto.batch.store import BatchStore

__all__ = ["is_contact_sheet", "write_contact_sheets"]

# inside its file, as settings are in a painting's
MARK = {"program": "impasto", "sheet": "of a batch"}

SIDE = 320  # pixels of a picture on a sheet
EACH = 60  # pictures on one, at the most
MOST_COLUMNS = 8
# characters of a name: what is longer than a cell is fitted into it slowly, and seen by nobody
LONGEST = 200


def write_contact_sheets(
    store: BatchStore, results: Iterable[tuple[Job, Path | str | None]]
) -> list[Path]:
    """Write the sheets, in the place of those before; gives their paths. Raises OutputError."""
    found = list(results)
    columns = _columns([job for job, _ in found])
    each = EACH // columns * columns if columns else EACH
    pages = [found[start : start + each] for start in range(0, len(found), each)]
    paths = store.sheets(len(pages), is_contact_sheet)
    for page, path in zip(pages, paths, strict=True):
        write(contact_sheet(in_rows([_cell(job, what) for job, what in page], columns)), path, MARK)
    return paths


def is_contact_sheet(path: Path) -> bool:
    """Whether a file is a contact sheet, and no picture of anybody's."""
    if not path.name.startswith("contact-sheet"):
        return False
    try:
        with open_regular(path) as file, Image.open(file, formats=("PNG",)) as image:
            return image.info.get(KEY) == json.dumps(MARK, sort_keys=True)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _columns(jobs: Sequence[Job]) -> int:
    """How many columns: one a style, where every content is painted in the same few; else 0, as it
    comes out best."""
    count = len({job.styles for job in jobs})
    rows = [jobs[start : start + count] for start in range(0, len(jobs), count)]
    same = all([job.styles for job in row] == [job.styles for job in rows[0]] for row in rows)
    return count if 1 < count <= MOST_COLUMNS and same else 0


def _cell(job: Job, found: Path | str | None) -> Cell:
    content, *styles = [Path(each).stem[:LONGEST] for each in (job.content, *job.styles)]
    caption = f"{content}\n{', '.join(styles)}"
    if not isinstance(found, Path):
        return (found or "not painted yet")[: 5 * LONGEST], caption
    try:
        picture = read_bytes(bytes_of(found), str(found), enough=2 * SIDE)
    except PictureError as error:
        return f"cannot be read: {error}"[: 5 * LONGEST], caption
    image = to_image(picture.pixels, picture.alpha)
    image.thumbnail((4 * SIDE, SIDE))
    return image, caption
