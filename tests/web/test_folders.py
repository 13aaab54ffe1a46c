"""The studio's folder: who may look in, and what becomes of it when the studio ends, in whatever
way."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from impasto import locking
from impasto.locking import exclusive_lock
from impasto.web.jobs.folders import (
    PREFIX,
    UPLOAD_FOLDER,
    RoomError,
    studio_folder,
    temporary_files_in,
)

KILLED = """
import os, signal
from impasto.web.jobs.folders import studio_folder
held = studio_folder()
folder = held.__enter__()
(folder / "photo.png").write_bytes(b"x")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_nobody_else_may_look_in(temporary) -> None:
    with studio_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.parent == temporary
    assert not folder.exists()


def test_what_a_killed_studio_has_left_is_removed_by_the_next(temporary) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(temporary)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = temporary.iterdir()
    assert (left / "photo.png").exists()
    with studio_folder() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_the_folder_of_a_studio_that_is_open_stays(temporary) -> None:
    with studio_folder() as one:
        (one / "photo.png").touch()
        with studio_folder() as two:
            assert sorted(temporary.iterdir()) == sorted([one, two])
        assert (one / "photo.png").exists()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_where_there_are_no_locks_nobody_is_taken_for_dead(temporary, monkeypatch, code) -> None:
    def fails(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locking, "_lock", fails)
    with studio_folder() as one, studio_folder() as two:
        with exclusive_lock(one) as held:
            assert not held
        assert sorted(temporary.iterdir()) == sorted([one, two])


def test_only_folders_of_studios_of_this_user_are_removed(
    temporary, tmp_path_factory, monkeypatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "kept.txt").touch()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    (temporary / f"{PREFIX}file").touch()
    (temporary / "impasto-other").mkdir()
    before = set(temporary.iterdir())
    with studio_folder():
        pass
    assert set(temporary.iterdir()) == before
    assert (elsewhere / "kept.txt").exists()
    (temporary / f"{PREFIX}theirs").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with studio_folder():
        assert (temporary / f"{PREFIX}theirs").exists()


def test_a_folder_that_another_start_takes_for_a_dead_one_s_is_made_anew(
    temporary, monkeypatch
) -> None:
    raced = []

    def taken(folder: Path):
        if not raced:
            raced.append(folder)
            folder.rmdir()
        return exclusive_lock(folder)

    monkeypatch.setattr(locking, "exclusive_lock", taken)
    with studio_folder() as folder:
        assert folder != raced[0]
        assert (folder / UPLOAD_FOLDER).is_dir()


def test_without_room_it_says_so_and_leaves_nothing(temporary, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "uploads")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(RoomError, match="No space left on device"), studio_folder():
        pass
    assert list(temporary.iterdir()) == []


def test_all_temporary_files_go_where_they_are_told(temporary, monkeypatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/elsewhere")
    monkeypatch.delenv("GRADIO_EXAMPLES_CACHE", raising=False)
    with studio_folder() as folder, temporary_files_in(folder):
        with tempfile.NamedTemporaryFile() as file:
            assert Path(file.name).parent == folder
        for name in ("GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE"):
            assert folder in Path(os.environ[name]).parents
    assert tempfile.gettempdir() == str(temporary)
    assert os.environ["GRADIO_TEMP_DIR"] == "/elsewhere"
    assert "GRADIO_EXAMPLES_CACHE" not in os.environ
