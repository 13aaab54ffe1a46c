"""The Hugging Face Space: started as there, on another port."""

import asyncio
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

FOLDER = Path(__file__).parents[2] / "integrations" / "space"


@pytest.fixture(scope="module")
def app():
    spec = importlib.util.spec_from_file_location("space_app", FOLDER / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("", ""),
        ("8.8.8.8", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8", "8.8.8.8"),  # the first is what the client says itself
        ("8.8.8.8, 10.0.0.3", "8.8.8.8"),  # the last is a proxy within
        ("10.0.0.3", ""),
        ("8.8.8.8, unknown", ""),
        ("2606:4700::1111", "2606:4700::1111"),
    ],
)
def test_the_visitor_is_whom_the_proxy_names(app, header, address):
    assert app.visitor(header) == address


def test_the_page_may_be_framed_by_hugging_face_and_nobody_else(app):
    from impasto.web.guard.middleware import RAW_HEADERS

    seen, sent = [], []

    async def studio(scope, receive, send):
        seen.append(scope["client"])
        await send({"type": "http.response.start", "status": 200, "headers": list(RAW_HEADERS)})

    async def send(message):
        sent.append(message)

    headers = [(b"x-forwarded-for", b"8.8.8.8")]
    scope = {"type": "http", "headers": headers, "client": ("10.0.0.3", 1)}
    asyncio.run(app.InSpace(studio)(scope, None, send))
    assert seen == [("8.8.8.8", 0)]
    policy = dict(sent[0]["headers"])[b"content-security-policy"].decode()
    assert "frame-ancestors 'self' https://huggingface.co;" in policy


def test_the_front_matter_is_what_a_space_needs():
    _, front, _ = (FOLDER / "README.md").read_text().split("---\n", 2)
    values = dict(line.split(": ", 1) for line in front.splitlines())
    assert (values["sdk"], values["app_file"]) == ("gradio", "app.py")
    assert (FOLDER / values["app_file"]).exists()
    pinned = (FOLDER.parents[1] / "constraints.txt").read_text()
    assert f"gradio=={values['sdk_version']}" in pinned
    assert len(values["short_description"]) <= 60  # Hugging Face's limit


@pytest.mark.slow
def test_it_runs_as_a_space_would(tmp_path, photo, style):
    home = shutil.copytree(FOLDER, tmp_path / "app")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    names = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
    given = {name: os.environ[name] for name in names if name in os.environ}
    given |= {"HOME": str(tmp_path), "GRADIO_SERVER_PORT": str(port), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "app.py"], cwd=home, env=given) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, timeout=60) as client:
                _wait(lambda: client.get("/healthz").text == "ok", 120)
                page = client.get("/")
                assert "https://huggingface.co" in page.headers["content-security-policy"]
                assert re.search("gradio", page.text)
                files = {"content": photo.read_bytes(), "style": style.read_bytes()}
                settings = json.dumps({"size": 32, "steps": 2})
                answer = client.post("/api/paintings", files=files, data={"settings": settings})
                path = answer.headers["location"]
                _wait(lambda: client.get(path).json()["state"] == "done", 120)
                assert client.get(f"{path}/picture").content.startswith(b"\x89PNG")
                too_large = client.post(
                    "/api/paintings", files=files, data={"settings": json.dumps({"steps": 501})}
                )
                assert too_large.status_code == 422
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert sorted(each.name for each in home.iterdir() if each.suffix) == sorted(
        each.name for each in FOLDER.iterdir() if each.suffix
    )


def _wait(true, seconds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
