"""The command batch: pairs, names, what is done already, failures, stops and kills."""

import collections
import fcntl
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from rich.console import Console

from impasto.batch import contact_sheets, scheduler
from impasto.batch.progress import BatchProgress
from impasto.batch.store import BatchStore
from impasto.errors import OutputError
from impasto.images.read import read_settings
from impasto.objective.objective import Objective

# Runs the command line with a checkpoint after every step, and says when it begins.
DRIVER = (
    "import sys, torch; torch.set_num_threads(1); from impasto.painting import checkpoint; "
    "checkpoint.SOONEST, checkpoint.COST = 0.0, 1e9; from impasto.cli.main import main; "
    "import impasto.batch.scheduler, impasto.batch.local; print('begun', "
    "flush=True); main(sys.argv[1:])"
)
ALL = "photos --style art"


def lines(folder="out") -> list[dict]:
    return [json.loads(line) for line in (Path(folder) / "manifest.jsonl").read_text().splitlines()]


def pictures(folder="out") -> dict[str, bytes]:
    found = (each for each in Path(folder).glob("*.png") if each.is_file())
    return {
        each.name: each.read_bytes() for each in found if not each.name.startswith("contact-sheet")
    }


def kept(folder="out") -> set[str]:
    return set(os.listdir(Path(folder) / ".impasto")) - {"lock", "batch.json"}


@pytest.fixture
def album(impasto, photo, style):
    """In photos/ a.png, b.png of one size and up.png, in art/ s.png and t.png, beside them
    half.png."""
    pixels, of_style = np.asarray(Image.open(photo)), np.asarray(Image.open(style))
    half = np.repeat(np.where(np.arange(48) < 24, 255, 0)[None], 40, 0).astype(np.uint8)
    made = {
        "photos/a": pixels,
        "photos/b": pixels[..., ::-1],
        "photos/up": pixels.swapaxes(0, 1),
        "half": half,
    }
    for name, each in {**made, "art/s": of_style, "art/t": of_style[::-1, :, ::-1]}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(each)).save(f"{name}.png")
    Path("photos/notes.txt").write_text("no picture")


@pytest.fixture
def batch(album, impasto, tiny):
    """Runs the command into out/; gives its exit code, stdout and stderr."""
    return lambda given=ALL, *more, out="out": impasto(
        "batch", "-o", out, *tiny, *given.split(), *more
    )


# What is painted
# --------------------------------------------------------------------------------------------------


def test_every_content_in_every_style_is_what_paint_makes_of_it(batch, impasto, tiny) -> None:
    assert batch("photos --style art/s.png --style art/t.png --quiet") == (0, "", "")
    assert set(pictures()) == {
        f"{content}-{style}.png" for content in ("a", "b", "up") for style in "st"
    }
    for record in lines():
        content, style = f"photos/{record['out'].split('-')[0]}.png", f"art/{record['out'][-5]}.png"
        impasto("paint", content, style, "-o", "alone.png", *tiny)
        assert pictures()[record["out"]] == Path("alone.png").read_bytes()
        sums = [hashlib.sha256(Path(each).read_bytes()).hexdigest() for each in (content, style)]
        assert [each["sha256"] for each in record["inputs"]] == sums
        settings = read_settings("alone.png")
        assert all(record[name] == settings[name] for name in ("objective", "terms", "config"))
        assert record["seconds"] > 0
    assert sorted(each["together"] for each in lines()) == [2, 2, 4, 4, 4, 4]
    assert kept() == set()


