"""The studio behind a proxy that shows it at a path."""

from pathlib import Path

import httpx
import pytest

from studios import running

QUICK = {"settings": '{"size": 32, "steps": 2}'}


@pytest.fixture(scope="module")
def place(tiny_weights):
    with running(tiny_weights, root_path="/studio") as place:
        yield place


# a proxy takes the path off, or it does not
@pytest.fixture(params=["", "/studio"])
def base(request, place) -> str:
    return place.url + request.param


def test_the_page_asks_for_everything_below_the_path(base, place) -> None:
    page = httpx.get(f"{base}/")
    assert page.status_code == 200
    assert f'"root":"{place.url}/studio"' in page.text


def test_the_address_of_a_painting_is_below_the_path(base, photo: Path, style: Path) -> None:
    files = {"content": photo.read_bytes(), "style": style.read_bytes()}
    answer = httpx.post(f"{base}/api/paintings", files=files, data=QUICK)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/studio/api/paintings/{answer.json()['id']}"


@pytest.mark.parametrize("prefix", ["", "/studio", "/studio/studio", "/studio/studio/studio"])
def test_no_prefix_leads_around_the_checks(place, prefix) -> None:
    for path in ("/gradio_api/deep_link", "/gradio_api/file=/etc/passwd", "/openapi.json"):
        assert httpx.get(f"{place.url}{prefix}{path}").status_code == 404, path


def test_a_path_that_only_begins_alike_is_another(place) -> None:
    assert httpx.get(f"{place.url}/studio2/healthz").status_code == 404
