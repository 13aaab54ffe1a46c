"""The studio over HTTP: orders, what comes of them, what is refused, what nobody may see."""

import errno
import http.client
import io
import itertools
import json
import os
import random
import re
import socket
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio.route_utils
import httpx
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from impasto import paint
from impasto.backbone.architecture import LAYERS
from impasto.config import Config
from impasto.figures.timelapse import films
from impasto.images.read import read_bytes, settings_in
from impasto.painting import run as runs
from impasto.presets import PRESETS
from impasto.web.guard import middleware
from impasto.web.jobs import job as jobs
from studios import MACHINE, running

LONG = 20_000  # steps that nobody waits for
UPLOAD = 400_000
QUEUE = 10
QUICK = {"size": 32, "steps": 3}
OF_A_PAINTING = ("picture", "before", "after", "timelapse", "curve")


pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture(scope="module")
def place(tiny_weights):
    with running(tiny_weights, waiting=QUEUE, upload=UPLOAD, pixels=300_000, steps=LONG) as place:
        yield place


@pytest.fixture
def ask(client, photo, style):
    """Asks for a painting of the two pictures, unless told otherwise."""

    def ask(
        settings: Any = QUICK,
        content: Any = "",
        styles: Any = "",
        pictures: Any = (),
        **fields: str,
    ):
        given = (
            [("photo.png", photo.read_bytes())] if content == "" else [content] if content else []
        )
        brushes = [("style.png", style.read_bytes())] if styles == "" else styles
        files = [("content", each) for each in given] + [("style", each) for each in brushes]
        files += [("pictures", each) for each in pictures]
        data = {
            "settings": settings if isinstance(settings, str) else json.dumps(settings),
            **fields,
        }
        return client.post("/api/paintings", files=files, data=data)

    return ask


@pytest.fixture
def painted(ask, client):
    """The status of a painting that has ended, asked for as `ask` does."""
    return lambda *args, **more: over(client, taken(ask(*args, **more)))


def taken(response: httpx.Response) -> str:
    assert response.status_code == 202, response.text
    return response.json()["id"]


def over(
    client: httpx.Client,
    id: str,
    states: tuple[str, ...] = ("done", "stopped", "failed", "cancelled"),
) -> Any:
    def now() -> Any:
        status = client.get(f"/api/paintings/{id}").json()
        return status if status["state"] in states else None

    return until(now)


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return found


def refusal(response: httpx.Response, code: int = 422) -> str:
    """The line that a refusal says."""
    assert response.status_code == code, response.text[:500]
    detail = response.json()["detail"]
    assert isinstance(detail, str)
    assert len(detail.splitlines()) == 1
    assert "Traceback" not in detail
    assert "/tmp" not in detail
    return detail


def test_a_name_in_place_of_a_file_is_told(client):
    pictures = {"content": "photo.jpg", "style": "painting.jpg"}
    text = refusal(client.post("/api/paintings", data=pictures))
    assert text == (
        "content: a text, and the file itself is needed, as curl -F content=@FILE sends it"
    )


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Names and data of server-sent events."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            yield name, json.loads(line.removeprefix("data:"))


def png(width: int, height: int, mode: str = "L", shade: int = 128) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), shade).save(out, "PNG")
    return out.getvalue()


def halved() -> bytes:
    """A mask: its left half is white."""
    out, mask = io.BytesIO(), Image.new("L", (48, 40))
    mask.paste(255, (0, 0, 24, 40))
    mask.save(out, "PNG")
    return out.getvalue()


def multipart(*parts: tuple[str, bytes]) -> dict[str, Any]:
    """A request's body and headers; parts: content-disposition without "form-data", and the
    bytes."""
    body = b"".join(
        f"--b\r\ncontent-disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return {
        "content": body + b"--b--\r\n",
        "headers": {"content-type": "multipart/form-data; boundary=b"},
    }


@contextmanager
def painting(ask, client) -> Iterator[str]:
    """A painting that goes on for as long as it is needed."""
    id = taken(ask({"size": 32, "steps": LONG, "levels": 1}))
    until(lambda: client.get(f"/api/paintings/{id}").json()["step"])
    yield id
    client.delete(f"/api/paintings/{id}")


@pytest.fixture
def busy(ask, client):
    with painting(ask, client) as id:
        yield id


# Orders
# --------------------------------------------------------------------------------------------------


def test_a_request_is_accepted_and_painted(ask, client) -> None:
    answer = ask()
    assert answer.json()["state"] in ("waiting", "painting", "done")
    status = over(client, taken(answer))
    assert (status["state"], status["step"], status["fraction"], status["error"]) == (
        "done",
        3,
        1.0,
        "",
    )
    assert {"grain", "content relu4_2"} < status["terms"].keys()


def test_the_answer_says_where_the_painting_will_be(ask, client) -> None:
    answer = ask()
    assert answer.headers["location"] == f"/api/paintings/{taken(answer)}"
    assert over(client, client.get(answer.headers["location"]).json()["id"])["state"] == "done"


def test_a_preset_and_a_look_by_name(place, ask, client) -> None:
    quick = {**QUICK, "backbone": place.studio.networks[0]}
    id = taken(ask({**quick, "optimizer": "lbfgs"}, preset="layered", look="bold"))
    config = place.studio.jobs[id].config
    assert (config.look, config.gram_divisor, config.learning_rate) == ("bold", "sqrt-chw", None)
    assert (config.size, config.backbone) == (32, quick["backbone"])
    presets = {each["name"]: each for each in client.get("/api/presets").json()}
    assert set(presets) == set(PRESETS)
    assert presets["layered"]["settings"]["gram_divisor"] == "sqrt-chw"
    assert "style_layers" in presets["layered"]["sources"]
    over(client, id)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"presett": "layered"}, "no field 'presett': did you mean preset?"),
        ({"preset": "layerd"}, "no preset 'layerd': did you mean layered?"),
        ({"size": "32"}, "'size' is a setting: send it in the field settings, a JSON object"),
        ({"look": "bald"}, "look='bald': it takes subtle or painted or bold"),
    ],
)
def test_an_unknown_field_or_name_is_refused(ask, fields, line) -> None:
    assert refusal(ask(**fields)) == line