def test_a_table_has_jobs_with_settings_of_their_own(batch, impasto, tiny) -> None:
    rows = [
        "photos/a.png,art/s.png,one.png,,2,,,",
        "photos/a.png,art/s.png; art/t.png,two.JPG,,,content,,0.2",
        "photos/b.png,art/s.png,three.webp,layered,,,half.png=art/t.png,",
    ]
    options = [
        "art/s.png --strength 2",
        "--style art/s.png --style art/t.png --strength 3 --color content --style-scale 0.2",
        "art/s.png --preset layered --strength 3 --mask half.png=art/t.png",
    ]
    head = "\ufeffContent,style,out,preset,strength,--color,mask,style-scale"
    Path("jobs.csv").write_text("\r\n".join([head, *rows]))
    assert batch("--pairs jobs.csv --strength 3")[0] == 0
    for row, more in zip(rows, options, strict=True):
        content, name = row.split(",")[0], row.split(",")[2]
        impasto("paint", content, *more.split(), "-o", name, *tiny)
        assert Path("out", name).read_bytes() == Path(name).read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b'content;style;strength\r\nphotos/a.png;"art/s.png;art/t.png";2\r\n',
        b"sep=;\r\ncontent;style\r\nphotos/a.png;art/s.png\r\n",
        b"sep=;\rcontent;style\rphotos/a.png;art/s.png\r",
        "content\tstyle\nphotos/a.png\tart/s.png;art/t.png\n".encode("utf-16"),
    ],
    ids=["semicolons", "sep", "old", "tabs"],
)
def test_tables_as_spreadsheets_write_them(batch, data) -> None:
    Path("jobs.csv").write_bytes(data)
    assert batch("--pairs jobs.csv")[0] == 0
    assert len(pictures()) == 1


def test_the_lines_of_a_spreadsheets_table_are_counted_as_there(batch) -> None:
    Path("jobs.csv").write_bytes(b"sep=;\ncontent;style\nphotos/a.png;\n")
    assert "jobs.csv line 3: it takes a content and a style" in batch("--pairs jobs.csv")[2]


