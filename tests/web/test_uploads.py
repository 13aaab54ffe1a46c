"""What a visitor may make the studio read: uploads and nothing else, within memory and a share of
the queue."""

import io
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from impasto.errors import PictureError
from impasto.web.guard import middleware
from impasto.web.jobs import job as jobs
from impasto.web.jobs.limits import MORE_IN
from impasto.web.jobs.request import BusyError, PaintRequest, Upload
from impasto.web.jobs.uploads import ReadingMemory, check_uploads, read_upload
from studios import running

pytestmark = pytest.mark.usefixtures("tidy")
SAID = "this picture is not kept here: upload it again"
AS_IT_IS = {"size": 48, "steps": 1, "content_weight": 0, "style_weight": 0, "grain_weight": 0}


@pytest.fixture(scope="module")
def place(tiny_weights):
    with running(tiny_weights, waiting=8, pixels=300_000, steps=20_000) as place:
        yield place


def answers(client: httpx.Client, path: str, body: dict[str, Any]) -> str:
    """All that gradio's stream says after an event was asked for."""
    asked = client.post(path, json=body)
    assert asked.status_code == 200, asked.text
    if "event_id" in asked.json() and path.startswith("/gradio_api/call"):
        return client.get(f"{path}/{asked.json()['event_id']}").text
    return client.get("/gradio_api/queue/data", params={"session_hash": body["session_hash"]}).text


def uploaded(client: httpx.Client, path: Path) -> str:
    return client.post(
        "/gradio_api/upload", files={"files": (path.name, path.read_bytes())}
    ).json()[0]


# Files that are no uploads
# --------------------------------------------------------------------------------------------


def elsewhere(tmp_path: Path, photo: Path, place) -> dict[str, str]:
    """Paths that a visitor might name, by what is there."""
    os.mkfifo(tmp_path / "fifo")
    link = place.studio.uploads / "link.png"
    if not link.is_symlink():
        link.symlink_to(photo)
    return {
        "a picture": str(photo),
        "nothing": str(tmp_path / "nothing.png"),
        "a device": "/dev/zero",
        "a FIFO": str(tmp_path / "fifo"),
        "a link": str(link),
        "a folder": str(place.studio.uploads),
        "up and down": f"{place.studio.uploads}/../../{photo}",
        "no path": "a\0b",
        "an address": "http://example.com/a.png",
    }


@pytest.mark.parametrize("marked", [False, True], ids=["bare", "marked"])
def test_a_program_cannot_have_files_of_the_server_read(
    client, place, photo, style, tmp_path, marked
) -> None:
    mine = uploaded(client, style)
    said = set()
    for path in elsewhere(tmp_path, photo, place).values():
        file = {"path": path, **({"meta": {"_type": "gradio.FileData"}} if marked else {})}
        data = [file, {"path": mine, "meta": {"_type": "gradio.FileData"}}, AS_IT_IS]
        began = time.monotonic()
        said.add(answers(client, "/gradio_api/call/paint", {"data": data}))
        assert time.monotonic() - began < 5
    assert len(said) == 1, said  # nobody learns which paths exist
    assert SAID in said.pop()
    assert not place.studio.jobs


def test_no_event_of_the_page_reads_files_of_the_server(client, place, photo) -> None:
    config = client.get("/config").json()
    kinds = {each["id"]: each["type"] for each in config["components"]}
    shaped = {
        "image": {"path": str(photo)},
        "file": {"path": str(photo)},
        "imageeditor": {"background": None, "layers": [{"path": str(photo)}], "composite": None},
    }
    tried = 0
    for event in config["dependencies"]:
        if not {kinds[each] for each in event["inputs"]} & shaped.keys() or not event["backend_fn"]:
            continue
        data = [shaped.get(kinds[each]) for each in event["inputs"]]
        body = {"data": data, "fn_index": event["id"], "session_hash": f"reader{event['id']}"}
        said = answers(client, "/gradio_api/queue/join", body)
        assert SAID in said, event
        assert '"success":true' not in said
        tried += 1
    assert tried >= 6
    assert not place.studio.jobs


