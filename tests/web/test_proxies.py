"""The documented examples of proxies: nginx and Caddy in front of a studio."""

import getpass
import io
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from studios import running

DOCUMENT = Path(__file__).parents[2] / "docs" / "studio.md"
NGINX = """daemon off;
user {user};
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {example}
    }}
}}
"""


@pytest.fixture(scope="module")
def place(tiny_weights):
    with running(tiny_weights, root_path="/studio") as place:
        yield place


def example(language: str, place, port: int) -> str:
    """The document's example for this studio."""
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    host = f"http://127.0.0.1:{port}"
    return found[1].replace("127.0.0.1:7860", place.url[7:]).replace("example.org", host)


@contextmanager
def proxy(name: str, place, folder: Path) -> Iterator[str]:
    """The proxy, running; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text, path = example(name, place, port), folder / "settings"
    if name == "nginx":
        text = NGINX.format(user=getpass.getuser(), folder=folder, port=port, example=text)
        command = ["nginx", "-e", folder / "errors", "-c", path]
    else:
        text = "{\n admin off\n}\n" + text
        command = ["caddy", "run", "--adapter", "caddyfile", "--config", path]
    path.write_text(text, encoding="utf-8")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("name", ["nginx", "caddy"])
def test_a_painting_is_uploaded_followed_and_fetched(name, place, tmp_path, style) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}: apt-get install {name}")
    buffer = io.BytesIO()  # more than the megabyte that nginx allows by itself
    noise = np.random.default_rng(0).integers(0, 256, (700, 800, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    files = {"content": buffer.getvalue(), "style": style.read_bytes()}
    settings = {"settings": '{"size": 48, "steps": 2000}'}
    with proxy(name, place, tmp_path) as url, httpx.Client(timeout=30) as client:
        assert f'"root":"{url}/studio"' in client.get(f"{url}/studio/").text
        assert client.get(f"{url}/studio").headers["location"].endswith("/studio/")
        answer = client.post(f"{url}/studio/api/paintings", files=files, data=settings)
        assert answer.status_code == 202
        painting = url + answer.headers["location"]
        with client.stream("GET", f"{painting}/events") as events:
            lines = events.iter_lines()
            assert next(lines) == "event: progress"
            # it came while it was painted: the proxy keeps nothing back
            assert client.get(painting).json()["state"] in ("waiting", "painting")
            while not re.search(r'"step":[1-9]', next(lines)):
                pass
            client.post(f"{painting}/stop")
            assert "event: stopped" in list(lines)
        picture = client.get(f"{painting}/picture")
        assert picture.content.startswith(b"\x89PNG")
