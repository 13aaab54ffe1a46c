"""Files that somebody has made to harm: one line and exit code 2; nothing is waited for, nor
written elsewhere."""

import hashlib
import json
import os
import random
import re
import shutil
import socket
import stat
import threading
from pathlib import Path

import pytest
from PIL import PngImagePlugin

from crafted import noise
from impasto import signing
from impasto.images.read import read_settings
from impasto.objective.objective import Objective
from impasto.painting.checkpoint_file import BEFORE, NAME

DEEP = "[" * 100_000


@pytest.fixture
def line_of(impasto):
    """Runs a command that must end with one line and exit code 2; gives that line."""

    def run(*arguments: object) -> str:
        code, out, err = impasto(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("impasto: ")
        return err

    return run


def put_in_place(path: Path, what: str) -> None:
    """A file that is no regular one at `path`."""
    path.unlink(missing_ok=True)
    if what == "FIFO":
        os.mkfifo(path)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


# Pictures and their settings
# ------------------------------------------------------------------------------------------

READ = [
    "show",
    "paint -o x.png --from",
    "texture -o x.png --from",
    "paint photo.png",
    "progress",
    "curves",
]


@pytest.mark.parametrize("what", ["FIFO", "socket", "device", "folder"])
@pytest.mark.parametrize("command", READ)
def test_what_is_no_regular_file_is_refused(line_of, tmp_path, photo, command, what) -> None:
    shutil.copy(photo, tmp_path / "photo.png")
    put_in_place(tmp_path / "odd.png", what)
    said = f"it is not a regular file: it is a {what}"
    line = line_of(*command.split(), "odd.png")
    assert "odd.png" in line
    assert said in line or what == "folder"


@pytest.mark.parametrize("name", ["a\0b.png", "half a \ud800.png", "long" * 2000 + ".png"])
@pytest.mark.parametrize("command", ["show", "paint -o x.png --from", "paint -o x.png photo.png"])
def test_a_name_that_no_file_can_have_is_refused(line_of, tmp_path, photo, command, name) -> None:
    shutil.copy(photo, tmp_path / "photo.png")
    assert "cannot be opened" in line_of(*command.split(), name)


def test_a_file_that_is_too_large_is_not_read(line_of, tmp_path) -> None:
    (tmp_path / "huge.png").touch()
    os.truncate(tmp_path / "huge.png", 1 << 40)
    assert "it has more than 1,073,741,824 bytes" in line_of("show", "huge.png")


def carrying(path: Path, text: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("impasto", text)
    noise().save(path, pnginfo=info)


SETTINGS = {
    "program": "impasto",
    "version": "0.1.0",
    "config": {"size": 32},
    "machine": {},
    "steps_done": 2,
    "inputs": [
        {"role": role, "name": f"{role}.png", "sha256": "ab"} for role in ("content", "style")
    ],
}
INPUT = SETTINGS["inputs"][0]
BAD_SETTINGS = {
    "deep": DEEP,
    "deep inside": json.dumps({**SETTINGS, "config": 0}).replace("0}", DEEP + "}"),
    "a list": "[]",
    "no text": "3",
    "a long number": json.dumps(SETTINGS).replace("32", "3" * 5000),
    **{
        f"{changed}"[:60]: json.dumps({**SETTINGS, **changed})
        for changed in (
            {"inputs": [{**INPUT, "role": ["content"]}]},
            {"inputs": [{**INPUT, "role": {}}]},
            {"inputs": [{**INPUT, "name": 5}]},
            {"inputs": [{**INPUT, "name": "a\0b"}]},
            {"inputs": [{**INPUT, "name": "\ud800"}]},
            {"inputs": [{**INPUT, "sha256": None}]},
            {"inputs": ["content"]},
            {"inputs": {"role": "content"}},
            {"inputs": [INPUT] * 1001},
            {"version": [1]},
            {"steps_done": "two"},
            {"steps_done": -1},
            {"steps_done": True},
            {"terms": [1, 2]},
            {"terms": {"content": "much"}},
            {"objective": "low"},
            {"config": []},
            {"config": {"fine": "a\0b"}},
            {"config": {"start": {"\ud800.png": 1}}},
            {"config": {"mask": [[1]]}},
            {"config": {"mask": ["x=y"] * 10_001}},
        )
    },
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
@pytest.mark.parametrize(
    "command", ["show", "show --json", "paint -o x.png --from", "texture -o x.png --from"]
)
def test_settings_that_impasto_did_not_write_are_none(line_of, tmp_path, command, name) -> None:
    carrying(tmp_path / "bad.png", BAD_SETTINGS[name])
    assert "bad.png carries no settings" in line_of(*command.split(), "bad.png")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"size": 10**9}, "--size is 1000000000: it takes"),
        ({"nonsense": 1}, "no setting 'nonsense'"),
        ({"steps": "many"}, "--steps is 'many'"),
        ({"start": {"nowhere": 1}}, "no start 'nowhere'"),
    ],
)
def test_settings_that_cannot_be_painted_with_are_told(
    line_of, tmp_path, photo, style, config, said
) -> None:
    carrying(tmp_path / "bad.png", json.dumps({**SETTINGS, "config": config}))
    assert said in line_of("paint", photo, style, "-o", "x.png", "--from", "bad.png")


