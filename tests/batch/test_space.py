"""Where there is no room, no folder, no handle or no permission to write: it is told, nothing is
lost, and the next call goes on."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from impasto.batch import scheduler
from impasto.batch.store import BatchStore
from impasto.painting.checkpoint import Checkpoints
from impasto.painting.checkpoint_file import NAME

STEPS = ("--steps", 8)
LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)
# Runs the command line without any handle from the first step on.
DRIVER = """import resource, sys
from impasto.painting import checkpoint
from impasto.cli.main import main
checkpoint.Checkpoints.maybe_save = lambda *_: resource.setrlimit(resource.RLIMIT_NOFILE, (3, 99))
main(sys.argv[1:])"""


class Disk:
    """A file system of 1 MB with a folder, `work`, and what can befall them; `mend` puts it
    right."""

    def __init__(self, path):
        self.path, self.work, self._filler = path, path / "work", path / "filler"
        path.mkdir()
        self.do("mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "none")
        self.work.mkdir()

    def do(self, *command):
        subprocess.run([*command, self.path], check=True, capture_output=True)

    def full(self, pages=0, data=bytes(65536)):
        self._filler.mkdir(exist_ok=True)
        first = len(os.listdir(self._filler))  # it may have room again
        with suppress(OSError):
            for k in range(first, first + 256):
                (self._filler / str(k)).write_bytes(data)
        for k in range(pages):  # that stay free
            (self._filler / str(k)).write_bytes(data[4096:])

    def crowded(self):  # there is room, but for no further file
        self.full(data=b"")

    def read_only(self):  # a mount upon the mount, in which a file is open for writing
        self.do("mount", "--bind", self.path)
        self.do("mount", "-o", "remount,bind,ro")

    def gone(self):
        shutil.rmtree(self.work)

    def renamed(self):
        self.work.rename(self.path / "moved")

    def handles(self, limit=3):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, LIMIT[1]))

    def mend(self):
        self.handles(LIMIT[0])
        if os.statvfs(self.path).f_flag & os.ST_RDONLY:
            self.do("umount")
        shutil.rmtree(self._filler, ignore_errors=True)
        with suppress(FileNotFoundError):
            (self.path / "moved").rename(self.work)
        self.work.mkdir(exist_ok=True)


@pytest.fixture
def disk(tmp_path):
    try:
        made = Disk(tmp_path / "disk")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield made
    made.handles(LIMIT[0])
    while os.path.ismount(made.path):
        made.do("umount", "-l")


@pytest.fixture
def impasto(impasto, disk, tmp_path):
    """`impasto`, with what holds whatever befalls it; afterwards there are handles again."""

    def run(*arguments):
        try:
            code, out, err = impasto(*arguments)
        finally:
            disk.handles(LIMIT[0])
        assert "Traceback" not in err
        assert code != 2 or err.splitlines()[-1].startswith("impasto: ")
        assert [*tmp_path.rglob(".*.part"), *tmp_path.rglob(".tmp*")] == [], (
            "nothing half-written is left"
        )
        return code, out, " ".join(err.split())

    return run


@pytest.fixture
def batch(impasto, photo, style, tiny, tmp_path):
    with Image.open(photo) as image:  # not the style: in its own style it would end where it began
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "other.png")
    return lambda out="disk/work": impasto(
        "batch", photo, "other.png", "--style", style, "-o", out, *tiny, *STEPS
    )


@pytest.fixture(autouse=True)
def after(monkeypatch, tmp_path):
    """Has something happen after so many calls of a function, once; there is a checkpoint after
    every step."""
    for name, value in (("SOONEST", 0), ("COST", 1e9)):
        monkeypatch.setattr(f"impasto.painting.checkpoint.{name}", value)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))

    def arrange(count, happens, owner=Checkpoints, name="maybe_save"):
        inner, calls = getattr(owner, name), []

        def watched(*arguments):
            try:
                return inner(*arguments)
            finally:
                calls.append(name)
                if len(calls) == count:
                    happens()

        monkeypatch.setattr(owner, name, watched)

    return arrange


def whatever(*names, slow=()):
    marked = [pytest.param(name, marks=pytest.mark.slow) for name in slow]
    return pytest.mark.parametrize("what", [*names, *marked])


def states(folder):
    """What the manifest says, line by line; every line is whole."""
    text = "".join(path.read_text() for path in folder.glob("manifest.jsonl"))
    assert text[-1:] in ("", "\n")
    return [json.loads(line)["state"] for line in text.splitlines()]


def steps_kept(folder):
    return [
        json.loads(safe_open(path, "pt").metadata()["impasto"])["number"]
        for path in folder.rglob(NAME)
    ]


@whatever("full", "read_only", "renamed", "gone", "handles")
def test_checkpoints_that_cannot_be_written_do_not_end_a_run(
    painted, impasto, disk, after, tmp_path, what
) -> None:
    painted(*STEPS, out="whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    after(4, getattr(disk, what))
    after(5, disk.full if what == "full" else int)  # the older checkpoint has made room
    after(6, disk.mend if what == "handles" else int)
    code, _, err = painted(*STEPS, "--checkpoint", "disk/work")
    assert "no checkpoint at step 5: cannot write" in err
    assert (tmp_path / "out.png").read_bytes() == whole
    disk.mend()
    if what == "handles":
        assert (code, "no checkpoint at step 7" in err) == (0, False)
    elif what != "gone":
        (tmp_path / "out.png").unlink()
        code, _, err = impasto("resume", "disk/work")
        assert (code, "resuming after step 4" in err) == (0, True)
        assert (tmp_path / "out.png").read_bytes() == whole


@whatever("full", "read_only", "gone")
def test_a_painting_that_cannot_be_written_is_saved_elsewhere(
    painted, impasto, disk, after, tmp_path, what
) -> None:
    after(4, getattr(disk, what))
    code, _, err = painted(*STEPS, "--checkpoint", "kept", out="disk/work/out.png")
    (saved,) = (tmp_path / "elsewhere").glob("*/out.png")
    assert (code, f"; the painting was saved as {saved}" in err) == (2, True)
    disk.mend()
    assert os.listdir(disk.work) == []
    assert impasto("resume", "kept")[0] == 0
    assert (disk.work / "out.png").read_bytes() == saved.read_bytes()


@whatever("full", "handles")
def test_a_painting_that_can_be_saved_nowhere(painted, disk, after, monkeypatch, what) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)  # as in a process that has not asked for it yet
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(disk.path)])
    after(4, getattr(disk, what))
    code, _, err = painted(*STEPS, "--checkpoint", "kept", out="disk/work/out.png")
    assert (code, "cannot write disk/work/out.png" in err) == (2, True)


@pytest.mark.slow
def test_a_process_without_handles_ends_with_a_line(tiny, photo, style, tmp_path) -> None:
    command = [
        sys.executable,
        "-c",
        DRIVER,
        "paint",
        photo,
        style,
        "-o",
        "out.png",
        *tiny,
        "--checkpoint",
        "kept",
    ]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


@whatever("full", "gone")
def test_a_quiet_run_tells_all(painted, disk, after, what) -> None:
    after(4, getattr(disk, what))
    _, out, err = painted(*STEPS, "--checkpoint", "disk/work", "--json")
    assert ('"picture": "out.png"' in out, "no checkpoint at step 5" in err) == (True, True)


def test_the_current_folder_may_go(
    impasto, photo, style, tiny, disk, after, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(disk.work)
    after(4, disk.gone)
    places = ("-o", tmp_path / "out.png", "--checkpoint", tmp_path / "kept")
    assert impasto("paint", photo, style, *tiny, *STEPS, *places)[0] == 0


def test_what_is_left_on_a_place_that_has_become_read_only(painted, impasto, disk, after) -> None:
    after(4, disk.full)
    painted(*STEPS, "--checkpoint", "disk/work")
    disk.mend()
    (disk.work / f".{NAME}.1-1.part").touch()
    disk.read_only()
    with pytest.raises(AssertionError, match="half-written"):
        impasto("resume", "disk/work")


@whatever("full", "read_only", "handles")
@pytest.mark.parametrize("command", ["paint", "batch"])
def test_a_place_that_cannot_be_written_from_the_start(painted, batch, disk, what, command) -> None:
    getattr(disk, what)()
    run = batch if command == "batch" else lambda: painted(*STEPS, "--checkpoint", "disk/work/kept")
    code, out, err = run()
    assert (code, out, err.count("impasto: "), "%" in err) == (2, "", 1, False), err
    disk.mend()
    assert run()[0] == 0


@whatever("full", "crowded", "gone", slow=("read_only", "renamed", "handles"))
def test_a_batch_ends_with_one_line_and_the_next_call_goes_on(
    batch, disk, after, tmp_path, what
) -> None:
    after(8, getattr(disk, what))  # step 4 of both
    for looks in (9, 10):
        after(looks, disk.full if what == "full" else int)  # the older checkpoint has made room
    last = 7 if what == "crowded" else 4  # a file less is enough for the next one then
    code, _, err = batch()
    assert ("no checkpoint at step 5: cannot write" in err) == (last == 4)
    told = err.count("impasto: cannot write disk/work/"), err.count("continues it")
    assert (code, *told) == (2, 1, 1)
    disk.mend()
    if what != "gone":
        left = steps_kept(disk.work), states(disk.work), [*disk.work.glob("*.png")]
        assert left == ([last, last], [], [])
    code, _, err = batch()
    assert (code, "anew" in err) == (0, False)
    assert (states(disk.work), steps_kept(disk.work)) == (["done", "done"], [])
    batch("whole")
    for path in tmp_path.glob("whole/*-style.png"):
        assert (disk.work / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("cut", [1, 0])
def test_no_line_of_the_manifest_is_torn(batch, disk, after, cut) -> None:
    path, sizes = disk.work / "manifest.jsonl", []
    path.write_text(json.dumps({"key": "other", "state": "failed", "error": "x" * 3950}) + "\n")

    class File:
        """A file that cannot always be cut."""

        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def truncate(self, size):
            sizes.append(path.stat().st_size)
            if not cut:
                raise OSError(5, "Input/output error")
            self._file.truncate(size)

    opened = Path.open

    def opening(path, mode="r", *more, **others):
        file = opened(path, mode, *more, **others)
        return closing(File(file)) if mode == "ab" else file

    # enough for the first painting; its line would need one page more
    after(16, lambda: disk.full(pages=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", opening)
        code, _, err = batch()
    assert (code, sizes) == (2, [4096]), "a piece had been written"
    assert "cannot write disk/work/manifest.jsonl: " in err
    disk.mend()
    assert batch()[0] == 0
    assert states(disk.work) == ["failed", "done", "done"]


@whatever("handles", "crowded")
def test_what_is_lacking_between_two_paintings_ends_a_batch(
    batch, disk, after, monkeypatch, what
) -> None:
    monkeypatch.setattr(scheduler, "MOST_AT_ONCE", 1)
    after(1, getattr(disk, what), BatchStore, "done")
    code, out, err = batch()
    assert (code, "1 painted" in out, err.count("continues it")) == (2, True, 1)
    disk.mend()
    code, out, _ = batch()
    assert (code, "(1 painted, 1 before)" in out) == (0, True)


def test_a_good_checkpoint_is_not_given_up(batch, disk, after, monkeypatch) -> None:
    after(8, disk.full)
    batch()
    disk.mend()

    def without_handles(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("impasto.painting.checkpoint_file.safe_open", without_handles)
    assert "begun anew" not in batch()[2]


@whatever("full", "gone", "handles")
def test_contact_sheets(batch, disk, after, what) -> None:
    after(2, getattr(disk, what), BatchStore, "done")
    code, out, _ = batch()
    assert (code, "2 painted" in out) == (2, True)