def test_the_settings_are_described_and_the_documentation_loads_nothing(client) -> None:
    schema = client.get("/api/openapi.json").json()
    settings = schema["components"]["schemas"]["Settings"]
    assert set(settings["properties"]) == set(Config.model_fields)
    assert settings["properties"]["size"]["default"] == 512
    assert "--" not in json.dumps(settings)
    page = client.get("/docs").text
    assert all(f"<code>{name}</code>" in page for name in Config.model_fields)
    assert all(path in page for path in schema["paths"])
    assert not re.search(r"<script|src=|https?://(?!localhost)", page)


def test_the_picture_is_the_library_s_to_the_byte(
    painted, client, photo, style, tiny_weights, tmp_path
) -> None:
    settings = {**QUICK, "color": "luminance", "style_weight": 10, "seed": 3, "start": "noise"}
    got = client.get(f"/api/paintings/{painted(settings)['id']}/picture").content
    config = Config(backbone=str(tiny_weights), **settings)
    made = paint(
        read_bytes(photo.read_bytes(), "photo.png"),
        read_bytes(style.read_bytes(), "style.png"),
        config,
        machine=MACHINE,
    )
    assert got == made.save(tmp_path / "same.png").read_bytes()


@pytest.mark.parametrize(("kind", "suffix"), [("png", "png"), ("jpeg", "jpg"), ("webp", "webp")])
def test_the_picture_carries_its_settings_in_every_format(painted, client, kind, suffix) -> None:
    answer = client.get(f"/api/paintings/{painted()['id']}/picture", params={"format": kind})
    assert answer.headers["content-type"] == f"image/{kind}"
    assert answer.headers["content-disposition"] == f'attachment; filename="photo-style.{suffix}"'
    found = settings_in(answer.content, "it")
    assert (found["config"]["size"], found["steps_done"]) == (32, 3)
    assert [each["name"] for each in found["inputs"]] == ["photo.png", "style.png"]


def test_masks_and_other_pictures_come_by_name(painted, client, style) -> None:
    pictures = [("left.png", halved()), ("other.png", style.read_bytes())]
    status = painted(
        {**QUICK, "mask": ["left.png=other.png"], "palette": "other.png"}, pictures=pictures
    )
    assert status["state"] == "done"
    assert any("left" in name for name in status["terms"])


def test_several_styles_are_blended(painted, style, photo) -> None:
    styles = [(path.name, path.read_bytes()) for path in (style, photo)]
    assert painted({**QUICK, "blend": [1, 2]}, styles=styles)["state"] == "done"


def test_a_painting_can_be_painted_on(painted, client) -> None:
    first = painted()["id"]
    second = painted({"size": 32, "steps": 2}, base=first)
    found = settings_in(client.get(f"/api/paintings/{second['id']}/picture").content, "it")
    assert [each["role"] for each in found["inputs"]] == ["content", "style", "start"]


def test_the_live_picture_and_both_sides_are_jpegs(painted, client) -> None:
    id = painted()["id"]
    for what, size in (("frame", (32, 27)), ("before", (32, 27)), ("after", (32, 27))):
        answer = client.get(f"/api/paintings/{id}/{what}")
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert (image.format, image.size) == ("JPEG", size)


@pytest.mark.parametrize("suffix", films())
def test_a_film_is_made_where_one_is_asked_for(painted, client, suffix) -> None:
    answer = client.get(f"/api/paintings/{painted(timelapse=suffix)['id']}/timelapse")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="photo-style{suffix}"'
    assert len(answer.content) > 400  # three frames of 32 pixels


def test_the_loss_curves_are_a_picture(painted, client) -> None:
    answer = client.get(f"/api/paintings/{painted({'size': 32, 'steps': 1})['id']}/curve")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "PNG"
        assert image.width > 500


def test_a_picture_too_wide_for_a_format_is_told(painted, client) -> None:
    status = painted(
        {"size": "original", "steps": 1, "levels": 1, "style_shape": "content"},
        content=("wide.png", png(16_400, 16)),
    )
    refusal(client.get(f"/api/paintings/{status['id']}/picture?format=webp"))


def test_two_may_ask_for_the_same_format_at_once(painted, client, monkeypatch) -> None:
    id, save, began, go_on = painted()["id"], Image.Image.save, threading.Event(), threading.Event()

    def slow(image: Image.Image, *args: Any, **more: Any) -> None:
        if not began.is_set():
            began.set()
            go_on.wait(1)
        save(image, *args, **more)

    monkeypatch.setattr(Image.Image, "save", slow)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(client.get, f"/api/paintings/{id}/picture?format=webp")
        assert began.wait(10)
        second = client.get(f"/api/paintings/{id}/picture?format=webp")
        go_on.set()
        assert (first.result().status_code, second.status_code) == (200, 200)


# Following, pausing, ending
# -------------------------------------------------------------------------------------------


def test_events_tell_the_progress_and_end_with_the_state(ask, client) -> None:
    with client.stream(
        "GET", f"/api/paintings/{taken(ask({'size': 48, 'steps': 25}))}/events"
    ) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        found = list(events(stream))
    assert {name for name, _ in found[:-1]} == {"progress"}
    assert (found[-1][0], found[-1][1]["state"]) == ("done", "done")
    steps = [status["step"] for _, status in found]
    assert steps == sorted(steps)
    assert steps[-1] == 25


def test_two_follow_a_painting_at_once(busy, client) -> None:
    where = f"/api/paintings/{busy}/events"
    with client.stream("GET", where) as one, client.stream("GET", where) as two:
        readers = [events(one), events(two)]
        assert all(next(reader)[0] == "progress" for reader in readers * 2)
        client.post(f"/api/paintings/{busy}/stop")
        assert [list(reader)[-1][0] for reader in readers] == ["stopped", "stopped"]


def test_a_closed_event_stream_does_not_end_the_painting(busy, client) -> None:
    with client.stream("GET", f"/api/paintings/{busy}/events") as stream:
        step = next(events(stream))[1]["step"]
    until(lambda: client.get(f"/api/paintings/{busy}").json()["step"] > step + 20)


def test_following_one_that_has_ended_says_so_at_once(painted, client) -> None:
    with client.stream("GET", f"/api/paintings/{painted()['id']}/events") as stream:
        assert [name for name, _ in events(stream)] == ["done"]


def test_following_one_that_is_removed_ends(busy, client) -> None:
    with client.stream("GET", f"/api/paintings/{busy}/events") as stream:
        reader = events(stream)
        next(reader)
        assert client.delete(f"/api/paintings/{busy}").status_code == 204
        assert list(reader)[-1][0] == "cancelled"