def test_memory_that_cannot_be_painted_in_is_told(line_of, tmp_path, photo, style) -> None:
    carrying(tmp_path / "bad.png", json.dumps({**SETTINGS, "machine": {"memory": 10**300}}))
    assert "--memory" in line_of("paint", photo, style, "-o", "x.png", "--from", "bad.png")


def test_pictures_that_settings_name_are_regular_files_too(line_of, tmp_path) -> None:
    os.mkfifo(tmp_path / "content.png")
    carrying(tmp_path / "bad.png", json.dumps(SETTINGS))
    assert "it is a FIFO" in line_of("paint", "-o", "x.png", "--from", "bad.png")


def test_ten_million_snapshots_are_not_counted(line_of, tmp_path, photo) -> None:
    config = {"steps": 10_000_000, "backbone": "/nowhere.pth"}
    carrying(tmp_path / "bad.png", json.dumps({**SETTINGS, "config": config}))
    every = ("--save-every", "1", "--from", "bad.png")
    assert "no weights at" in line_of("paint", photo, photo, "-o", "x.png", *every)


def test_what_a_terminal_would_obey_is_not_shown(impasto, tmp_path) -> None:
    carrying(tmp_path / "bad.png", json.dumps({**SETTINGS, "version": "1\x1b[2J\nimpasto: 2"}))
    code, out, _ = impasto("show", "bad.png")
    assert (code, "\x1b" in out, out.splitlines()[0]) == (
        0,
        False,
        "impasto 1?[2J?impasto: 2, 2 steps",
    )


def test_a_name_of_a_file_that_is_no_unicode_is_a_name(
    painted, impasto, style, tiny, photo, tmp_path
) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    shutil.copy(photo, tmp_path / odd)
    assert impasto("paint", odd, style, "-o", "out.png", *tiny)[0] == 0
    assert read_settings(tmp_path / "out.png")["inputs"][0]["name"] == odd
    assert impasto("paint", "--from", "out.png", "-o", "again.png")[0] == 0


# Folders of runs
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(painted, ctrl_c, monkeypatch, tmp_path):
    """A painting that was cut off, in kept/; its outputs lie beside that."""
    monkeypatch.setattr("impasto.painting.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.painting.checkpoint.COST", 1e9)

    def begin(*options: object, out: str = "out.png") -> Path:
        with monkeypatch.context() as patch:
            ctrl_c(3, patch)
            painted("--steps", 4, *options, "--checkpoint", "kept", out=out)
        return tmp_path / "kept" / "job.json"

    return begin