def test_an_upload_is_read(client, place, photo, style) -> None:
    data = [
        {"path": uploaded(client, each), "meta": {"_type": "gradio.FileData"}}
        for each in (photo, style)
    ]
    assert "painting.png" in answers(client, "/gradio_api/call/paint", {"data": [*data, AS_IT_IS]})


def test_only_regular_files_in_the_folder_are_uploads(tmp_path) -> None:
    folder = tmp_path / "uploads"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.png").write_bytes(b"upload")
    (tmp_path / "b.png").write_bytes(b"secret")
    (folder / "link.png").symlink_to(tmp_path / "b.png")
    os.mkfifo(folder / "fifo")
    assert read_upload(folder / "deep" / "a.png", folder) == b"upload"
    for path in ("link.png", "fifo", "deep", "../b.png", "none", "a\0b", ""):
        with pytest.raises(PictureError, match=SAID):
            read_upload(f"{folder}/{path}", folder)
        with pytest.raises(PictureError, match=SAID):
            check_uploads([{"any": [{"path": f"{folder}/{path}"}]}], folder)
    # settings may be called so
    check_uploads([{"path": 1, "start": {"path": 0.5}}, "path", None], folder)


def test_no_depth_of_a_request_is_too_much_for_the_check(tmp_path) -> None:
    deep: Any = {"path": "/etc/passwd"}
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(PictureError, match=SAID):
        check_uploads(deep, tmp_path)


# Drawings
# --------------------------------------------------------------------------------------------------


def test_a_huge_layer_of_a_drawing_is_not_decoded(client, photo, style) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (8000, 8000)).save(out, "PNG")
    config = client.get("/config").json()
    editor = next(each for each in config["components"] if each["type"] == "imageeditor")["id"]
    form = {
        "type": "layer",
        "index": "0",
        "id": "huge",
        "session_hash": "huge",
        "component_id": editor,
    }
    answer = client.post(
        "/gradio_api/component_server",
        data={**form, "fn_name": "accept_blobs"},
        files={"file": ("b", out.getvalue())},
    )
    assert answer.status_code == 200
    event = next(each for each in config["dependencies"] if editor in each["inputs"])
    values = {each["id"]: each["props"].get("value") for each in config["components"]}
    values[editor] = {"id": "huge", "background": None, "layers": [], "composite": None}
    body = {
        "data": [values[each] for each in event["inputs"]],
        "fn_index": event["id"],
        "session_hash": "huge",
    }
    assert len(json.dumps(body)) < middleware.SMALL / 20  # all that the page ever sends but files
    assert "the drawing has 8000 x 8000 pixels" in answers(client, "/gradio_api/queue/join", body)


# Memory
# --------------------------------------------------------------------------------------------------


def test_pictures_that_do_not_fit_into_memory_are_not_read() -> None:
    memory = ReadingMemory(lambda: 100_000_000)
    with pytest.raises(PictureError, match=r"takes 1,342 MB of memory, and this server has 100 MB"):
        memory.reserved([(8190, 8190)], 4000).__enter__()


def test_busy_is_answered_at_once_where_pictures_do_not_fit_beside_others() -> None:
    memory = ReadingMemory(lambda: 100_000_000)
    with memory.reserved([(2000, 1000)], 4000):
        with pytest.raises(BusyError, match="other pictures are being read"):
            memory.reserved([(1000, 1000), (1000, 1000)], 4000).__enter__()
        with memory.reserved([(100, 100)], 4000):
            pass
    with memory.reserved([(1000, 1000), (1000, 1000)], 4000):
        pass


def test_busy_is_answered_where_other_uploads_take_the_memory() -> None:
    free = [100_000_000]
    memory = ReadingMemory(lambda: free[0])
    with memory.reserved([(2000, 1000)], 4000):
        free[0] -= 88_000_000  # what is being read has taken it
        with pytest.raises(BusyError, match="other pictures are being read"):
            memory.reserved([(1000, 1000)], 4000).__enter__()
        with pytest.raises(PictureError, match="this server has 100 MB"):
            memory.reserved([(8190, 8190)], 4000).__enter__()