def test_pause_resume_and_stop(busy, client) -> None:
    client.post(f"/api/paintings/{busy}/pause")
    step = over(client, busy, ("paused",))["step"]
    assert client.post(f"/api/paintings/{busy}/resume").status_code == 200
    until(lambda: client.get(f"/api/paintings/{busy}").json()["step"] > step)
    client.post(f"/api/paintings/{busy}/stop")
    status = over(client, busy, ("stopped",))
    found = settings_in(client.get(f"/api/paintings/{busy}/picture").content, "it")
    assert found["steps_done"] == status["step"] < LONG


def test_others_are_painted_while_one_is_paused(busy, client, painted) -> None:
    client.post(f"/api/paintings/{busy}/pause")
    over(client, busy, ("paused",))
    assert painted()["state"] == "done"


def test_paused_before_its_first_step_it_is_not_lost(ask, client, monkeypatch) -> None:
    began, go_on, prepare_problem = threading.Event(), threading.Event(), runs.prepare_problem

    def slow(*args: Any) -> Any:
        began.set()
        go_on.wait(10)
        return prepare_problem(*args)

    monkeypatch.setattr(runs, "prepare_problem", slow)
    id = taken(ask())
    assert began.wait(10)
    client.post(f"/api/paintings/{id}/pause")
    go_on.set()
    assert over(client, id, ("paused", "cancelled"))["state"] == "paused"


def test_a_waiting_one_knows_its_place_and_has_no_picture_yet(busy, ask, client) -> None:
    waiting = [taken(ask()) for _ in range(2)]
    places = [client.get(f"/api/paintings/{id}").json() for id in waiting]
    assert [(each["state"], each["before"]) for each in places] == [("waiting", 1), ("waiting", 2)]
    refusal(client.get(f"/api/paintings/{waiting[0]}/frame"), 409)


@pytest.mark.parametrize("what", OF_A_PAINTING)
def test_results_are_not_there_before_the_painting_ends(busy, client, what) -> None:
    assert "painting" in refusal(client.get(f"/api/paintings/{busy}/{what}"), 409)


@pytest.mark.parametrize("what", OF_A_PAINTING)
def test_results_are_not_there_of_a_cancelled_painting(place, busy, ask, client, what) -> None:
    id = taken(ask())
    client.post(f"/api/paintings/{id}/stop")
    assert "cancelled" in refusal(client.get(f"/api/paintings/{id}/{what}"), 409)


def test_no_film_where_none_was_asked_for(painted, client) -> None:
    refusal(client.get(f"/api/paintings/{painted()['id']}/timelapse"), 404)


@pytest.mark.parametrize("what", ["", "/events", "/frame", *(f"/{each}" for each in OF_A_PAINTING)])
def test_an_unknown_id_is_not_found(client, what) -> None:
    refusal(client.get(f"/api/paintings/nobody{what}"), 404)


def test_nothing_can_be_done_to_an_unknown_id(client) -> None:
    for act in ("pause", "resume", "stop"):
        refusal(client.post(f"/api/paintings/nobody/{act}"), 404)
    refusal(client.delete("/api/paintings/nobody"), 404)


def test_what_is_removed_is_gone(place, painted, client) -> None:
    id = painted()["id"]
    folder = place.studio.jobs[id].folder
    assert client.delete(f"/api/paintings/{id}").status_code == 204
    refusal(client.get(f"/api/paintings/{id}"), 404)
    assert not folder.exists()


def test_nothing_lists_paintings(painted, client) -> None:
    id = painted()["id"]
    for path in ("/api/paintings", "/api/paintings/", "/api", "/metrics", "/", "/config"):
        assert id not in client.get(path).text


# What is refused
# --------------------------------------------------------------------------------------------------

BROKEN = [
    ({"content": ("photo.png", png(48, 40)[:60])}, "photo.png"),
    ({"content": ("photo.png", b"")}, "photo.png is empty"),
    ({"content": ("notes.txt", b"hello " * 50)}, "notes.txt is not a picture"),
    ({"content": ("tiny.png", png(8, 8))}, "at least 16 x 16"),
    ({"content": ("thin.png", png(400, 16))}, "at least 16 x 16 are needed"),
    ({"content": ("huge.png", png(2200, 2200))}, "more than 4,800,000"),
    ({"styles": [("style.png", b"junk")]}, "style.png"),
    ({"settings": "junk"}, "give a JSON object"),
    ({"settings": "[]"}, "give a JSON object"),
    ({"settings": "null"}, "give a JSON object"),
    ({"settings": "[" * 100_000}, "give a JSON object"),
    ({"settings": '{"a":' * 10_000}, "give a JSON object"),
    ({"settings": '{"size":' + "[" * 500 + "]" * 500 + "}"}, "size="),
    ({"settings": '{"strength": NaN}'}, "strength=nan"),
    ({"settings": '{"strength": 1e400}'}, "strength=inf"),
    ({"settings": '{"seed": ' + "9" * 5000 + "}"}, "give a JSON object"),
    ({"settings": {"sise": 32}}, "did you mean size?"),
    ({"settings": {"size": "big"}}, "size='big'"),
    ({"settings": {"size": 3}}, "from 16 to"),
    ({"settings": {"clamp": 7}}, "clamp=7"),
    ({"settings": {"steps": 0}}, "steps=0"),
    ({"settings": {"style_layers": "relu9_1"}}, "relu9_1"),
    ({"settings": {"steps": LONG + 1}}, "20,000"),
    ({"settings": {"size": 1024}}, "300,000"),
    *(({"settings": {name: value}}, f"{name} is the server's choice") for name, value in MACHINE),
    ({"settings": {"backbone": "vgg19"}}, "no network 'vgg19' on this server"),
    ({"settings": {"mask": ["left.png=other.png"]}}, "no picture of that name came"),
    ({"settings": {"protect": "/etc/passwd"}}, "no picture of that name came"),
    ({"settings": {"start": {"/etc/passwd": 1}}}, "no picture of that name came"),
    (
        {"settings": {"mask": ["alpha=x.png"]}, "pictures": [("x.png", png(20, 20))]},
        "no transparency",
    ),
    ({"settings": {"blend": [1, 2]}}, "2 weights for 1 styles"),
    ({"pictures": [("unused.png", b"junk")]}, "unused.png"),
    ({"base": "nobody"}, "not here any more"),
]