def changed(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_job_of_one_s_own_is_gone_on_with(begun, impasto, tmp_path) -> None:
    begun("--trace", "run.jsonl", "--timelapse", "film.gif", "--figure", "figure.png")
    assert impasto("resume", "kept")[0] == 0
    assert {"out.png", "run.jsonl", "film.gif", "figure.png"} < set(os.listdir(tmp_path))


@pytest.mark.parametrize("name", ["picture", "timelapse", "figure", "trace"])
def test_a_job_of_somebody_else_writes_into_its_own_folder_only(
    begun, line_of, impasto, tmp_path, name
) -> None:
    job, suffix = begun(), {"timelapse": "gif", "trace": "jsonl"}.get(name, "png")
    mine = tmp_path / f"mine.{suffix}"
    mine.write_text("mine")
    changed(job, outputs={"picture": "kept/out.png", name: str(mine)})
    line = line_of("resume", "kept")
    assert f"names {mine}, which is outside its folder" in line
    assert f"`impasto resume {tmp_path / 'kept'} --trust` allows it" in line
    assert mine.read_text() == "mine"
    assert impasto("resume", "kept", "--trust")[0] == 0
    assert mine.read_bytes() != b"mine"
    assert impasto("resume", "kept")[0] == 0, "by now it is signed"


@pytest.mark.parametrize("path", ["kept/../mine.png", "kept/link/mine.png", "kept/mine.png"])
def test_neither_dots_nor_links_lead_out_of_the_folder(begun, line_of, tmp_path, path) -> None:
    job = begun()
    (tmp_path / "kept" / "link").symlink_to(tmp_path)
    (tmp_path / "kept" / "mine.png").symlink_to(tmp_path / "mine.png")
    changed(job, outputs={"picture": path})
    assert "which is outside its folder" in line_of("resume", "kept")


def test_a_job_of_somebody_else_inside_its_folder_needs_no_trust(begun, impasto, tmp_path) -> None:
    changed(begun(), outputs={"picture": "kept/out.png"})
    assert impasto("resume", "kept")[0] == 0
    assert (tmp_path / "kept" / "out.png").exists()


def test_an_output_of_somebody_else_is_no_pipe(begun, line_of, tmp_path) -> None:
    changed(begun(), outputs={"picture": "kept/out.png", "trace": "kept/run.jsonl"})
    os.mkfifo(tmp_path / "kept" / "run.jsonl")
    assert "run.jsonl, which is not a regular file" in line_of("resume", "kept")


def test_a_cluster_that_nobody_typed_is_not_joined(begun, line_of) -> None:
    changed(begun(), outputs={"picture": "kept/out.png"}, engine="ray", address="evil:6379")
    assert "names the cluster evil:6379" in line_of("resume", "kept")


@pytest.mark.parametrize(
    "fields",
    [
        {"pictures": "photo.png"},
        {"pictures": [5]},
        {"pictures": []},
        {"pictures": ["a\0b"]},
        {"config": []},
        {"config": {"size": [[]]}},
        {"outputs": []},
        {"outputs": {}},
        {"outputs": {"picture": 5}},
        {"outputs": {"picture": "out.png", "more": "x"}},
        {"folder": 5},
        {"folder": "a\0b"},
        {"folder": "\ud800"},
        {"engine": "gpu"},
        {"address": []},
        {"finished": "perhaps"},
        {"signature": "\u00e9"},
        {"signature": []},
    ],
    ids=str,
)
def test_a_job_of_wrong_types_is_one_line(begun, line_of, fields) -> None:
    job = begun()
    changed(job, **fields)
    line = line_of("resume", "kept")
    assert f"{job} cannot be read: " in line or "signature" in fields


@pytest.mark.parametrize(
    "text", [DEEP, '{"a":' * 100_000, "[]", "3", "{}", "\xff", "null", " " * (2 << 20)], ids=len
)
def test_a_job_that_is_no_record_is_one_line(begun, line_of, text) -> None:
    job = begun()
    job.write_text(text)
    assert "cannot be read: " in line_of("resume", "kept")


def test_a_job_s_config_out_of_range_is_one_line(begun, line_of) -> None:
    changed(job := begun(), config={"size": 5}, outputs={"picture": "kept/out.png"})
    assert f"{job} cannot be resumed: --size is 5: it takes" in line_of("resume", "kept")


@pytest.mark.parametrize("name", ["job.json", NAME, "lock"])
@pytest.mark.parametrize("what", ["FIFO", "socket", "device", "folder"])
def test_no_file_of_a_run_s_folder_is_waited_for(begun, line_of, tmp_path, name, what) -> None:
    begun()
    put_in_place(tmp_path / "kept" / name, what)
    line_of("resume", "kept")


def test_without_a_key_it_is_told_that_resuming_needs_trust(
    begun, impasto, line_of, monkeypatch, tmp_path
) -> None:
    (tmp_path / "no-folder").touch()
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "no-folder"))
    begun()
    assert "which is outside its folder" in line_of("resume", "kept")
    assert impasto("resume", "kept", "--trust")[0] == 0
    assert impasto("resume", "kept")[0] == 0


def test_without_a_key_the_run_says_so(painted, monkeypatch, tmp_path) -> None:
    (tmp_path / "no-folder").touch()
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "no-folder"))
    code, _, err = painted("--checkpoint", "kept")
    assert code == 0
    assert re.search(
        "no-folder/key cannot be written: .* `impasto resume kept` will need --trust", err
    )
    (tmp_path / "inside").mkdir()
    code, _, err = painted("--checkpoint", "inside", out="inside/out.png")
    assert (code, "--trust" in err) == (0, False)