def test_reading_one_request_does_not_delay_another(place, photo, style, monkeypatch) -> None:
    """The first order's picture takes as long to read as the test likes; the second is read
    meanwhile."""
    reading, go_on = threading.Event(), threading.Event()
    read_bytes = jobs.read_bytes

    def slow(data: bytes, name: str, *more: Any) -> Any:
        if name == "slow.png":
            reading.set()
            assert go_on.wait(20)
        return read_bytes(data, name, *more)

    monkeypatch.setattr(jobs, "read_bytes", slow)
    brush = Upload("style.png", style.read_bytes)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(
            place.studio.submit,
            PaintRequest(Upload("slow.png", photo.read_bytes), [brush], AS_IT_IS),
            "a",
        )
        assert reading.wait(20)
        quick = PaintRequest(Upload("photo.png", photo.read_bytes), [brush], AS_IT_IS)
        pool.submit(place.studio.submit, quick, "b").result(20)
        assert not first.done()
        go_on.set()
        first.result(20)


def test_two_of_the_largest_pictures_take_little_memory(place, photo) -> None:
    """520 KB of upload took 5.2 GB."""
    out = io.BytesIO()
    side = int((MORE_IN * 300_000) ** 0.5)
    Image.new("RGB", (side, side), "red").save(out, "PNG")
    order = PaintRequest(Upload("a.png", out.getvalue), [Upload("b.png", out.getvalue)], AS_IT_IS)
    job = place.studio.submit(order, "ann")
    while not job.over:
        time.sleep(0.01)
    job.folder = place.studio.folder / "again"
    job.keep_inputs(order)
    content, styles, _ = job.inputs(place.studio.limits.read_pixels)
    assert content.pixels.shape[2] <= 4 * 48
    assert styles[0].pixels.shape[2] <= 4 * 48


# The queue
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def order(photo, style):
    return PaintRequest(
        Upload("p.png", photo.read_bytes),
        [Upload("s.png", style.read_bytes)],
        {"size": 64, "steps": 20_000},
    )


def until_painting(job) -> None:
    while job.state == "waiting":
        time.sleep(0.01)


def test_a_visitor_has_no_more_places_than_are_left_free(place, order) -> None:
    studio = place.studio
    until_painting(studio.submit(order, "first"))
    for _ in range(5):
        studio.submit(order, "greedy")
    with pytest.raises(BusyError, match="busy: 5 of your paintings are waiting already"):
        studio.submit(order, "greedy")
    studio.submit(order, "ann")
    studio.submit(order, "ann")
    with pytest.raises(BusyError, match="busy: 2 of your paintings"):
        studio.submit(order, "ann")
    studio.submit(order, "bob")
    with pytest.raises(BusyError, match="busy: 8 paintings are waiting already"):
        studio.submit(order, "dora")


def test_the_places_of_an_address_are_counted_together_whatever_its_cookies(place, order) -> None:
    studio = place.studio
    until_painting(studio.submit(order, "first"))
    for k in range(5):
        studio.submit(order, f"page {k}", visitor="10.0.0.1")
    with pytest.raises(BusyError, match="of your paintings"):
        studio.submit(order, "page 5", visitor="10.0.0.1")
    studio.submit(order, "page 6", visitor="10.0.0.2")


def test_a_painting_ends_when_its_time_is_over(place, order, monkeypatch) -> None:
    monkeypatch.setattr(place.studio, "limits", place.studio.limits._replace(seconds=0.3))
    job = place.studio.submit(order, "ann")
    for _ in range(1000):
        if job.over:
            break
        time.sleep(0.01)
    assert job.state == "stopped"
    assert "this server paints for at most 0.005 minutes" in job.note
    assert 0.3 < job.progress.seconds < 5
