"""Films over HTTP and in the queue: asked for, followed, paused, stopped, refused."""

import io
import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import pytest
from PIL import Image

from films import MOTIONS, photograph
from impasto.images.read import read_bytes
from impasto.images.write import to_image
from impasto.web.jobs import films as web_films
from impasto.web.jobs.request import PaintRequest, Upload
from movies import sound_of, times_of, write_clip
from studios import Place, running

FRAMES = 5
MOST = 20
QUICK = {"size": 32, "steps": 2}
SLOW = {"size": 64, "steps": 20_000}  # nobody waits for these

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture(scope="module")
def place(tiny_weights):
    limits = {"upload": 400_000, "clip": 900_000, "frames": MOST, "steps": 20_000}
    with running(tiny_weights, pixels=300_000, **limits) as place:
        yield place


@pytest.fixture(scope="module")
def frames():
    film = MOTIONS["pan"](photograph(48, 64))
    pictures = [to_image(film.frame(t)) for t in range(FRAMES)]

    return [np.asarray(picture) for picture in pictures]


@pytest.fixture(scope="module")
def clip(tmp_path_factory, frames) -> Path:
    path = tmp_path_factory.mktemp("clip") / "walk.mp4"
    return write_clip(path, frames, range(0, 40 * FRAMES, 40), sound="aac")


@pytest.fixture
def ask(client, clip, style):
    """Asks for a film of the clip, unless told otherwise."""

    def ask(
        settings: Any = QUICK, given: Any = None, pictures: Any = (), **fields: object
    ) -> httpx.Response:
        files = [
            ("clip", given or (clip.name, clip.read_bytes())),
            ("style", (style.name, style.read_bytes())),
            *(("pictures", each) for each in pictures),
        ]
        data = {"settings": json.dumps(settings), **{k: str(v) for k, v in fields.items()}}
        return client.post("/api/films", files=files, data=data)

    return ask


