"""Sheets over HTTP: asked for, followed, looked at, refused."""

import io
import json
import time
from unittest.mock import patch

import pytest
from PIL import Image

from impasto.images.samples import STYLES
from impasto.presets import QUICK
from studios import running

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture(scope="module")
def place(tiny_weights):
    with patch.dict(QUICK, size=32, steps=2), running(tiny_weights) as place:
        yield place


@pytest.fixture
def ask(client, photo, style):
    """Asks for a sheet of the photograph in so many styles."""

    def ask(styles: int = 2, settings: object = None, pictures: tuple[str, ...] = (), **fields):
        files = [("content", ("photo.png", photo.read_bytes()))]
        files += [("style", (f"{k}.png", style.read_bytes())) for k in range(styles)]
        files += [("pictures", (name, style.read_bytes())) for name in pictures]
        data = {"settings": json.dumps(settings or {}), **fields}
        return client.post("/api/sheets", files=files, data=data)

    return ask


def ended(client, response) -> dict:
    assert response.status_code == 202, response.text
    deadline = time.monotonic() + 20
    while (now := client.get(response.headers["location"]).json())["state"] not in (
        "done",
        "failed",
    ):
        assert time.monotonic() < deadline, now
        time.sleep(0.02)
    return now


def test_a_sheet_has_a_painting_in_each_style(client, ask):
    answer = ask(look="bold")
    now = ended(client, answer)
    assert (now["state"], now["kind"], now["frame"], now["frames"]) == ("done", "sheet", 2, 2)
    address = answer.headers["location"]
    for path in ("cells/0", "cells/1", "picture?format=jpeg"):
        picture = Image.open(io.BytesIO(client.get(f"{address}/{path}").content))
        assert picture.format == "JPEG"
    assert client.get(f"{address}/cells/2").status_code == 404


def test_the_settings_name_pictures_that_come_with_them(client, ask):
    assert ended(client, ask(1, {"palette": "p.png"}, ("p.png",)))["state"] == "done"


def test_without_styles_they_are_those_of_the_package(client, ask, place):
    job = place.studio.jobs[ask(0).json()["id"]]
    assert job.styles == [f"{name}.jpg" for name in STYLES]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"settings": {"size": 512}}, "size is the sheet's own: leave it out"),
        ({"settings": {"strenth": 2}}, "strength"),
        ({"settings": {"palette": "p.png"}}, "no picture of that name came with them"),
        ({"styles": 21}, "21 styles: give at most 20"),
        ({"timelapse": ".mp4"}, "no field 'timelapse'"),
    ],
)
def test_what_is_wrong_is_said(ask, given, why):
    answer = ask(**given)
    assert answer.status_code == 422
    assert why in answer.json()["detail"]


def test_it_is_described(client):
    schema = client.get("/api/openapi.json").json()
    assert "post" in schema["paths"]["/api/sheets"]