# Folders of batches
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def painting(impasto, photo, style, tiny, tmp_path):
    """A batch of one painting, in out/."""
    assert impasto("batch", photo, "--style", style, "-o", "out", *tiny)[0] == 0
    return tmp_path / "out"


BAD_NAMES = [
    "../outside.png",
    "/tmp/outside.png",
    "a/b.png",
    "..",
    "",
    "a\0b.png",
    "a" * 256 + ".png",
    "a.sh",
    5,
    ["a.png"],
    None,
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=str)
def test_paintings_in_the_manifest_have_plain_names(painting, line_of, name) -> None:
    path = painting / "manifest.jsonl"
    path.write_text(json.dumps({**json.loads(path.read_text()), "out": name}) + "\n")
    assert "line 1 is no record (" in line_of("resume", "out")


@pytest.mark.parametrize("name", ["manifest.jsonl", ".impasto/batch.json"])
@pytest.mark.parametrize(
    "text",
    [DEEP, '{"a":' * 100_000, "[]", "3", "[5]", '"\\ud800"', "a" * (2 << 20), '{"key": 5}'],
    ids=len,
)
def test_a_batch_s_file_that_is_no_record_is_one_line(painting, line_of, name, text) -> None:
    (painting / name).write_text(text + "\n")
    assert str(name) in line_of("resume", "out")


@pytest.mark.parametrize("name", ["manifest.jsonl", ".impasto/batch.json", ".impasto/lock"])
@pytest.mark.parametrize("what", ["FIFO", "socket", "device", "folder"])
def test_no_file_of_a_batch_s_folder_is_waited_for(painting, impasto, name, what) -> None:
    put_in_place(painting / name, what)
    code, _, err = impasto("resume", "out")
    assert (code, err.count("\n")) == (2, 1), err


@pytest.mark.parametrize(
    "fields",
    [
        {"contents": "a.png"},
        {"contents": [5]},
        {"styles": [["a"]]},
        {"pairs": 5},
        {"preset": []},
        {"settings": []},
        {"settings": {"size": [[1]]}},
        {"engine": "gpu"},
        {"address": 5},
        {"folder": None},
        {"folder": "a\0b"},
        {"more": 1},
        {"settings": {"nonsense": 1}},
        {"preset": "nonsense"},
        {"pairs": "nowhere.csv"},
    ],
    ids=str,
)
def test_a_batch_of_wrong_types_is_one_line(painting, line_of, fields) -> None:
    changed(painting / ".impasto" / "batch.json", **fields)
    line_of("resume", "out")


def test_a_table_that_nobody_writes_any_more_is_not_waited_for(painting, line_of) -> None:
    os.mkfifo("jobs.csv")
    changed(painting / ".impasto" / "batch.json", pairs="jobs.csv", contents=[], styles=[])
    assert "jobs.csv cannot be read as a table: it is not a regular file: it is a FIFO" in line_of(
        "resume", "out"
    )


def test_a_table_from_a_pipe_is_read_and_one_without_end_is_not(
    painting, impasto, line_of, photo, style, tiny
) -> None:
    os.mkfifo("jobs.csv")
    table = f"content,style,out\n{photo},{style},piped.png\n"
    writer = threading.Thread(target=lambda: Path("jobs.csv").write_text(table))
    writer.start()
    assert impasto("batch", "--pairs", "jobs.csv", "-o", "piped", *tiny)[0] == 0
    writer.join()
    assert Path("piped/piped.png").exists()
    Path("zero.csv").symlink_to("/dev/zero")
    assert "zero.csv cannot be read as a table: it has more than" in line_of(
        "batch", "--pairs", "zero.csv", "-o", "x"
    )


def test_a_picture_that_is_a_fifo_does_not_stop_a_batch(impasto, photo, style, tiny) -> None:
    os.mkfifo("odd.png")
    code, _, err = impasto("batch", photo, "odd.png", "--style", style, "-o", "out", *tiny)
    assert (code, "odd.png cannot be opened: it is not a regular file: it is a FIFO" in err) == (
        3,
        True,
    )


@pytest.mark.parametrize(
    "arguments",
    ["resume {}", "batch {} --style {} -o out", "batch --pairs {} -o out", "batch a -o {}"],
)
def test_a_name_that_is_too_long_is_one_line(impasto, tiny, arguments) -> None:
    code, _, err = impasto(
        *arguments.format("4" * 5000, "4" * 5000).split(), *(tiny if "batch" in arguments else [])
    )
    assert code in (2, 3)
    assert "Traceback" not in err