@pytest.mark.parametrize(("bad", "line"), BROKEN, ids=[line for _, line in BROKEN])
def test_a_bad_request_is_answered_with_one_line(place, ask, tiny_weights, bad, line) -> None:
    if "settings" in bad and isinstance(bad["settings"], dict):
        bad = {**bad, "settings": {**QUICK, **bad["settings"]}}
    answer = ask(**bad)
    if "no network" in line:  # it names the networks, and here one is a path
        answer = httpx.Response(
            answer.status_code, content=answer.text.replace(str(tiny_weights), "tiny")
        )
    assert line in refusal(answer)
    assert {path.name for path in place.studio.folder.iterdir()} == {"uploads", "lock"}


UNMET = [
    ("no content", {"content": None}),
    ("no style", {"styles": []}),
    ("unknown film", {"timelapse": ".avi"}),
    ("style is text", {"styles": [(None, "style.png")]}),
]


@pytest.mark.parametrize("bad", [bad for _, bad in UNMET], ids=[name for name, _ in UNMET])
def test_an_incomplete_request_is_answered_with_one_line(ask, bad) -> None:
    refusal(ask(**bad))


def test_an_unknown_format_is_told_in_one_line(painted, client) -> None:
    refusal(client.get(f"/api/paintings/{painted()['id']}/picture?format=bmp"))


@pytest.mark.parametrize("name", ["start", "content_layers", "style_layers"])
@pytest.mark.parametrize("value", [[[1]], [{}]])
def test_lists_in_lists_are_told(ask, name, value) -> None:
    refusal(ask({**QUICK, name: value}))


def test_half_a_character_is_told(ask) -> None:
    refusal(ask('{"mask": ["\\ud800"]}'))


@pytest.mark.parametrize("settings", [{"size": "x" * 100_000}, {"x" * 100_000: 1}])
def test_a_long_value_makes_no_long_line(ask, settings) -> None:
    assert len(refusal(ask(settings))) < 2000


def test_a_picture_s_name_with_line_breaks_makes_one_line(client, photo, style) -> None:
    body = multipart(
        ('name="content"; filename="a.png"', photo.read_bytes()),
        ('name="style"; filename="a.png"', style.read_bytes()),
        ('name="pictures"; filename="one\u2028two.png"', b"junk"),
    )
    refusal(client.post("/api/paintings", **body))


def test_very_many_masks_are_refused(busy, ask) -> None:
    pictures = [("m.png", halved()), ("s.png", png(48, 40))]
    assert "masks" in refusal(ask({**QUICK, "mask": ["m.png=s.png"] * 20}, pictures=pictures))


def test_very_many_pixels_in_many_pictures_are_refused(busy, ask) -> None:
    refusal(ask(styles=[(f"{k}.png", png(1000, 1000, "1", 1)) for k in range(15)]))


@pytest.mark.parametrize("path", ["/api/paintings", "/gradio_api/upload", "/gradio_api/queue/join"])
@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_request_is_refused(client, path, chunked) -> None:
    whole = multipart(('name="content"; filename="a.png"', bytes(2 * UPLOAD)))
    if path.endswith("join"):
        whole = {
            "content": b'["' + b"x" * 2 * UPLOAD + b'"]',
            "headers": {"content-type": "application/json"},
        }
    body = whole.pop("content")
    pieces = (body[k : k + 50_000] for k in range(0, len(body), 50_000))
    assert "more than 0.4 MB" in refusal(
        client.post(path, content=pieces if chunked else body, **whole), 413
    )


def test_bodies_other_than_forms_must_be_small(client, monkeypatch) -> None:
    monkeypatch.setattr(middleware, "SMALL", 10_000)
    brackets = b'{"data": [' + b"[]," * 5_000 + b"[]]}"
    for path in (
        "queue/join",
        "call/paint",
        "component_server",
        "component_server/",
        "upload",
        "cancel",
    ):
        kinds = [("content-type", "application/json")]
        for more in ([], [("content-type", "multipart/form-data; boundary=b")]):
            answer = client.post(f"/gradio_api/{path}", content=brackets, headers=kinds + more)
            assert "more than 0.01 MB" in refusal(answer, 413)
    whole = multipart(('name="files"; filename="a.png"', bytes(20_000)))
    assert client.post("/gradio_api/upload", **whole).status_code == 200
    refusal(client.post("/gradio_api/queue/join", **whole), 413)


def files_of(place) -> set[Path]:
    return {path for path in place.studio.folder.rglob("*") if path.is_file()}


def many(count: int) -> bytes:
    """A form with many files, without its end."""
    parts = (
        f'--b\r\ncontent-disposition: form-data; name="files"; filename="{k}.png"\r\n\r\nx'
        for k in range(count)
    )
    return "\r\n".join(parts).encode()


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/api/paintings"])
def test_a_form_has_few_files(client, place, path) -> None:
    before = files_of(place)
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post(path, content=many(25) + b"\r\n--b--\r\n", headers=headers)
    assert (answer.status_code, "Too many files" in answer.text) == (400, True)
    assert files_of(place) == before


def test_an_upload_that_breaks_off_leaves_no_file(client, place) -> None:
    before = files_of(place)
    head = "POST /gradio_api/upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000\r\n"
    head += "content-type: multipart/form-data; boundary=b\r\n\r\n"
    with socket.create_connection(
        ("127.0.0.1", int(place.url.rpartition(":")[2])), timeout=5
    ) as line:
        line.sendall(head.encode() + many(5))
        until(lambda: len(files_of(place) - before) == 5)
    until(lambda: files_of(place) == before)
    headers = {"content-type": "multipart/form-data; boundary=b"}
    # without its end
    assert client.post("/gradio_api/upload", content=many(1), headers=headers).json() == []
    assert files_of(place) == before


NAMES = [
    "../../etc/passwd.png",
    "..\\..\\x.png",
    'a"b.png',
    "a%0Ab\t.png",
    "x" * 3000 + ".png",
    "🎨.png",
    "..",
    ".png",
    "a;b=c.png",
    "%2e%2e%2f.png",
    "a\u2028b.png",
    "<script>.png",
    " ",
    "con.png",
]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name[:20]) for name in NAMES])
def test_a_file_name_is_never_more_than_a_name(client, photo, style, name) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    body = multipart(
        (f'name="content"; filename="{quoted}"', photo.read_bytes()),
        ('name="style"; filename="s.png"', style.read_bytes()),
        ('name="settings"', json.dumps(QUICK).encode()),
    )
    id = taken(client.post("/api/paintings", **body))
    assert over(client, id)["state"] == "done"
    answer = client.get(f"/api/paintings/{id}/picture?format=jpeg")
    said = unquote(
        re.search(r"filename(?:\*=utf-8''|=)\"?([^\"]+)", answer.headers["content-disposition"])[1]
    )
    assert said.endswith("-s.jpg")
    assert not set(said) & set("/\\\n\r\0")
    assert len(said) < 250
    assert "/" not in settings_in(answer.content, "it")["inputs"][0]["name"]


