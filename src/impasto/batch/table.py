"""The jobs of a command line: pictures, folders of pictures, CSV tables."""

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
from impasto.images.decode import readable
from impasto.images.write import check_format
from impasto.painting.problem import check_settings

__all__ = ["COLUMNS", "MOST_BYTES", "list_jobs"]

SettingsFor = Callable[[str, dict[str, Any]], tuple[Config, Machine]]
COLUMNS = ("content", "style", "out", "preset")  # of a table, besides the settings
MOST_BYTES = 1 << 26  # of a table


def list_jobs(
    contents: Sequence[str],
    styles: Sequence[str],
    pairs: str,
    settings_for: SettingsFor,
) -> list[Job]:
    """The jobs of a command line. Raises ConfigError, PictureError for what is wrong with all of
    it.

    contents, styles: pictures and folders. pairs: "all", "zip", or a table. settings_for:
    makes the Config of a preset's name ("" if none was given) and of settings as they are typed.
    """
    if pairs not in ("all", "zip"):
        if not Path(pairs).suffix and not os.path.exists(pairs):
            raise ConfigError(
                f"--pairs is {pairs}: it takes all, zip or a table, as jobs.csv", pairs
            )
        if contents or styles:
            raise ConfigError(f"{pairs} names the pictures: give no others beside it", contents)
        return list(_in_table(Path(pairs), settings_for))
    found, painted_as = _pictures(contents, "content"), _pictures(styles, "style")
    if pairs == "zip" and len(found) != len(painted_as):
        raise ConfigError(
            f"--pairs zip takes as many styles as contents, and there are {len(painted_as)} "
            f"and {len(found)}",
            pairs,
        )
    config, machine = settings_for("", {})
    check_settings(config, 1)
    if pairs == "zip":
        both: Iterable[tuple[str, str]] = zip(found, painted_as, strict=True)
    else:
        both = product(dict.fromkeys(found), dict.fromkeys(painted_as))
    return [Job(content, (style,), config, machine) for content, style in both]


def _pictures(given: Sequence[str], what: str) -> list[str]:
    """Pictures as they are named, and those in folders by name; other files there, and sheets, are
    passed over."""
    found: list[str] = []
    suffixes = readable()
    for each in given:
        path = Path(each)
        if not os.path.isdir(path):  # unlike Path.is_dir it never raises
            found.append(each)  # what is wrong with it is told when its turn comes
            continue
        try:
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
        except OSError as error:
            raise PictureError(f"{each} cannot be opened: {reason(error)}", each) from error
        here = [
            str(file)
            for file in inside
            if not (file.name.startswith(".") or is_contact_sheet(file)) and file.is_file()
        ]
        if not here:
            raise PictureError(f"there is no picture in the folder {each}", each)
        found += here
    if not found:
        raise ConfigError(f"no {what}: impasto batch CONTENTS --style STYLES -o OUT", given)
    return found


def _in_table(path: Path, settings_for: SettingsFor) -> Iterator[Job]:
    """The jobs of a CSV table: a line each, under the names of its columns."""
    columns, rows = _cells(path)
    missing = [name for name in ("content", "style") if name not in columns]
    if missing:
        raise ConfigError(
            f"{path} has no column {missing[0]}: its first line names the columns", columns
        )
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{path} has a column twice: {', '.join(columns)}", columns)
    if not rows:
        raise ConfigError(f"{path} has no line under the names of its columns", str(path))
    outs: dict[str, int] = {}
    for line, values in rows:
        if any(values[len(columns) :]):
            raise ConfigError(f"{path} line {line} has more cells than there are columns", line)
        row = dict(zip(columns, [*values, *[""] * len(columns)], strict=False))
        try:
            job = _job_of(row, settings_for)
            check_settings(job.config, len(job.styles))
        except ImpastoError as error:
            raise ConfigError(f"{path} line {line}: {error}", error.value) from None
        if job.out and (before := outs.setdefault(job.out.casefold(), line)) != line:
            raise ConfigError(
                f"{path} line {line}: out {job.out} is that of line {before} too", job.out
            )
        yield job


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A table's columns, and its lines with their numbers and cells; commas, semicolons or tabs
    part columns."""
    line = 0
    rows = []
    try:
        with path.open("rb") as file:  # a pipe, too
            if len(data := file.read(MOST_BYTES + 1)) > MOST_BYTES:
                raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES:,} bytes")
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        if told := re.match(r"sep=.*?(\r\n|\r|\n)", text):  # as spreadsheets tell one another
            text, line = text[told.end() :], 1
        between = next((each for each in text if each in ",;\t\r\n"), ",")
        reader = csv.reader(
            io.StringIO(text, newline=""),
            strict=True,
            delimiter=between if between in ",;\t" else ",",
        )
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
    heads = rows[0][1] if rows else []
    while heads and not heads[-1]:  # spreadsheets leave them
        heads.pop()
    return [_column(name, path) for name in heads], rows[1:]


def _column(name: str, path: Path) -> str:
    """A column's name as a field has it. Raises ConfigError."""
    plain = name.strip().lower().removeprefix("--").replace("-", "_")
    allowed = [*COLUMNS, *Config.model_fields, *Machine.model_fields]
    if plain not in allowed:
        raise ConfigError(
            f"{path} has a column {name!r}: {did_you_mean(plain, allowed)}", name, allowed
        )
    return plain


def _job_of(row: dict[str, str], settings_for: SettingsFor) -> Job:
    """The job of one line of a table; an empty cell says nothing."""
    settings: dict[str, Any] = {
        name: value for name, value in row.items() if name not in COLUMNS and value
    }
    if "mask" in settings:
        settings["mask"] = [each.strip() for each in row["mask"].split(";") if each.strip()]
    styles = tuple(each.strip() for each in row["style"].split(";") if each.strip())
    out = row.get("out", "")
    if not row["content"] or not styles:
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
    return Job(row["content"], styles, config, machine, out)