def test_a_batch_s_cluster_that_nobody_typed_is_not_joined(painting, line_of) -> None:
    changed(painting / ".impasto" / "batch.json", engine="ray", address="evil:6379")
    line = line_of("resume", "out")
    assert "names the cluster evil:6379" in line
    assert "--trust` joins it" in line


# The key
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_key_is_made_once_and_is_nobody_else_s_to_read(home) -> None:
    record = signing.sign({"a": 1, "b": ["x"]})
    assert stat.S_IMODE((home / "key").stat().st_mode) == 0o600
    assert (len((home / "key").read_bytes()), os.listdir(home)) == (32, ["key"])
    assert signing.sign({"b": ["x"], "a": 1}) == record
    assert signing.is_signed(json.loads(json.dumps(record)))


@pytest.mark.parametrize(
    "change", [{"a": 2}, {"c": 1}, {"signature": ""}, {"signature": None}, {"signature": "\xe9"}]
)
def test_what_was_changed_is_not_signed(home, change) -> None:
    assert not signing.is_signed({**signing.sign({"a": 1}), **change})


def test_another_key_does_not_sign(home) -> None:
    record = signing.sign({"a": 1})
    (home / "key").write_bytes(bytes(32))
    assert not signing.is_signed(record)
    (home / "key").write_bytes(bytes(31))
    assert (
        signing.sign({"a": 1})["signature"],
        signing.is_signed({"a": 1, "signature": ""}),
    ) == ("", False)


def test_several_at_once_make_one_key(home) -> None:
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(signing.sign({})["signature"]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found)), os.listdir(home)) == (8, 1, ["key"])


def test_a_batch_s_checkpoint_before_the_newest_is_used(
    impasto, photo, style, tiny, monkeypatch
) -> None:
    monkeypatch.setattr("impasto.painting.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.painting.checkpoint.COST", 1e9)
    asked = ("batch", photo, "--style", style, "-o", "out", *tiny, "--steps", 6)
    measure, made = Objective._measure, []

    def stops(self, *more):
        made.append(self)
        if len(made) == 5:
            raise KeyboardInterrupt
        return measure(self, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "_measure", stops)
        assert impasto(*asked)[0] == 130
    (newest,), (before,) = Path("out").rglob(NAME), Path("out").rglob(BEFORE)
    assert before.parent == newest.parent
    newest.write_bytes(newest.read_bytes()[:-1])
    code, _, err = impasto("resume", "out")
    assert (code, "the newest checkpoint is damaged; resuming after step 3" in err) == (0, True)
    assert not list(Path("out").rglob("*.safetensors"))
    impasto("batch", photo, "--style", style, "-o", "whole", *tiny, "--steps", 6)
    assert Path("out/photo-style.png").read_bytes() == Path("whole/photo-style.png").read_bytes()


# Whatever stands in them
# ----------------------------------------------------------------------------------------------

ODD = [
    None,
    True,
    -1,
    0,
    7,
    0.5,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "x",
    "a\0b",
    "\ud800",
    "../x.png",
]
ODD += ["/dev/zero", "x" * 20_000, [], [[]], {}, {"a": {}}, ["x"] * 2000, "4" * 5000]
ROUNDS = pytest.mark.parametrize("rounds", [40, pytest.param(500, marks=pytest.mark.slow)])