def test_a_file_name_of_any_length_is_no_fault_of_the_server(client, photo) -> None:
    refusal(
        client.post(
            "/api/paintings", **multipart((f'name="content"; filename="{"x" * 9000}"', b""))
        ),
        400,
    )


def anything(name: str, dice: random.Random) -> Any:
    """A value for a setting: often one that its schema allows, and not always."""
    schema = Config.model_json_schema()["properties"][name]
    part = dice.choice(schema.get("anyOf", [schema]))
    if dice.random() < 0.2:
        return dice.choice(
            [
                None,
                True,
                -1,
                0,
                1e308,
                "",
                "x",
                "a=b",
                "=",
                [],
                {},
                ["a"],
                [None],
                {"": 1},
                {"a": {}},
            ]
        )
    if name.endswith("_layers"):
        return {layer: dice.choice([0, 1, 1e12]) for layer in dice.sample(LAYERS, 2)}
    if name == "size":
        return dice.choice([16, 17, 32, 48])
    if name == "steps":
        return dice.choice([1, 2, 5])
    if "enum" in part or "const" in part:
        return dice.choice(part.get("enum", [part.get("const")]))
    if part.get("type") in ("number", "integer"):
        low, high = part.get("minimum", part.get("exclusiveMinimum", 0)), part.get("maximum", 1000)
        value = dice.choice([low, high, low + (high - low) * 10 ** dice.uniform(-9, 0)])
        return int(value) if part["type"] == "integer" else value
    return (
        dice.choice([True, False])
        if part.get("type") == "boolean"
        else dice.choice(["noise", "1", "m.png", [1]])
    )


@pytest.mark.slow
def test_settings_of_any_kind_are_painted_or_refused(ask, client) -> None:
    dice, outcomes = random.Random(7), []
    names = sorted(Config.model_fields.keys() - {"backbone"})
    for _ in range(50):
        settings = {
            **QUICK,
            **{name: anything(name, dice) for name in dice.sample(names, dice.randint(1, 4))},
        }
        answer = ask(settings, pictures=[("m.png", halved())])
        if answer.status_code != 202:
            refusal(answer)
            continue
        status = over(client, answer.json()["id"])
        assert status["state"] == "done" or "something went wrong" not in status["error"], settings
        outcomes.append(status["state"])
    assert outcomes.count("done") > 10


# Who may come in
# --------------------------------------------------------------------------------------------------

EVERYWHERE = (
    "/",
    "/healthz",
    "/metrics",
    "/api/openapi.json",
    "/api/paintings/nobody",
    "/nothing",
    "/config",
)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
def test_another_name_for_this_machine_is_refused(client, host) -> None:
    for path in EVERYWHERE:
        assert "answers to localhost" in refusal(client.get(path, headers={"host": host}), 400)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "127.0.0.1:7860", "[::1]", "[::1]:7860"]
)
def test_this_machine_s_own_names_are_answered(client, host) -> None:
    assert client.get("/healthz", headers={"host": host}).text == "ok"


def test_a_page_of_another_site_cannot_start_a_painting(client) -> None:
    refusal(client.post("/api/paintings", headers={"sec-fetch-site": "cross-site"}), 403)
    refusal(client.post("/gradio_api/upload", headers={"sec-fetch-site": "cross-site"}), 403)
    refusal(client.delete("/api/paintings/nobody", headers={"sec-fetch-site": "cross-site"}), 403)


def test_a_page_of_another_site_cannot_start_a_painting_judged_by_origin_alone(
    client,
) -> None:
    refusal(client.post("/gradio_api/upload", headers={"origin": "http://evil.example"}), 403)


def test_a_page_of_another_local_server_cannot_start_a_painting(client) -> None:
    elsewhere = {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}
    assert "access-control-allow-origin" not in client.get("/config", headers=elsewhere).headers
    refusal(client.post("/gradio_api/upload", headers=elsewhere), 403)


def test_the_page_s_own_requests_are_let_in(place, client) -> None:
    own = {"origin": place.url, "sec-fetch-site": "same-origin"}
    assert (
        client.post(
            "/gradio_api/upload", headers=own, files={"files": ("a.png", png(20, 20))}
        ).status_code
        == 200
    )


def guarded(response: httpx.Response) -> bool:
    found = response.headers
    return (
        found.get("x-content-type-options") == "nosniff"
        and found.get("referrer-policy") == "same-origin"
        and "default-src 'self'" in found.get("content-security-policy", "")
    )


def test_every_answer_has_the_security_headers(client, painted) -> None:
    id = painted()["id"]
    for path in (
        *EVERYWHERE,
        f"/api/paintings/{id}/picture",
        f"/api/paintings/{id}/events",
        "/gradio_api/info",
    ):
        assert guarded(client.get(path)), path


def test_every_refusal_has_the_security_headers(client) -> None:
    assert guarded(client.get("/", headers={"host": "evil.example"}))
    assert guarded(client.post("/", headers={"sec-fetch-site": "cross-site"}))
    assert guarded(client.post("/api/paintings", content=bytes(2 * UPLOAD)))


def raw(place, path: str) -> tuple[int, bytes]:
    """A GET of a path that no client has tidied."""
    line = http.client.HTTPConnection(place.url.removeprefix("http://"))
    line.request("GET", path)
    answer = line.getresponse()
    found = answer.status, answer.read()
    line.close()
    return found


def test_the_file_route_serves_nothing_but_uploads(
    place, painted, tiny_weights, monkeypatch
) -> None:
    job = place.studio.jobs[painted()["id"]]
    up = place.studio.uploads
    secrets = [
        "/etc/passwd",
        "file:///etc/passwd",
        str(tiny_weights),
        str(job.file("painting.png")),
        str(up),
        "pyproject.toml",
        f"{up}/../{job.folder.name}/painting.png",
        f"{up}/%2e%2e/{job.folder.name}/painting.png",
        f"{up}/..%2f{job.folder.name}%2fpainting.png",
        "../../../../../../etc/passwd",
    ]
    for path, route in itertools.product(
        secrets, ("/gradio_api/file=", "/gradio_api/file/", "/static/", "/assets/")
    ):
        assert raw(place, route + path)[0] in (403, 404), path