def until(true: Any, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return found


def accepted(response: httpx.Response) -> str:
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/api/paintings/{response.json()['id']}"
    return response.headers["location"]


def over(client: httpx.Client, at: str) -> dict[str, Any]:
    states = ("done", "stopped", "failed", "cancelled")
    status = until(lambda: s if (s := client.get(at).json())["state"] in states else None)
    assert not status["error"], status["error"]
    return status


def refusal(response: httpx.Response) -> str:
    assert response.status_code == 422, response.text
    text = response.json()["detail"]
    assert "\n" not in text
    assert "input-0" not in text, "it shows a path of the server"
    return text


def test_a_clip_becomes_a_film_of_its_frames_and_sound(client, place, ask, clip, tmp_path):
    at = accepted(ask(later_steps=1))
    status = over(client, at)
    assert (status["kind"], status["state"], status["title"]) == ("film", "done", "walk-style")
    assert (status["frame"], status["frames"]) == (FRAMES, FRAMES)
    film = client.get(f"{at}/film")
    assert film.headers["content-type"] == "video/mp4"
    (path := tmp_path / "film.mp4").write_bytes(film.content)
    assert times_of(path) == times_of(clip)
    assert sound_of(path) == sound_of(clip)
    part = client.get(f"{at}/film", headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100), "a player cannot wind it"
    for name in ("before", "after"):
        picture = Image.open(io.BytesIO(client.get(f"{at}/{name}").content))
        assert picture.size == (32, 24)
    for name in ("picture", "curve", "timelapse"):
        assert client.get(f"{at}/{name}").status_code == 404
    assert not any("film.work" in path.name for path in place.studio.folder.rglob("*"))


@pytest.mark.parametrize(("name", "kind"), [("a.gif", "image/gif"), ("a.webm", "video/webm")])
def test_the_film_is_of_the_clips_kind(client, ask, frames, tmp_path, name, kind):
    path = tmp_path / name
    if name.endswith("gif"):
        first, *more = [Image.fromarray(frame) for frame in frames[:3]]
        first.save(path, save_all=True, append_images=more, duration=40)
    else:
        write_clip(path, frames[:3], (0, 40, 80), codec="libvpx-vp9")
    at = accepted(ask(given=(name, path.read_bytes()), later_steps=1))
    over(client, at)
    film = client.get(f"{at}/film")
    assert film.headers["content-type"] == kind
    (tmp_path / f"out{path.suffix}").write_bytes(film.content)
    assert len(times_of(tmp_path / f"out{path.suffix}")) == 3


def test_a_preview_is_a_picture_of_three_frames(client, ask):
    at = accepted(ask(preview=True))
    status = over(client, at)
    assert (status["state"], status["frame"], status["frames"]) == ("done", 3, 3)
    sheet = read_bytes(client.get(f"{at}/picture").content, "preview.png").pixels
    assert sheet.shape[3] > 3 * 32
    assert client.get(f"{at}/film").status_code == 404


def test_every_second_frame_of_it(client, ask, tmp_path):
    at = accepted(ask(every=2, later_steps=1))
    assert over(client, at)["frames"] == 3
    (path := tmp_path / "film.mp4").write_bytes(client.get(f"{at}/film").content)
    assert len(times_of(path)) == 3


def test_stopped_it_is_a_film_of_what_there_is_and_a_pause_loses_no_frame(
    client, ask, tmp_path, place
):
    at = accepted(ask({"size": 32, "steps": 2}, later_steps=20_000))
    until(lambda: client.get(at).json()["frame"] == 2)
    client.post(f"{at}/pause")
    until(lambda: client.get(at).json()["state"] == "paused")
    client.post(f"{at}/resume")
    until(lambda: (now := client.get(at).json())["state"] == "painting" and now["step"] < 20_000)
    assert client.get(at).json()["frame"] == 2
    client.post(f"{at}/stop")
    status = over(client, at)
    assert (status["state"], status["frame"]) == ("stopped", 1)
    (path := tmp_path / "film.mp4").write_bytes(client.get(f"{at}/film").content)
    assert len(times_of(path)) == 1


def test_stopped_while_it_is_paused(client, ask):
    at = accepted(ask({"size": 32, "steps": 2}, later_steps=20_000))
    until(lambda: client.get(at).json()["frame"] == 2)
    client.post(f"{at}/pause")
    until(lambda: client.get(at).json()["state"] == "paused")
    client.post(f"{at}/stop")
    assert over(client, at)["state"] == "stopped"
    assert client.get(f"{at}/film").status_code == 200


@pytest.mark.slow
def test_a_film_lets_others_be_painted_between_its_frames(
    client, ask, place, photo, style, tmp_path, monkeypatch
):
    monkeypatch.setattr("impasto.web.jobs.film_worker.TURN", 0.0)
    monkeypatch.setattr("impasto.web.jobs.queue.TICK", 0.02)
    at = accepted(ask({"size": 32, "steps": 2}, later_steps=100))
    until(lambda: client.get(at).json()["frame"] >= 2)
    content, brush = (Upload(path.name, path.read_bytes) for path in (photo, style))
    order = PaintRequest(content, [brush], QUICK)
    job = place.studio.submit(order, "somebody else")
    until(lambda: job.over)
    assert job.state == "done"
    assert client.get(at).json()["state"] in ("waiting", "painting"), "it is not done yet"
    assert over(client, at)["frame"] == FRAMES
    (path := tmp_path / "film.mp4").write_bytes(client.get(f"{at}/film").content)
    assert len(times_of(path)) == FRAMES


def test_cancelled_nothing_is_left(client, ask, place):
    at = accepted(ask(SLOW))
    until(lambda: client.get(at).json()["state"] == "painting")
    assert client.delete(at).status_code == 204
    assert client.get(at).status_code == 404
    assert {path.name for path in place.studio.folder.iterdir()} <= {"uploads", "lock"}


def test_what_is_wrong_is_said_when_it_is_asked_for(client, ask, photo, frames, tmp_path):
    assert "picture.png is a picture, not a clip" in refusal(
        ask(given=("picture.png", photo.read_bytes()))
    )
    assert "walk.mp4 cannot be read as a video" in refusal(ask(given=("walk.mp4", b"nothing")))
    assert "walk.mp4 has 1 MB, more than this server's 0.9 MB" in refusal(
        ask(given=("walk.mp4", bytes(910_000)))
    )
    assert ask(given=("walk.mp4", bytes(1_500_000))).status_code == 413
    many = write_clip(tmp_path / "long.mp4", frames[:1] * (MOST + 1), range(0, 40 * (MOST + 1), 40))
    long = many.name, many.read_bytes()
    assert f"{MOST + 1} frames are more than this server's {MOST}" in refusal(ask(given=long))
    accepted(ask(given=long, every=2))
    assert "every is 0: give 1 to" in refusal(ask(every=0))
    assert "temporal is nan" in refusal(ask(temporal="nan"))
    assert "later_steps is -1" in refusal(ask(later_steps=-1))
    assert "start is not for a film" in refusal(ask({**QUICK, "start": "noise"}))
    assert "pixels are more than this server's" in refusal(ask({"size": 1000}))
    assert "no field 'clips'" in refusal(ask(clips=1))
    assert "is a setting: send it in the field settings" in refusal(ask(size=100))


@pytest.mark.parametrize("name", ["protect", "palette", "fine"])
def test_no_setting_reads_a_file_of_the_server(ask, style, name):
    assert "no picture of that name came with them" in refusal(ask({**QUICK, name: str(style)}))


@pytest.mark.parametrize("preview", [False, True])
def test_masks_and_a_palette_come_with_it(client, ask, style, preview):
    mask = Image.new("L", (64, 48), 0)
    mask.paste(255, (0, 0, 32, 48))
    mask.save(out := io.BytesIO(), "PNG")
    pictures = [("left.png", out.getvalue()), ("other.png", style.read_bytes())]
    settings = {**QUICK, "mask": ["left.png=other.png"], "protect": "left.png"}
    address = accepted(ask(settings, pictures=pictures, preview=preview))
    assert until(lambda: client.get(address).json()["state"] in ("done", "failed"))
    assert client.get(address).json()["state"] == "done"
    assert "left.png is not a picture" in refusal(
        ask(settings, pictures=[("left.png", b"no"), pictures[1]])
    )


def test_without_the_extra_it_says_which_one(ask):
    with patch.object(web_films, "has_extra", lambda _: False):
        assert "a film needs an extra: pip install 'impasto[video]'" in refusal(ask())


def test_a_film_is_in_the_downloads_and_the_schema(client: httpx.Client, place: Place):
    schema = client.get("/api/openapi.json").json()
    assert "post" in schema["paths"]["/api/films"]
    assert "get" in schema["paths"]["/api/paintings/{id}/film"]


def test_without_the_extra_the_page_has_no_control_of_it(tiny_weights):
    def told(url: str) -> str:
        return httpx.get(f"{url}/config", timeout=20).text

    with running(tiny_weights) as place:
        assert "Paint the film" in told(place.url)
    with (
        patch("impasto.web.page.form_layout.has_extra", lambda _: False),
        running(tiny_weights) as place,
    ):
        assert "Paint the film" not in told(place.url)
