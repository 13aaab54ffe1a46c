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
import pytest
from PIL import Image
from rich.console import Console

from impasto.apps.batch import ledger, sheets
from impasto.apps.batch.board import Board
from impasto.objective import Objective
from impasto.pictures import read_settings

# Runs the command line with a checkpoint after every step, and says when it begins.
DRIVER = (
    "import sys, torch; torch.set_num_threads(1); from impasto import checkpoint; "
    "checkpoint.SOONEST, checkpoint.COST = 0.0, 1e9; from impasto.apps.cli import main; "
    "import impasto.apps.batch.foreman, impasto.apps.batch.sheets; print('begun', flush=True); main(sys.argv[1:])"
)
ALL = "photos --style art"


def lines(folder="out") -> list[dict]:
    return [json.loads(line) for line in (Path(folder) / "manifest.jsonl").read_text().splitlines()]


def pictures(folder="out") -> dict[str, bytes]:
    found = (each for each in Path(folder).glob("*.png") if each.is_file())
    return {each.name: each.read_bytes() for each in found if not each.name.startswith("contact-sheet")}


def kept(folder="out") -> set[str]:
    return set(os.listdir(Path(folder) / ".impasto")) - {"lock", "batch.json", "names.json"}


@pytest.fixture
def album(impasto, photo, style):
    """In photos/ a.png, b.png of one size and up.png, in art/ s.png and t.png, beside them half.png."""
    pixels, of_style = np.asarray(Image.open(photo)), np.asarray(Image.open(style))
    half = np.repeat(np.where(np.arange(48) < 24, 255, 0)[None], 40, 0).astype(np.uint8)
    made = {"photos/a": pixels, "photos/b": pixels[..., ::-1], "photos/up": pixels.swapaxes(0, 1), "half": half}
    for name, each in {**made, "art/s": of_style, "art/t": of_style[::-1, :, ::-1]}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(each)).save(f"{name}.png")
    Path("photos/notes.txt").write_text("no picture")


@pytest.fixture
def batch(album, impasto, tiny):
    """Runs the command into out/; gives its exit code, stdout and stderr."""
    return lambda given=ALL, *more, out="out": impasto("batch", "-o", out, *tiny, *given.split(), *more)


# What is painted ------------------------------------------------------------------------------------------------------


def test_every_content_in_every_style_is_what_paint_makes_of_it(batch, impasto, tiny) -> None:
    assert batch("photos --style art/s.png --style art/t.png --quiet") == (0, "", "")
    assert set(pictures()) == {f"{content}-{style}.png" for content in ("a", "b", "up") for style in "st"}
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
        "art/s.png art/t.png --strength 3 --colour content --style-scale 0.2",
        "art/s.png --preset layered --strength 3 --mask half.png=art/t.png",
    ]
    head = "\ufeffContent,style,out,preset,strength,--colour,mask,style-scale"
    Path("jobs.csv").write_text("\r\n".join([head, *rows]))
    assert batch("--pairs jobs.csv --strength 3")[0] == 0
    for row, more in zip(rows, options, strict=True):
        content, name = row.split(",")[0], row.split(",")[2]
        impasto("paint", content, *more.split(), "-o", name, *tiny)
        assert Path("out", name).read_bytes() == Path(name).read_bytes()


@pytest.mark.parametrize(("given", "names"), [("a up", {"a-s.png", "up-t.png"}), ("a a", {"a-s.png", "a-t.png"})])
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
        ("photos --style art -o out --pairs zip", "as many styles as contents, and there are 2 and 3"),
        ("photos --style art -o out --pairs jobs.csv", "jobs.csv names the pictures"),
        ("photos --style art -o out --size 3", "--size is '3'"),
        ("photos --style art -o out --preset hous", "did you mean house?"),
        ("photos --style art -o out --backbone nowhere", "no network 'nowhere'"),
        ("photos --style art -o out --start nois", "did you mean noise?"),
    ],
)
def test_what_is_wrong_with_all_of_it_is_one_line_and_writes_nothing(album, refused, given, words) -> None:
    Path("empty").mkdir()
    assert words in refused("batch", *given.split())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"", " has no column content"),
        (b"content,stlye\na,b\n", " has a column 'stlye': did you mean style?"),
        (b"content,style,save-every\na,b,1\n", " has a column 'save-every'"),
        (b"content,style,size,--size\na,b,32,32\n", " has a column twice"),
        (b"content,style\n\xff,b\n", " cannot be read as a table"),
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