def spoiled(value: object, draw: random.Random) -> object:
    """A JSON value that is another one at some place, or lacks it, or has more."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.8:
        copy = dict(value) if isinstance(value, dict) else list(value)
        place = draw.choice(list(copy)) if isinstance(copy, dict) else draw.randrange(len(copy))
        if draw.random() < 0.1:
            del copy[place]
        elif draw.random() < 0.1 and isinstance(copy, dict):
            copy[draw.choice(["", "more", "a\0b", "x" * 20_000])] = copy[place]
        else:
            copy[place] = spoiled(copy[place], draw)
        return copy
    return draw.choice(ODD)


def check_spoiled(impasto, record: dict, rounds: int, write, *commands: list) -> None:
    """Every spoiled record ends well, or with one line."""
    draw, refused = random.Random(rounds), 0
    for _ in range(rounds):
        bad = spoiled(record, draw)
        write(json.dumps(bad))
        for command in commands:
            code, _, err = impasto(*command)
            assert code in (0, 2), (bad, err)
            assert code == 0 or (err.count("\n"), err[:9]) == (1, "impasto: "), (bad, err)
            refused += code == 2
    assert refused > rounds / 4


@ROUNDS
def test_whatever_settings_say_it_is_one_line(
    impasto, painted, tmp_path, photo, style, rounds
) -> None:
    painted()
    record = read_settings(tmp_path / "out.png")
    stops = ["--backbone", "/nowhere.pth", "-o", "x.png"]
    check_spoiled(
        impasto,
        record,
        rounds,
        lambda text: carrying(tmp_path / "bad.png", text),
        ["show", "bad.png"],
        ["paint", photo, style, "--from", "bad.png", *stops],
        ["paint", "--from", "bad.png", *stops],
        ["texture", "--from", "bad.png", *stops],
    )


@ROUNDS
def test_whatever_a_job_says_it_is_one_line(begun, impasto, tmp_path, photo, rounds) -> None:
    job = begun("--trace", "run.jsonl", "--timelapse", "film.gif")
    record = {**json.loads(job.read_text()), "pictures": ["nowhere.png", str(photo)]}
    commands = [["resume", tmp_path / "kept"], ["resume", tmp_path / "kept", "--trust"]]

    def write(text: str) -> None:
        os.chdir(tmp_path)
        job.write_text(text)

    check_spoiled(impasto, record, rounds, write, *commands)


@ROUNDS
@pytest.mark.parametrize("name", ["manifest.jsonl", ".impasto/batch.json"])
def test_whatever_a_batch_s_folder_says_it_is_one_line(
    painting, impasto, tmp_path, name, rounds
) -> None:
    before = {path: path.read_bytes() for path in painting.rglob("*") if path.is_file()}
    record = json.loads(before[painting / name])
    if name.endswith("batch.json"):
        record["contents"] = ["nowhere.png"]

    def write(text: str) -> None:
        os.chdir(tmp_path)
        shutil.rmtree(painting)
        for path, data in before.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (painting / name).write_text(text + "\n")

    draw = random.Random(rounds)
    for _ in range(rounds):
        write(json.dumps(bad := spoiled(record, draw)))
        code, _, err = impasto("resume", painting)
        assert code in (0, 2, 3), (bad, err)
        assert code != 2 or (err.count("\n"), err[:9]) == (1, "impasto: "), (bad, err)
        assert {path.name for path in tmp_path.iterdir()} == {"out"}, bad


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


def test_a_painting_that_is_postscript_is_not_run(
    impasto, photo, style, tiny, tmp_path, monkeypatch
) -> None:
    (tmp_path / "bin").mkdir()
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'it ran'}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    assert impasto("batch", photo, "--style", style, "-o", "out", *tiny)[0] == 0
    painting = next(
        path for path in Path("out").glob("*.png") if not path.name.startswith("contact")
    )
    painting.write_bytes(POSTSCRIPT)
    manifest = Path("out/manifest.jsonl")
    record = {**json.loads(manifest.read_text()), "sha256": hashlib.sha256(POSTSCRIPT).hexdigest()}
    manifest.write_text(json.dumps(record) + "\n")
    assert impasto("resume", "out")[0] == 0
    assert not (tmp_path / "it ran").exists()


def test_a_checkpoint_folder_keeps_its_other_files(painted, tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    mine = [
        tmp_path / "kept" / name
        for name in (".tmp-notes", ".tmp", ".tmp-abcde", "notes.txt", ".tmpabcdefg")
    ]
    for path in mine:
        path.write_text("mine")
    piece = tmp_path / "kept" / ".tmpaB3dE9"
    piece.write_text("of a run that was killed")
    assert painted("--checkpoint", "kept")[0] == 0
    assert all(path.read_text() == "mine" for path in mine)
    assert not piece.exists()


@pytest.mark.parametrize("home", ["~nobody-of-that-name/x", "/proc/nowhere"])
def test_without_a_home_for_its_key_a_run_goes_on_unsigned(painted, monkeypatch, home) -> None:
    monkeypatch.setenv("IMPASTO_HOME", home)
    monkeypatch.setattr(
        os, "link", lambda *_: (_ for _ in ()).throw(OSError(95, "Operation not supported"))
    )
    code, _, err = painted("--checkpoint", "kept")
    assert code == 0
    assert ("will need --trust" in " ".join(err.split())) == home.startswith("/proc")
