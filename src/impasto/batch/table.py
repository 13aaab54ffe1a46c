"""Make the jobs of a command line: from pictures, folders of pictures, and CSV tables."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from impasto.batch.contact_sheets import is_contact_sheet
from impasto.batch.job import LONGEST_NAME, Job
from impasto.config import Config, Machine
from impasto.errors import (
    ConfigError,
    ImpastoError,
    OutputError,
    PictureError,
    did_you_mean,
    reason,
    shortened,
)
from impasto.images.formats import is_raw_name, readable
from impasto.images.write import check_format
from impasto.painting.problem import check_settings

COLUMNS = ("content", "style", "out", "preset")  # of a table, besides the settings
MOST_BYTES = 1 << 26  # of a table

MOST_NAMED = 8  # files that are passed over
Note = Callable[[str], object]
SettingsFor = Callable[[str, dict[str, Any]], tuple[Config, Machine]]


def list_jobs(
    contents: Sequence[str],
    styles: Sequence[str],
    pairs: str,
    settings_for: SettingsFor,
    note: Note = lambda text: None,
) -> list[Job]:
    """The jobs of a command line.

    Args:
        contents, styles: pictures and folders of pictures.
        pairs: "all", "zip", or the path of a table.
        settings_for: makes the settings of a preset's name ("": none was given) and settings
            as text.
        note: told which files of a folder are passed over, and why.

    Raises:
        ConfigError: the command line or the table is wrong.
        PictureError: a folder has no pictures, or cannot be opened.
    """
    if pairs not in ("all", "zip"):
        if not Path(pairs).suffix and not os.path.exists(pairs):
            raise ConfigError(
                f"--pairs is {pairs}: it takes all, zip or a table, as jobs.csv", pairs
            )
        if contents or styles:
            raise ConfigError(f"{pairs} names the pictures: give no others beside it", contents)
        return list(_jobs_of_table(Path(pairs), settings_for))
    content_paths = _pictures(contents, "content", note)
    style_paths = _pictures(styles, "style", note)
    config, machine = settings_for("", {})
    check_settings(config, 1)
    if pairs == "zip":
        if len(content_paths) != len(style_paths):
            raise ConfigError(
                "--pairs zip takes as many styles as contents, and there are "
                f"{len(style_paths)} and {len(content_paths)}",
                pairs,
            )
        both: Iterable[tuple[str, str]] = zip(content_paths, style_paths, strict=True)
    else:
        both = product(dict.fromkeys(content_paths), dict.fromkeys(style_paths))
    return [Job(content, (style,), config, machine) for content, style in both]


def _pictures(given: Sequence[str], what: str, note: Note) -> list[str]:
    """The given pictures, and those in the given folders, sorted by name."""
    if not given:
        raise ConfigError(f"no {what}: impasto batch CONTENTS --style STYLES -o OUT", given)
    paths: list[str] = []
    for path in given:
        # os.path.isdir never raises, unlike Path.is_dir; a missing picture fails when it is opened
        paths += pictures_in(Path(path), note) if os.path.isdir(path) else [path]
    return paths


def pictures_in(folder: Path, note: Note) -> list[str]:
    """The pictures in a folder; other files are passed over, which is noted, and contact sheets."""
    suffixes = readable()
    try:
        files = [
            file
            for file in sorted(folder.iterdir())
            if not (file.name.startswith(".") or is_contact_sheet(file) or file.is_dir())
        ]
    except OSError as error:
        raise PictureError(f"{folder} cannot be opened: {reason(error)}", str(folder)) from error
    usable = [file for file in files if file.suffix.lower() in suffixes and file.is_file()]
    pictures, others = [str(file) for file in usable], sorted({*files} - {*usable})
    if others:
        named = [f"{file.name} ({_why_not(file)})" for file in others[:MOST_NAMED]]
        more = [f"and {len(others) - MOST_NAMED} more"] if len(others) > MOST_NAMED else []
        note(f"passed over in {folder}: {', '.join([*named, *more])}")
    if not pictures:
        raise PictureError(f"there is no picture in the folder {folder}", str(folder))
    return pictures


def _why_not(file: Path) -> str:
    """The reason to pass over a file in a folder."""
    if file.is_symlink() and not file.exists():
        return "a link to nothing"
    if not file.is_file():
        return "no regular file"
    if is_raw_name(file.name):
        return "a camera's raw file: develop it first"
    return "no picture's name"


def _jobs_of_table(path: Path, settings_for: SettingsFor) -> Iterator[Job]:
    """The jobs of a CSV table, one a row. Raises ConfigError, which names the line."""
    columns, rows = _read_table(path)
    missing = [name for name in ("content", "style") if name not in columns]
    if missing:
        raise ConfigError(
            f"{path} has no column {missing[0]}: its first line names the columns", columns
        )
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{path} has a column twice: {', '.join(columns)}", columns)
    if not rows:
        raise ConfigError(f"{path} has no line under the names of its columns", str(path))
    outs: dict[str, int] = {}  # the line of each `out`
    for line, cells in rows:
        if any(cells[len(columns) :]):
            raise ConfigError(f"{path} line {line} has more cells than there are columns", line)
        row = dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False))
        try:
            job = _job_of_row(row, settings_for)
            check_settings(job.config, len(job.styles))
        except ImpastoError as error:
            raise ConfigError(f"{path} line {line}: {error}", error.value) from None
        if job.out and (before := outs.setdefault(job.out.casefold(), line)) != line:
            raise ConfigError(
                f"{path} line {line}: out {job.out} is that of line {before} too", job.out
            )
        yield job


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A table's columns, and its rows: the number of the line, and the cells.

    Commas, semicolons or tabs separate cells.
    """
    line = 0
    rows = []
    try:
        with path.open("rb") as file:  # it may be a pipe
            if len(data := file.read(MOST_BYTES + 1)) > MOST_BYTES:
                raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES:,} bytes")
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        if hint := re.match(r"sep=.*?(\r\n|\r|\n)", text):  # a spreadsheet's, about the separator
            text, line = text[hint.end() :], 1
        first = next((character for character in text if character in ",;\t\r\n"), ",")
        separator = first if first in ",;\t" else ","
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        skipped = line
        for cells in reader:
            line = skipped + reader.line_num
            if any(cells):
                rows.append((line, [cell.strip() for cell in cells]))
    except FileNotFoundError:
        raise ConfigError(
            f"no table at {path}: --pairs takes all, zip or a table", str(path)
        ) from None
    except csv.Error as error:
        raise ConfigError(
            f"{path} line {line + 1} cannot be read as one of a table: {error}", str(path)
        ) from None
    except UnicodeError:
        raise ConfigError(
            f"{path} is not a table in UTF-8: save it as CSV UTF-8", str(path)
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ConfigError(f"{path} cannot be read as a table: {reason(error)}", str(path)) from None
    names = rows[0][1] if rows else []
    while names and not names[-1]:  # spreadsheets leave empty ones
        names.pop()
    return [_column(name, path) for name in names], rows[1:]


def _column(name: str, path: Path) -> str:
    """The field of Config, or of COLUMNS, that a column is named after. Raises ConfigError."""
    plain = name.strip().lower().removeprefix("--").replace("-", "_")
    allowed = [*COLUMNS, *Config.model_fields, *Machine.model_fields]
    if plain not in allowed:
        raise ConfigError(
            f"{path} has a column {name!r}: {did_you_mean(plain, allowed)}", name, allowed
        )
    return plain


def _job_of_row(row: dict[str, str], settings_for: SettingsFor) -> Job:
    """The job of one row of a table; an empty cell means that nothing is given."""
    settings: dict[str, Any] = {
        name: value for name, value in row.items() if name not in COLUMNS and value
    }
    if "mask" in settings:
        settings["mask"] = _several(row["mask"])
    content, styles, out = row["content"], tuple(_several(row["style"])), row.get("out", "")
    if not content or not styles:
        raise ConfigError("it takes a content and a style")
    if len(out.encode()) > LONGEST_NAME:
        raise OutputError(f"out is longer than {LONGEST_NAME} bytes: {shortened(out)}", out)
    if out and (Path(out).name != out or "\0" in out):
        raise OutputError(
            f"out is {out!r}: it takes a picture's name without a folder, as lion.png", out
        )
    if out:
        check_format(Path(out))
    config, machine = settings_for(row.get("preset", ""), settings)
    return Job(content, styles, config, machine, out)


def _several(cell: str) -> list[str]:
    """The parts of a cell, which ; separates."""
    return [part.strip() for part in cell.split(";") if part.strip()]