# Names, and what is done already --------------------------------------------------------------------------------------


def test_names_never_collide_and_nothing_is_overwritten(batch) -> None:
    Path("photos/a.png").rename("A.png")
    Path("photos/up.png").rename("a.png")
    Path("out/A-S.png").mkdir(parents=True)
    Path("out/a-t.PNG").write_bytes(b"somebody's")
    Path("jobs.csv").write_text("content,style,out\na.png,art/t.png,contact-sheet.png\nA.png,art/t.png,X.png\n"
                                "photos/b.png,art/t.png,y.PNG\n")  # fmt: skip
    seen: dict[str, bytes] = {}
    for more in ("", "--strength 2", "--strength 2 --seed 1", "jobs"):
        given = "--pairs jobs.csv --seed 2" if more == "jobs" else f"A.png photos a.png --style art {more}"
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


def test_what_somebody_puts_in_a_missing_paintings_place_is_not_overwritten(batch, ctrl_c, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        ctrl_c(1, patch)
        assert batch("photos/a.png --style art/s.png")[0] == 130
    Path("out/a-s.png").write_bytes(b"somebody's")
    assert batch("photos/a.png --style art/s.png")[0] == 0
    assert Path("out/a-s.png").read_bytes() == b"somebody's"


def test_a_name_that_is_too_long_for_the_disk_does_not_stop_the_rest(batch, monkeypatch) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 0.0)
    Path("photos/a.png").rename(f"photos/{'畫' * 80}.png")
    assert batch()[0] in (0, 3)
    assert {"b-s.png", "b-t.png", "up-s.png", "up-t.png"} <= set(pictures())


def test_done_work_is_known_by_its_pictures_and_settings_and_not_by_names(batch, monkeypatch) -> None:
    batch()
    with monkeypatch.context() as patch:
        patch.setattr("impasto.together.course", lambda *_, **__: pytest.fail("it paints"))
        assert "(0 painted, 6 before)" in batch()[1]
        Path("photos").rename("moved")
        Path("moved/a.png").rename("moved/z.png")
        assert "(0 painted, 6 before)" in batch("moved --style art --tile 1024")[1]
    Image.open("moved/z.png").rotate(180).save("moved/z.png")
    Path("out/up-s.png").unlink()
    assert "(3 painted, 3 before)" in batch("moved --style art")[1]
    assert set(pictures()) == {f"{content}-{style}.png" for content in ("a", "b", "up", "z") for style in "st"}


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_bad_pictures_do_not_stop_the_rest_and_are_told_every_time(batch) -> None:
    Path("photos/b.png").write_bytes(b"not one")
    Image.new("RGB", (8, 8)).save("photos/small.png")
    bad = ("gone.png", "photos/b.png", "photos/small.png")
    for more in ("", "--quiet"):
        code, _, err = batch(f"photos gone.png --style art/s.png {more}")
        told = sorted(line for line in err.splitlines() if line.startswith("impasto: "))
        assert (code, "Traceback" in err) == (3, False)
        assert [path in line for line, path in zip(told, bad, strict=True)] == [True] * 3
    assert set(pictures()) == {"a-s.png", "up-s.png"}
    failed = {each["content"]: each["error"] for each in lines() if each["state"] == "failed"}
    assert set(failed) == set(bad)
    assert all(path in error for path, error in failed.items())
    Image.open("photos/a.png").rotate(180).save("photos/b.png")
    Path("photos/small.png").unlink()
    code, out, _ = batch("photos --style art/s.png")
    assert (code, "(1 painted, 2 before)" in out) == (0, True)