@pytest.mark.parametrize(
    ("given", "names"), [("a up", {"a-s.png", "up-t.png"}), ("a a", {"a-s.png", "a-t.png"})]
)
def test_zip_paints_the_first_in_the_first_and_so_on(batch, given, names) -> None:
    contents = [f"photos/{name}.png" for name in given.split()]
    assert batch("--style art --pairs zip", *contents)[0] == 0
    assert set(pictures()) == names


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("photos -o out", "no style"),
        ("photos --style art -o photos", "give another -o"),
        ("photos --style empty -o out", "no picture in the folder empty"),
        (
            "photos --style art -o out --pairs zip",
            "as many styles as contents, and there are 2 and 3",
        ),
        ("photos --style art -o out --pairs jobs.csv", "jobs.csv names the pictures"),
        ("photos --style art -o out --size 3", "--size is '3'"),
        ("photos --style art -o out --preset defalt", "did you mean default?"),
        ("photos --style art -o out --backbone nowhere", "no network 'nowhere'"),
        ("photos --style art -o out --start nois", "did you mean noise?"),
    ],
)
def test_what_is_wrong_with_all_of_it_is_one_line_and_writes_nothing(
    album, refused, given, words
) -> None:
    Path("empty").mkdir()
    assert words in refused("batch", *given.split())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"", " has no column content"),
        (b"content,stlye\na,b\n", " has a column 'stlye': did you mean style?"),
        (b"content,style,save-every\na,b,1\n", " has a column 'save-every'"),
        (b"content,style,size,--size\na,b,32,32\n", " has a column twice"),
        (b"content,style\n\xff,b\n", " is not a table in UTF-8: save it as CSV UTF-8"),
        (b"content,style\na,b\n\na,b,c\n", " line 4 has more cells"),
        (b"content,style\na,b\na\n", " line 3: it takes a content and a style"),
        (b"content,style,size\na,b,32\na,b,x\n", " line 3: --size is 'x'"),
        (b"content,style,preset\na,b,hous\n", " line 2: no preset 'hous'"),
        (b"content,style,out\na,b,y.txt\n", " line 2: y.txt has no picture's suffix"),
        (b"content,style,mask\na,b,half.png\n", " line 2: --mask"),
        (b'content,style\na,b\n"a,b\n', " line 3"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_table_names_file_and_line(album, refused, table, words) -> None:
    Path("jobs.csv").write_bytes(table)
    assert f"jobs.csv{words}" in refused("batch", "--pairs", "jobs.csv", "-o", "out")


# Names, and what is done already
# --------------------------------------------------------------------------------------


def test_names_never_collide_and_nothing_is_overwritten(batch) -> None:
    Path("photos/a.png").rename("A.png")
    Path("photos/up.png").rename("a.png")
    Path("out/A-S.png").mkdir(parents=True)
    Path("out/a-t.PNG").write_bytes(b"somebody's")
    Path("jobs.csv").write_text(
        "content,style,out\na.png,art/t.png,contact-sheet.png\nA.png,art/t.png,X.png\n"
        "photos/b.png,art/t.png,y.PNG\n"
    )
    seen: dict[str, bytes] = {}
    for more in ("", "--strength 2", "--strength 2 --seed 1", "jobs"):
        given = (
            "--pairs jobs.csv --seed 2"
            if more == "jobs"
            else f"A.png photos a.png --style art {more}"
        )
        assert batch(given)[0] == 0
        assert pictures().items() >= seen.items()
        seen = pictures()
    names = [each["out"] for each in lines()]
    assert len({name.casefold() for name in names}) == len(names) == 3 * 6 + 3
    assert Path("out/a-t.PNG").read_bytes() == b"somebody's"


def test_a_strangers_contact_sheet_is_not_overwritten(batch) -> None:
    for name in ("out/contact-sheet.png", "out/contact-sheet-2026.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"somebody's")
    batch()
    assert Path("out/contact-sheet-2026.png").read_bytes() == b"somebody's"
    assert Path("out/contact-sheet.png").read_bytes() == b"somebody's"


def test_a_sheet_that_is_one_no_more_is_not_touched(batch, monkeypatch) -> None:
    monkeypatch.setattr(contact_sheets, "EACH", 4)
    batch()
    monkeypatch.setattr(contact_sheets, "EACH", 60)
    batch()
    assert not Path("out/contact-sheet-002.png").exists()
    for name in ("out/contact-sheet.png", "out/contact-sheet-002.png"):
        Path(name).write_bytes(Path("photos/a.png").read_bytes())
    batch()
    batch()
    for name in ("out/contact-sheet.png", "out/contact-sheet-002.png"):
        assert Path(name).read_bytes() == Path("photos/a.png").read_bytes()
    assert Path("out/contact-sheet-sheet1.png").exists()


def test_a_batch_knows_its_sheet(batch) -> None:
    batch()
    Path("out/a-s.png").unlink()
    assert "(1 painted, 5 before)" in batch()[1]
    assert [each.name for each in Path("out").glob("con*")] == ["contact-sheet.png"]


def test_a_batch_s_folder_can_be_painted_from(batch) -> None:
    batch("photos/a.png --style art/s.png")
    assert batch("out --style art/t.png", out="more")[0] == 0
    assert set(pictures("more")) == {"a-s-t.png"}


@pytest.mark.parametrize("begun", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "other", ["--strength 2", "--start noise", "--start content=1,noise=0.3", "--mask half.png", ""]
)
def test_an_older_painting_of_the_same_pictures_is_not_overwritten(
    batch, ctrl_c, impasto, tiny, monkeypatch, other, begun
) -> None:
    asked = "photos/a.png --style art/s.png --steps 4"
    if begun:
        with monkeypatch.context() as patch:
            ctrl_c(1, patch)
            assert batch(asked)[0] == 130
    Path("out").mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        if not other:
            ctrl_c(3, patch)
        other = other.replace("half.png", "half.png=art/s.png")
        impasto(
            "paint",
            "photos/a.png",
            "art/s.png",
            "-o",
            "out/a-s.png",
            *tiny,
            "--steps",
            4,
            *other.split(),
        )
    before = Path("out/a-s.png").read_bytes()
    assert batch(asked)[0] == 0
    assert Path("out/a-s.png").read_bytes() == before
    assert len(pictures()) == 2


def test_names_that_are_no_unicode_are_painted(batch) -> None:
    name = os.fsdecode(b"photos/caf\xe9.png")
    Path("photos/a.png").rename(name)
    assert batch("photos --style art/s.png")[0] == 0
    assert set(pictures()) == {"caf-s.png", "b-s.png", "up-s.png"}
    Path(name).write_bytes(b"not one")
    assert batch("photos --style art/s.png")[0] == 3


def test_a_name_that_a_table_changes_is_told(batch) -> None:
    for names in ("ab", "ba"):
        rows = [
            f"photos/{photo}.png,art/s.png,{name}.png"
            for photo, name in zip("ab", names, strict=True)
        ]
        Path("jobs.csv").write_text("\n".join(["content,style,out", *rows]))
        code, _, err = batch("--pairs jobs.csv")
        assert code == 0
    assert "photos/a.png in the style of art/s.png is there as a.png, not as b.png" in err
    assert "photos/b.png in the style of art/s.png is there as b.png, not as a.png" in err


def test_what_somebody_puts_in_a_missing_paintings_place_is_not_overwritten(
    batch, ctrl_c, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        ctrl_c(1, patch)
        assert batch("photos/a.png --style art/s.png")[0] == 130
    Path("out/a-s.png").write_bytes(b"somebody's")
    assert batch("photos/a.png --style art/s.png")[0] == 0
    assert Path("out/a-s.png").read_bytes() == b"somebody's"


def test_a_long_name_is_cut_to_what_file_systems_take(batch) -> None:
    Path("photos/a.png").rename(f"photos/{'畫' * 80}.png")
    assert batch()[0] == 0
    cut = [name for name in pictures() if name.startswith("畫")]
    assert len(cut) == 2
    assert all(len(name.encode()) < 170 for name in cut)


def test_a_name_that_the_disk_does_not_take_does_not_stop_the_rest(batch, monkeypatch) -> None:
    move = BatchStore._move

    def refuse(store, painting, path):
        if path.name == "a-s.png":
            raise OutputError("cannot write a-s.png: Invalid argument")
        move(store, painting, path)

    monkeypatch.setattr(BatchStore, "_move", refuse)
    code, _, err = batch()
    assert (code, "impasto: photos/a.png in the style of art/s.png: cannot write" in err) == (
        3,
        True,
    )
    assert set(pictures()) == {"a-t.png", "b-s.png", "b-t.png", "up-s.png", "up-t.png"}


def test_done_work_is_known_by_its_pictures_and_settings_and_not_by_names(
    batch, monkeypatch
) -> None:
    batch()
    with monkeypatch.context() as patch:
        patch.setattr("impasto.painting.loop.Loop.ask", lambda _: pytest.fail("it paints"))
        assert "(0 painted, 6 before)" in batch()[1]
        Path("photos").rename("moved")
        Path("moved/a.png").rename("moved/z.png")
        assert "(0 painted, 6 before)" in batch("moved --style art --tile 1024")[1]
    Image.open("moved/z.png").rotate(180).save("moved/z.png")
    Path("out/up-s.png").unlink()
    assert "(3 painted, 3 before)" in batch("moved --style art")[1]
    assert set(pictures()) == {
        f"{content}-{style}.png" for content in ("a", "b", "up", "z") for style in "st"
    }


# What goes wrong
# --------------------------------------------------------------------------------------------------


def test_bad_pictures_do_not_stop_the_rest_and_are_told_every_time(batch) -> None:
    Path("photos/b.png").write_bytes(b"not one")
    Image.new("RGB", (8, 8)).save("photos/small.png")
    bad = ("gone.png", "photos/b.png", "photos/small.png")  # the first one has no checksum
    for more in ("", "--quiet"):
        code, _, err = batch(f"photos gone.png --style art/s.png {more}")
        told = sorted(line for line in err.splitlines() if line.startswith("impasto: "))
        assert (code, "Traceback" in err) == (3, False)
        assert [path in line for line, path in zip(told, bad, strict=True)] == [True] * 3
    assert set(pictures()) == {"a-s.png", "up-s.png"}
    failed = {each["content"]: each["error"] for each in lines() if each["state"] == "failed"}
    assert set(failed) == set(bad[1:])
    assert all(path in error for path, error in failed.items())
    Image.open("photos/a.png").rotate(180).save("photos/b.png")
    Path("photos/small.png").unlink()
    code, out, _ = batch("photos --style art/s.png")
    assert (code, "(1 painted, 2 before)" in out) == (0, True)
    last = {each["key"]: each for each in lines()}
    assert sorted(each["state"] for each in last.values()) == ["done"] * 3 + ["failed"] * 2
    Path("gone.png").write_bytes(Path("photos/a.png").read_bytes())
    assert batch("photos gone.png --style art/s.png")[0] == 0


def test_a_picture_that_was_gone_for_a_moment_is_tried_again(batch, monkeypatch) -> None:
    read = scheduler._read_files

    def gone(task):
        if task.content.name == "photos/a.png":
            Path("photos/a.png").rename("a.png")
        try:
            return read(task)
        finally:
            Path("a.png").exists() and Path("a.png").rename("photos/a.png")

    with monkeypatch.context() as patch:
        patch.setattr(scheduler, "_read_files", gone)
        assert batch("photos --style art/s.png")[0] == 3
    assert "(1 painted, 2 before)" in batch("photos --style art/s.png")[1]


def test_one_folder_is_of_a_batch_or_of_a_painting(batch, refused, impasto, tiny) -> None:
    batch("photos/a.png --style art/s.png")
    paint = ("paint", "photos/a.png", "art/s.png", "-o", "one.png", *tiny, "--checkpoint")
    assert "out is the folder of a batch" in refused(*paint, "out")
    assert impasto(*paint, "kept")[0] == 0
    assert "kept holds the checkpoints of a painting" in batch("photos --style art", out="kept")[2]


def test_a_folder_that_has_moved_is_told_with_what_to_do(batch, refused, monkeypatch) -> None:
    batch("photos/a.png --style art/s.png")
    here = Path.cwd()
    moved = here.with_name("moved")
    monkeypatch.chdir("/")
    here.rename(moved)
    try:
        assert f"the folder that it was begun in is gone, {here}" in refused(
            "resume", moved / "out"
        )
    finally:
        moved.rename(here)
        monkeypatch.chdir(here)


def test_what_failed_is_tried_again_by_the_next_call(batch, impasto, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("impasto.painting.loop.Loop.ask", lambda _: (_ for _ in ()).throw(ValueError))
        for given in (("batch",), ("resume",)):
            code, out, err = batch() if given == ("batch",) else impasto("resume", "out")
            told = err.count("impasto: photos/"), err.count("a fault of impasto's own: ValueError")
            assert (code, "(0 painted, 6 failed)" in out, told[0]) == (3, True, 6)
    assert [each["state"] for each in lines()] == ["failed"] * 12
    assert "(6 painted)" in impasto("resume", "out")[1]
    assert [each["state"] for each in lines()] == ["failed"] * 12 + ["done"] * 6
    assert (batch()[0], kept()) == (0, set())


@pytest.mark.parametrize(
    ("place", "broken", "command"),
    [
        ("manifest.jsonl", b"nonsense\n", f"batch {ALL} -o out"),
        ("manifest.jsonl", b"\xff\n", "resume out"),
        ("manifest.jsonl", None, "resume out"),
        (".impasto/batch.json", b"{}", "resume out"),
        (".impasto/batch.json", b'{"folder": ".", "contents": [5]}', "resume out"),
        ("manifest.jsonl", b'{"key": "k", "state": "done"}\n', "resume out"),
        ("manifest.jsonl", b'{"key": "k", "state": "done", "out": null}\n', "resume out"),
        ("manifest.jsonl", b'{"key": "k", "state": "failed"}\n', "resume out"),
    ],
)
def test_a_broken_manifest_or_spec_is_one_line(batch, impasto, place, broken, command) -> None:
    batch("photos/a.png --style art/s.png")
    before = pictures()
    Path("out", place).unlink()
    Path("out", place).mkdir() if broken is None else Path("out", place).write_bytes(broken)
    code, _, err = impasto(*command.split())
    assert (code, err.count("\n"), place in err, pictures()) == (2, 1, True, before)


def test_a_second_batch_into_the_same_folder_is_refused(batch, impasto) -> None:
    batch("photos/a.png --style art/s.png")
    with open("out/.impasto/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for code, _, err in (batch(), impasto("resume", "out")):
            assert (code, "another batch is painting into" in err, err.count("\n")) == (2, True, 1)
    assert batch()[0] == 0


def test_the_sheets_show_every_painting_and_why_some_are_none(batch, monkeypatch) -> None:
    shown, draw = [], contact_sheets.contact_sheet
    monkeypatch.setattr(
        contact_sheets,
        "contact_sheet",
        lambda rows: shown.append([*itertools.chain(*rows)]) or draw(rows),
    )
    monkeypatch.setattr(contact_sheets, "EACH", 4)
    Path("photos/b.png").write_bytes(b"not one")
    batch()
    found = [*itertools.chain(*shown)]
    assert [caption for _, caption in found] == [
        f"{name}\n{style}" for name in ("a", "b", "up") for style in "st"
    ]
    assert [each for each, _ in found if isinstance(each, str)] == [
        "photos/b.png is not a picture, but a text"
    ] * 2
    assert {each.name for each in Path("out").glob("con*")} == {
        "contact-sheet.png",
        "contact-sheet-002.png",
    }
    monkeypatch.setattr(contact_sheets, "EACH", 60)
    find = BatchStore.find

    def found(store, key):  # and broken only then
        name = find(store, key)
        if name == "a-s.png":
            Path("out/a-s.png").write_bytes(Path("out/a-s.png").read_bytes()[:-500])
        return name

    monkeypatch.setattr(BatchStore, "find", found)
    assert batch()[0] == 3
    assert [each.name for each in Path("out").glob("con*")] == ["contact-sheet.png"]
    assert shown[-1][0][0].startswith("cannot be read")


def header_broken(data: bytes) -> bytes:
    broken = bytearray(data)
    broken[11] = 5  # of 13 bytes in the header
    return bytes(broken)


@pytest.mark.parametrize("breaks", [lambda _: b"", lambda data: data[:-500], header_broken])
def test_a_painting_that_was_broken_since_is_painted_again(batch, breaks) -> None:
    batch()
    whole, path = pictures(), Path("out/a-s.png")
    path.write_bytes(breaks(path.read_bytes()))
    code, out, err = batch()
    assert (code, "(1 painted, 5 before)" in out, err.count("a-s.png is damaged")) == (0, True, 1)
    assert whole["a-s.png"] in pictures().values()
    assert "(0 painted, 6 before)" in batch()[1]


def test_a_painting_that_somebody_has_worked_on_is_not_painted_again(batch) -> None:
    batch()
    Image.open("out/a-s.png").rotate(90).save("out/a-s.png")
    assert "(0 painted, 6 before)" in batch()[1]


def test_the_bar_counts_each_painting_once() -> None:
    with BatchProgress(Console(quiet=True)) as progress:
        progress.begin(4)
        progress.show("", "a.png and 3 more", 1.0, 0.25)
        progress.done()
        progress.done()
        progress.show("", "a.png and 3 more", 0.0, 0.5)
        assert progress._bar.tasks[0].completed == 0.5


# Stopped and killed
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "how"),
    [
        (20, "resume"),
        *(
            pytest.param(at, how, marks=pytest.mark.slow)
            for at, how in (
                (1, "again"),
                (6, "again"),
                (6, "resume"),
                (20, "again"),
                (23, "resume"),
            )
        ),
    ],
)
def test_ctrl_c_stops_after_the_step_and_it_ends_as_if_never_stopped(
    batch, impasto, monkeypatch, at, how
) -> None:
    batch(ALL, "--steps", 5, out="whole")
    measure, made, out = Objective._measure, [], Path("out").absolute()

    def pressed(self, *more):
        made.append(self)
        if len(made) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(self, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "_measure", pressed)
        code, _, err = batch(ALL, "--steps", 5)
    assert (code, "`impasto resume out` continues it" in err) == (130, True)
    checkpoints = len(list(Path("out").rglob("checkpoint.safetensors")))
    assert (len(made), checkpoints) == {1: (1, 0), 6: (8, 4), 20: (22, 2), 23: (24, 2)}[at], (
        "four have five steps, then two"
    )
    if how == "resume":
        monkeypatch.chdir("/")
        assert impasto("resume", out)[0] == 0
        monkeypatch.chdir(out.parent)
    else:
        assert batch(ALL, "--steps", 5)[0] == 0
    assert pictures() == pictures("whole")
    assert sorted(each["out"] for each in lines()) == sorted(pictures())
    assert kept() == set()


def unmoved(record: dict) -> None:
    """Put a painting back where it lies until its line is in the manifest."""
    folder = Path("out/.impasto", record["key"][:32])
    folder.mkdir()
    Path("out", record["out"]).rename(folder / "painting")


def test_a_painting_is_done_as_soon_as_its_line_is_written(batch) -> None:
    batch()
    whole = pictures()
    unmoved(lines()[2])
    assert "(0 painted, 6 before)" in batch()[1]
    assert (pictures(), kept()) == (whole, set())


def test_a_torn_manifest_and_leftover_parts_are_mended(batch) -> None:
    batch()
    whole, manifest = pictures(), Path("out/manifest.jsonl")
    unmoved(lines()[-1])
    manifest.write_bytes(manifest.read_bytes()[:-20])
    parts = [Path("out/.a-s.png.1-1.part"), Path("out/.impasto/.batch.json.1-1.part")]
    for part in parts:
        part.write_bytes(b"half")
    assert "(1 painted, 5 before)" in batch()[1]
    assert sorted(each["out"] for each in lines()) == sorted(whole)
    assert (pictures(), [part.exists() for part in parts]) == (whole, [False, False])
    assert kept() == set()


def test_what_a_run_that_died_as_it_finished_left_behind_is_swept(batch, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(BatchStore, "_forget", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert batch()[0] == 130
    assert (batch()[0], kept()) == (0, set())


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 100])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(batch, tiny, tmp_path, kills) -> None:
    asked = (
        "photos/a.png photos/up.png --style art --size 96 --steps 30 --levels 2 "
        "--level-ratio 1.25 --quiet"
    )
    command = [sys.executable, "-c", DRIVER, "batch", *tiny, *asked.split(), "-o"]
    batch(asked, out="whole")
    moments, whole, killed = random.Random(kills), pictures("whole"), 0
    for number in itertools.count(1):
        out, ended = f"out{number}", None
        while ended != 0:
            with subprocess.Popen([*command, out], cwd=tmp_path, stdout=subprocess.PIPE) as process:
                process.stdout.readline()
                if killed < kills:
                    time.sleep(moments.uniform(0, 0.9))
                    process.kill()
                ended = process.wait(120)
            assert ended in (0, -signal.SIGKILL)
            killed += ended != 0
        done = collections.Counter(each["out"] for each in lines(out))
        lost, doubled = set(whole) - set(done), [name for name, count in done.items() if count > 1]
        assert (lost, doubled, pictures(out)) == (set(), [], whole)
        assert not list(Path(out).rglob("*.part"))
        if killed == kills:
            print(f"{killed} kills of {number} batches, lost {len(lost)}, doubled {len(doubled)}")
            return


def test_what_is_passed_over_in_a_folder_is_said(batch, tiny, impasto) -> None:
    for name in ("raw.DNG", "film.mov", ".hidden"):
        Path("photos", name).write_bytes(b"something")
    Path("photos", "gone.png").symlink_to("nowhere.png")
    os.mkfifo("photos/pipe.png")
    given = [each for each in tiny if each != "--quiet"]
    code, _, err = impasto("batch", "-o", "out", *given, *ALL.split())
    assert code == 0
    assert "passed over in photos: film.mov (no picture's name), " in " ".join(err.split())
    assert "raw.DNG (a camera's raw file: develop it first)" in " ".join(err.split())
    assert "gone.png (a link to nothing)" in " ".join(err.split())
    assert "pipe.png (no regular file)" in " ".join(err.split())
    assert "hidden" not in err


def test_heif_is_picked_up_by_all_its_names(batch) -> None:
    pillow_heif.register_heif_opener()
    for name, of in (("x.HIF", "a"), ("y.heics", "b")):
        Image.open(f"photos/{of}.png").convert("RGB").save(f"photos/{name}", "HEIF")
    assert batch()[0] == 0
    assert {"x-s.png", "y-s.png"} <= pictures().keys()


def test_depth_and_metadata_hold_for_a_batch(batch, impasto) -> None:
    exif = Image.Exif()
    exif[315] = "Jensen"
    Image.open("photos/a.png").convert("RGB").save("photos/c.jpg", exif=exif)
    assert batch("photos/c.jpg --style art/s.png --depth 16")[0] == 0
    data = Path("out/c-s.png").read_bytes()
    assert data[24] == 16  # bits a sample, in the header
    with Image.open("out/c-s.png") as image:
        assert image.getexif()[315] == "Jensen"
    assert batch("photos/c.jpg --style art/s.png --metadata none", out="other")[0] == 0
    with Image.open("other/c-s.png") as image:
        assert not image.getexif()
    Path("jobs.csv").write_text("content,style,out\nphotos/c.jpg,art/s.png,c.jpg\n")
    code, _, err = batch("--pairs jobs.csv --depth 16", out="third")
    assert code == 2
    assert "c.jpg cannot have 16 bits: choose .png" in err
