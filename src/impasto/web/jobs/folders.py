"""The studio's private folder, removed at its end, or at the next start if it was killed."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from impasto.errors import OutputError, reason
from impasto.images.atomic import atomic_write, writing
from impasto.locking import own_folder

PREFIX = "impasto-studio-"
UPLOAD_FOLDER = "uploads"
LONGEST = 150  # bytes of a saved painting's name, without number and suffix


class RoomError(OutputError):
    """The server's disk is full."""


@contextmanager
def studio_folder() -> Iterator[Path]:
    """A new folder that only this user can read, with one for uploads in it; removed at the end of
    the `with`. Raises RoomError."""
    with ExitStack() as held:
        try:
            folder = held.enter_context(own_folder(PREFIX))
            (folder / UPLOAD_FOLDER).mkdir()
        except OSError as error:
            where = f"{reason(error)} ({error.filename})"
            raise RoomError(f"no room for the studio's pictures: {where}") from error
        yield folder


def remove_old(folder: Path, spared: Collection[Path], keep: float) -> int:
    """Remove what is older than `keep` seconds, except `spared`; the bytes that were there."""
    stored = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder after what is in it
        with suppress(OSError):  # not empty, or removed meanwhile
            stored += path.stat().st_size
            if path not in spared and time.time() - path.stat().st_mtime > keep:
                path.rmdir() if path.is_dir() else path.unlink()
    return stored


def save_as_new(file: Path, folder: Path, title: str) -> Path:
    """Copy a finished painting or film into `folder` as TITLE.png, or with a number if that is
    taken; the suffix is the file's.

    Returns the new file. Raises OutputError.
    """
    kept = "".join(letter for letter in title if letter.isalnum() or letter in " ._-()")
    stem = kept.encode()[:LONGEST].decode("utf-8", "ignore").strip(" .-") or "painting"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for k in itertools.count(1):
        target = folder / (stem + ("" if k == 1 else f"-{k}") + file.suffix)
        with writing(target), suppress(FileExistsError):
            target.open("xb").close()  # takes the name: two studios may write there
            break
    try:
        with atomic_write(target) as part:
            shutil.copyfile(file, part)
    except OutputError:
        target.unlink(missing_ok=True)
        raise
    return target


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Have this process put all its temporary files into `folder`.

    gradio reads its folders from the environment when it is imported: otherwise $TMPDIR/gradio,
    whose name anybody can take first, and .gradio in the current folder.
    """
    variables = {
        "GRADIO_TEMP_DIR": str(folder / UPLOAD_FOLDER),
        "GRADIO_EXAMPLES_CACHE": str(folder / "examples"),
    }
    before = {name: os.environ.get(name) for name in variables}
    directory, tempfile.tempdir = tempfile.tempdir, str(folder)
    os.environ.update(variables)
    try:
        yield
    finally:
        tempfile.tempdir = directory
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