def test_what_failed_once_is_not_tried_again_until_it_is_asked_for(batch, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("impasto.together.course", lambda *_, **__: (_ for _ in ()).throw(ValueError))
        assert batch()[0] == 3
    code, out, err = batch()
    assert (code, "(0 painted, 6 failed)" in out, err.count("a fault of impasto's own")) == (3, True, 6)
    assert batch(ALL, "--retry-failed")[0] == 0
    assert [each["state"] for each in lines()] == ["failed"] * 6 + ["done"] * 6
    assert (batch()[0], kept()) == (0, set())


@pytest.mark.parametrize(
    ("place", "broken", "command"),
    [
        ("manifest.jsonl", b"nonsense\n", f"batch {ALL} -o out"),
        ("manifest.jsonl", b"\xff\n", "resume out"),
        ("manifest.jsonl", None, "resume out"),
        (".impasto/names.json", b"[]", f"batch {ALL} -o out"),
        (".impasto/batch.json", b"{}", "resume out"),
    ],
)
def test_a_broken_ledger_is_one_line(batch, impasto, place, broken, command) -> None:
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
    shown, draw = [], sheets.contact_sheet
    monkeypatch.setattr(sheets, "contact_sheet", lambda rows: shown.append([*itertools.chain(*rows)]) or draw(rows))
    monkeypatch.setattr(sheets, "EACH", 4)
    Path("photos/b.png").write_bytes(b"not one")
    batch()
    found = [*itertools.chain(*shown)]
    assert [caption for _, caption in found] == [f"{name}\n{style}" for name in ("a", "b", "up") for style in "st"]
    assert [each for each, _ in found if isinstance(each, str)] == [
        "photos/b.png is not a picture that can be read"
    ] * 2
    assert {each.name for each in Path("out").glob("con*")} == {"contact-sheet.png", "contact-sheet-002.png"}
    monkeypatch.setattr(sheets, "EACH", 60)
    Path("out/a-s.png").write_bytes(Path("out/a-s.png").read_bytes()[:-500])
    assert batch()[0] == 3
    assert [each.name for each in Path("out").glob("con*")] == ["contact-sheet.png"]
    assert shown[-1][0][0].startswith("cannot be read")


def test_a_painting_that_was_broken_since_is_told_on_the_sheet(batch) -> None:
    batch()
    broken = bytearray(Path("out/a-s.png").read_bytes())
    broken[11] = 5  # of 13 bytes in the header
    Path("out/a-s.png").write_bytes(broken)
    assert batch()[0] == 0


def test_the_bar_counts_each_painting_once() -> None:
    with Board(Console(quiet=True)) as board:
        board.begin(4)
        board.show("", "a.png and 3 more", 1.0, 0.25)
        board.done()
        board.done()
        board.show("", "a.png and 3 more", 0.0, 0.5)
        assert board._bar.tasks[0].completed == 0.5


# Stopped and killed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "how"), [(1, "again"), (6, "resume"), (6, "again"), (20, "again"), (23, "resume")])
def test_ctrl_c_stops_after_the_step_and_it_ends_as_if_never_stopped(batch, impasto, monkeypatch, at, how) -> None:
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
    assert (code, "`impasto resume out` goes on with it" in err) == (130, True)
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


def test_a_torn_manifest_and_leftover_parts_are_mended(batch) -> None:
    batch()
    whole, manifest = pictures(), Path("out/manifest.jsonl")
    manifest.write_bytes(manifest.read_bytes()[:-20])
    parts = [Path("out/.a-s.png.1-1.part"), Path("out/.impasto/.names.json.1-1.part")]
    for part in parts:
        part.write_bytes(b"half")
    assert "(1 painted, 5 before)" in batch()[1]
    assert sorted(each["out"] for each in lines()) == sorted(whole)
    assert (pictures(), [part.exists() for part in parts]) == (whole, [False, False])


def test_what_a_run_that_died_as_it_finished_left_behind_is_swept(batch, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "_forget", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert batch()[0] == 130
    assert (batch()[0], kept()) == (0, set())


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(batch, tiny, tmp_path, kills) -> None:
    asked = "photos/a.png photos/up.png --style art --size 96 --steps 30 --levels 2 --level-ratio 1.25 --quiet"
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