def test_an_upload_is_served_as_a_download(client) -> None:
    where = client.post("/gradio_api/upload", files={"files": ("../a.html", b"<script>")}).json()[0]
    answer = client.get(f"/gradio_api/file={where}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "/../" not in where


def joined(
    client: httpx.Client, name: str, data: list[Any], session: str, **more: Any
) -> dict[str, Any]:
    """What an event of the page answers, as a page asks for it."""
    number = next(
        each["id"]
        for each in client.get("/config").json()["dependencies"]
        if each["api_name"] == name
    )
    body = {"data": data, "fn_index": number, "session_hash": session, **more}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        return next(data for _, data in events(stream) if data["msg"] == "process_completed")


def public(client: httpx.Client) -> list[str]:
    return [
        name.removeprefix("/") for name in client.get("/gradio_api/info").json()["named_endpoints"]
    ]


def file_at(path: object) -> dict[str, Any]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_no_file_of_the_server_is_read_as_if_it_were_uploaded(client, photo) -> None:
    answer = joined(client, public(client)[0], [file_at(photo)] * 2 + [QUICK], "reader")
    assert not answer["success"]


def test_no_file_of_the_server_can_be_fetched(client, tmp_path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("xyzzy")
    joined(client, public(client)[0], [file_at(secret)] * 2 + [{}], "thief")
    link = client.get("/gradio_api/deep_link", params={"session_hash": "thief"}).json()
    copies = re.findall(
        r'"path":"([^"]+secret.txt)"', client.get("/config", params={"deep_link": link}).text
    )
    assert not any(client.get(f"/gradio_api/file={path}").text == "xyzzy" for path in copies)


def test_the_file_route_fetches_nothing_from_elsewhere(client, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("gradio.route_utils.safehttpx.async_validate_url", asked.append)
    client.get("/gradio_api/file=http://elsewhere.example/page.html")
    assert asked == []


def test_a_picture_is_not_fetched_from_elsewhere(client, monkeypatch) -> None:
    asked = []

    async def look(url: str, **_: Any) -> str:
        asked.append(url)
        raise ValueError

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", look)
    joined(
        client, public(client)[0], [file_at("http://elsewhere.example/a.png")] * 2 + [QUICK], "far"
    )
    assert asked == []


@pytest.mark.parametrize("act", ["choose", "delete"])
@pytest.mark.parametrize("cookie", ["", "program 127.0.0.1", "A" * 22])
def test_a_page_cannot_pass_for_another_owner(painted, client, place, act, cookie) -> None:
    id = painted()["id"]
    headers = {"cookie": f"impasto_visitor={cookie}"}
    with httpx.Client(base_url=place.url, headers=headers, timeout=20) as page:
        data = {"act": act, "id": id}
        answer = joined(page, "act", [None], "program 127.0.0.1", event_data=data, trigger_id=None)
        assert "not kept any more" in json.dumps(answer)
        assert id not in json.dumps(answer)
        with zipfile.ZipFile(io.BytesIO(page.get("/api/paintings.zip").content)) as archive:
            assert archive.namelist() == []
    assert client.get(f"/api/paintings/{id}").status_code == 200


def test_a_visitor_s_cookie_is_set_once_and_no_script_reads_it(place) -> None:
    with httpx.Client(base_url=place.url) as page:
        given = page.get("/").headers["set-cookie"]
        assert re.match(r"impasto_visitor=[\w-]{22}; ", given)
        assert "HttpOnly; SameSite=Lax" in given
        assert "set-cookie" not in page.get("/").headers
        assert "set-cookie" not in page.get("/healthz").headers
    forged = httpx.get(place.url, headers={"cookie": "impasto_visitor=short"})
    assert "set-cookie" in forged.headers


@pytest.mark.parametrize(
    "index", ["1000000", "+1000000", " 1000000", "1_000_000", "-1", "\u0661", "4"]
)
def test_a_drawing_cannot_have_a_million_layers(client, index) -> None:
    number = next(
        each["id"]
        for each in client.get("/config").json()["components"]
        if each["type"] == "imageeditor"
    )
    data = {"type": "layer", "index": index, "id": "x", "session_hash": "x", "component_id": number}
    answer = client.post(
        "/gradio_api/component_server",
        data={**data, "fn_name": "accept_blobs"},
        files={"file": ("b.png", b"x")},
    )
    assert "at most 4 layers" in refusal(answer)


def test_a_file_that_no_path_can_name_is_not_found(place) -> None:
    assert raw(place, "/gradio_api/file=%00")[0] in (403, 404)


@pytest.mark.parametrize("path", ["queue/join", "component_server"])
def test_an_unknown_number_is_no_fault_of_the_server(place, path) -> None:
    body = {
        "data": [],
        "fn_index": 999,
        "session_hash": "x",
        "component_id": 999,
        "fn_name": "accept_blobs",
    }
    assert httpx.post(f"{place.url}/gradio_api/{path}", json=body).status_code < 500


@pytest.mark.parametrize("path", ["call/nothing", "run/nothing"])
def test_an_unknown_event_is_no_fault_of_the_server(place, path) -> None:
    body = {"data": [], "session_hash": "x"}
    assert httpx.post(f"{place.url}/gradio_api/{path}", json=body).status_code < 500


# For programs
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def program(place, tmp_path):
    found = Client(place.url, verbose=False, download_files=tmp_path)
    yield found
    found.close()


def test_one_endpoint_is_public(client) -> None:
    assert len(public(client)) == 1


def test_the_public_endpoint_is_called_paint(client) -> None:
    assert public(client) == ["paint"]


def test_a_gradio_client_can_say_that_it_is_there(program, client) -> None:
    with client.stream("GET", f"/gradio_api/heartbeat/{program.session_hash}") as stream:
        assert stream.status_code == 200


def test_a_gradio_client_paints(program, client, photo, style) -> None:
    name = f"/{public(client)[0]}"
    path = program.predict(handle_file(photo), handle_file(style), QUICK, api_name=name)
    found = settings_in(Path(path).read_bytes(), "it")
    assert (found["config"]["size"], found["inputs"][0]["name"]) == (32, "photo.png")


def told(program: Client, client: httpx.Client, content: Any, style: Any, settings: Any) -> str:
    with pytest.raises(AppError) as error:
        program.predict(content, style, settings, api_name=f"/{public(client)[0]}")
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_a_gradio_client_is_told_in_one_line(program, client, photo, style, tmp_path) -> None:
    (tmp_path / "notes.png").write_text("hello")
    one, two, notes = (handle_file(path) for path in (photo, style, tmp_path / "notes.png"))
    assert "--size is 3" in told(program, client, one, two, {"size": 3})
    assert "give a content and a style picture" in told(program, client, one, None, {})
    assert "notes.png is not a picture" in told(program, client, notes, two, {})


def test_a_gradio_client_s_settings_are_an_object(program, client, photo, style) -> None:
    assert "JSON object" in told(program, client, handle_file(photo), handle_file(style), [1])


def test_openapi_describes_every_route(client) -> None:
    found = client.get("/api/openapi.json").json()
    assert found["openapi"].startswith("3.")
    told = {(path, method) for path, methods in found["paths"].items() for method in methods}
    base = "/api/paintings/{id}"
    there = {
        ("/api/paintings", "post"),
        ("/api/films", "post"),
        ("/api/sheets", "post"),
        (base, "get"),
        (base, "delete"),
        ("/api/paintings.zip", "get"),
        ("/api/presets", "get"),
        ("/healthz", "get"),
        ("/metrics", "get"),
    }
    there |= {(f"{base}/{act}", "post") for act in ("pause", "resume", "stop")}
    of_others = ("film", "cells/{number}")
    there |= {(f"{base}/{what}", "get") for what in ("events", "frame", *OF_A_PAINTING, *of_others)}
    assert told == there
    for methods in found["paths"].values():
        for operation in methods.values():
            assert operation["description"].endswith(".")
            assert operation["operationId"]
            assert operation["responses"]
            for parameter in operation.get("parameters", []):
                assert parameter["schema"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found)):
        assert name in found["components"]["schemas"]


def test_no_page_describes_the_routes_with_scripts_from_elsewhere(client) -> None:
    for path in ("/redoc", "/api/docs", "/gradio_api/docs", "/gradio_api/redoc"):
        assert client.get(path).status_code == 404


def test_the_page_loads_nothing_from_elsewhere(place, client) -> None:
    html = client.get("/").text
    tags = re.findall(r"<(?:script|link|img|iframe|base)\b[^>]*>", html)
    named = re.findall(r'(?:src|href)="([^"]+)"', " ".join(tags))
    assert named
    assert not [
        url for url in named if re.match(r"(https?:)?//", url) and not url.startswith(place.url)
    ]
    styles = [url for url in named if ".css" in url] + ["theme.css"]
    for url in styles:
        css = client.get("/" + url.removeprefix("./")).text
        assert not re.findall(r"""(?:@import|url\()\s*['"]?(?:https?:)?//[^)'"]+""", css)


def test_metrics_count_what_happens(client, painted, busy) -> None:
    def value(name: str) -> float:
        return float(
            re.search(rf"^{re.escape(name)} (.+)$", client.get("/metrics").text, re.MULTILINE)[1]
        )

    assert value('impasto_jobs{state="painting"}') == 1
    before = (
        value('impasto_paintings_total{outcome="stopped"}'),
        value("impasto_painting_seconds_count"),
    )
    client.post(f"/api/paintings/{busy}/stop")
    over(client, busy)
    after = (
        value('impasto_paintings_total{outcome="stopped"}'),
        value("impasto_painting_seconds_count"),
    )
    assert after == (before[0] + 1, before[1] + 1)


def test_metrics_count_bad_requests(client, ask) -> None:
    ask({"size": 3})
    assert 'impasto_refused_total{reason="invalid"} 0.0' not in client.get("/metrics").text


# Many at once
# --------------------------------------------------------------------------------------------------


def crowd(place, count: int, photo: Path, style: Path) -> list[httpx.Response]:
    """The answers to so many who ask at once, each over a line of its own."""
    gate = threading.Barrier(count)
    files = [("content", ("a.png", photo.read_bytes())), ("style", ("b.png", style.read_bytes()))]

    def one(_: int) -> httpx.Response:
        gate.wait(20)
        return httpx.post(
            f"{place.url}/api/paintings",
            files=files,
            data={"settings": json.dumps(QUICK)},
            timeout=30,
        )

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_fifty_requests_at_once_are_painted_or_answered_with_503(
    place, client, busy, photo, style
) -> None:
    answers = crowd(place, 50, photo, style)
    accepted = [each.json()["id"] for each in answers if each.status_code == 202]
    # all of one address: who has more places than are left free gets no other
    assert len(accepted) == QUEUE // 2 + 1
    for each in answers:
        if each.status_code != 202:
            assert "try again in a minute" in refusal(each, 503)
            assert each.headers["retry-after"] == "60"
    client.post(f"/api/paintings/{busy}/stop")
    assert {over(client, id)["state"] for id in accepted} == {"done"}


@pytest.mark.slow
def test_crowds_leave_no_memory_behind(place, client, photo, style) -> None:
    def round() -> float:
        for each in crowd(place, 50, photo, style):
            if each.status_code == 202:
                over(client, each.json()["id"])
                client.delete(f"/api/paintings/{each.json()['id']}")
        return psutil.Process(os.getpid()).memory_info().rss / 1e6

    first = round()
    assert round() - first < 40


def test_while_many_pictures_are_read_others_are_answered(
    place, busy, photo, style, monkeypatch
) -> None:
    go_on, many, inside, read_bytes = (
        threading.Event(),
        threading.Event(),
        itertools.count(1),
        jobs.read_bytes,
    )

    def slow(*given: Any) -> Any:
        if next(inside) == 40:
            many.set()
        assert go_on.wait(20)
        return read_bytes(*given)

    monkeypatch.setattr(jobs, "read_bytes", slow)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(crowd, place, 45, photo, style)
        try:
            assert many.wait(20)
            assert httpx.get(f"{place.url}/api/paintings/{busy}", timeout=2).status_code == 200
        finally:
            go_on.set()
            asked.result()


# A full disk, and what is no request
# ----------------------------------------------------------------------------------


@pytest.fixture
def full(monkeypatch):
    """full(module, name): what calls that finds the disk full."""

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")

    return lambda where, name: monkeypatch.setattr(where, name, fails)


def test_a_request_on_a_full_disk_is_answered_with_507(ask, full) -> None:
    full(Path, "write_bytes")
    assert "no room" in refusal(ask(), 507)


def test_a_form_on_a_full_disk_is_answered_with_507(ask, full) -> None:
    full(tempfile.SpooledTemporaryFile, "write")
    assert "no room" in refusal(ask(), 507)


def test_an_upload_on_a_full_disk_is_answered_with_507(client, full) -> None:
    full(gradio.route_utils, "NamedTemporaryFile")
    answer = client.post("/gradio_api/upload", files={"files": ("a.png", png(20, 20))})
    assert "no room" in refusal(answer, 507)


@pytest.mark.parametrize("what", ["picture?format=webp", "picture?format=jpeg", "curve"])
def test_a_format_on_a_full_disk_is_answered_with_507(painted, client, monkeypatch, what) -> None:
    id = painted()["id"]

    def fails(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    assert "no room" in refusal(client.get(f"/api/paintings/{id}/{what}"), 507)


def test_openapi_tells_of_a_full_disk(client) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    assert "507" in paths["/api/paintings"]["post"]["responses"]
    assert "507" in paths["/api/paintings/{id}/picture"]["get"]["responses"]


FORM = "multipart/form-data; boundary=b"
JSON = "application/json"
NO_REQUESTS = [
    *(
        ("POST", path, kind, body)
        for path in ("/api/paintings", "/gradio_api/upload")
        for kind, body in (
            (FORM, b""),
            (FORM, b"--b"),
            (FORM, b"--b\r\n\r\n--b--"),
            (FORM, b"\xff" * 100),
            ("multipart/form-data", b"x"),
            (FORM, b'--b\r\ncontent-disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n'),
            ("x", b"x"),
            (FORM, b"--b\r\ncontent-disposition: \xff\xfe\r\n\r\nx\r\n--b--\r\n"),
            ("\xff", b"x"),
            (JSON, b"{}"),
            (FORM, b"--b\r\n" + b"x" * 20_000 + b"\r\n\r\nx\r\n--b--\r\n"),
            (
                FORM,
                b'--b\r\ncontent-disposition: form-data; name="files"; '
                b'filename="\0"\r\n\r\nx\r\n--b--\r\n',
            ),
            (
                FORM,
                b'--b\r\ncontent-disposition: form-data; name="files"; '
                b'filename="/"\r\n\r\nx\r\n--b--\r\n',
            ),
            (FORM, b'--b\r\ncontent-disposition: form-data; name="files"\r\n\r\nx\r\n--b--\r\n'),
        )
    ),
    *(
        ("POST", f"/gradio_api/{path}", JSON, body)
        for path in (
            "queue/join",
            "call/paint",
            "cancel",
            "reset",
            "component_server",
            "upload_progress",
        )
        for body in (
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff",
            b'{"data": []}',
            b'{"data": null, "fn_index": 0}',
            b'{"data": [1], "fn_index": -1}',
            b'{"data": [{"path": "/x"}], "fn_index": "x"}',
            b"[" * 5000,
            b'{"data": {}, "session_hash": [1]}',
            b'{"data": [], "fn_index": 1, "session_hash": "s", "event_data": 5, "trigger_id": "x"}',
            b'{"data": [{"path": 5}, {"meta": 1}, "x"]}',
            b'{"fn_index": 1e400}',
            b'{"data": [null, null, null]}',
        )
    ),
    *(
        (method, path, "", b"")
        for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "X", "get")
        for path in (
            "/",
            "/api/paintings",
            "/healthz",
            "/gradio_api/upload",
            "/gradio_api/queue/data",
            "/config",
        )
    ),
    *(
        ("GET", path, "", b"")
        for path in (
            "//",
            "/%00",
            "/%ff",
            "/..%2f..",
            "/gradio_api/file=%ff",
            "/gradio_api/file=",
            "/gradio_api/queue/data",
            "/gradio_api/call/paint/x",
            "/gradio_api/upload_progress?upload_id=x",
            "/static/%00",
            "/assets/%ff",
            "/config?deep_link=%00",
            "/theme.css?x=%ff",
            "/?__theme=%ff",
            "/api/paintings/%00/picture?format=%ff",
            "/svelte/%00",
            "/custom_component/x/y/z/%00",
            "/favicon.ico",
            "/manifest.json",
            "/?deep_link=..%2f..%2fx",
            "/pwa_icon/%00",
            "/api/paintings/" + "x" * 9000,
            "/gradio_api/file=" + "x" * 9000,
        )
    ),
]


def odd(place, method: str, path: str, kind: str, body: bytes) -> int:
    """The status of the answer to a request that no client makes; it may go on, as a stream
    does."""
    with socket.create_connection(
        ("127.0.0.1", int(place.url.rpartition(":")[2])), timeout=5
    ) as line:
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: "
            f"{len(body)}\r\nconnection: close\r\n"
        )
        line.sendall(
            head.encode()
            + b"content-type: "
            + kind.encode("latin-1")
            + b"\r\nx: \xff\r\n\r\n"
            + body
        )
        return int(line.recv(100).split()[1])


def test_nothing_that_is_asked_leaves_a_traceback(place, caplog, capfd) -> None:
    for request in NO_REQUESTS:
        if "upload_progress?" not in request[1]:
            assert odd(place, *request) < 500, request
    deadline = time.monotonic() + 1  # gradio's queue looks at what is in it
    while time.monotonic() < deadline:
        time.sleep(0.1)
    told = [each for each in caplog.records if each.exc_info]
    assert told == []
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    "data",
    [
        [{"path": "x"}] * 200,
        *(
            pytest.param(data, marks=pytest.mark.slow)
            for data in ([1, 2, 3], [], [None] * 3, ["x"] * 3)
        ),
    ],
    ids=["files", "numbers", "nothing", "nulls", "texts"],
)
def test_data_that_does_not_fit_an_event_leaves_no_traceback(client, caplog, capfd, data) -> None:
    dependencies = client.get("/config").json()["dependencies"]
    for number, each in enumerate(dependencies):
        body = {
            "data": data,
            "fn_index": each["id"],
            "session_hash": f"s{number}",
            "event_data": {"index": "x"},
        }
        if client.post("/gradio_api/queue/join", json=body).status_code != 200:
            continue
        with client.stream(
            "GET", "/gradio_api/queue/data", params={"session_hash": f"s{number}"}
        ) as stream:
            next(
                data
                for _, data in events(stream)
                if data["msg"] in ("process_completed", "unexpected_error")
            )
    assert [each for each in caplog.records if each.exc_info] == []
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
