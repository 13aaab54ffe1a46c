"""The command `impasto serve`, and the password at its door."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file

from impasto.config import MOST_STEPS, Machine
from impasto.errors import ConfigError
from impasto.web import server
from impasto.web.guard import passwords
from impasto.web.jobs import queue as studio
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.queue import Studio
from studios import running

ANN = "ann:se:crèt☃"
LONG = 2000


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files; `serve` must leave nothing there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    # so that it is put back after the application has set it
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    monkeypatch.delenv("IMPASTO_AUTH", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield folder
    signal.signal(signal.SIGTERM, before)


def left(temporary: Any) -> list[str]:
    """The names of what lies there."""
    return sorted(path.name for path in temporary.iterdir())


@pytest.fixture
def machine(tiny_weights):
    return ["--backbone", tiny_weights, "--device", "cpu", "--precision", "float32", "--port", 0]


# What is refused
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def stays_shut(impasto, temporary, monkeypatch):
    """Runs `serve` with what it must refuse, in one line; gives that line."""
    monkeypatch.setattr(server, "serve", lambda *_: pytest.fail("it opened"))

    def run(*arguments: object) -> str:
        code, out, err = impasto("serve", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("impasto: ")
        assert err.count("\n") == 1
        assert left(temporary) == []
        return err

    return run


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--host nowhere.invalid --no-auth", "cannot listen on nowhere.invalid"),
        ("--host a..b --no-auth", "cannot listen on a..b"),
        ("--host 192.0.2.1 --no-auth", "cannot listen on 192.0.2.1"),
        ("--host 0.0.0.0", "--host 0.0.0.0 opens the studio to others: give --auth"),
        ("--host ::", "--host :: opens the studio to others"),
        ("--host=", "opens the studio to others"),
        ("--host studio.example", "opens the studio to others"),
        ("--auth ann", "a user and a password with a colon between"),
        ("--auth :secret", "a user and a password"),
        ("--auth ann:", "a user and a password"),
        ("--auth=", "a user and a password"),
        ("--backbone vgg99", "did you mean vgg19?"),
        ("--backbone /nowhere.safetensors", "no weights at"),
        ("--backbone=", "--backbone is ''"),
        ("--port 70000", "not in the range"),
        ("--port x", "--port"),
        ("--workers 0", "--workers"),
        ("--queue 0", "--queue"),
        ("--queue 1.5", "--queue"),
        ("--max-upload 0", "--max-upload"),
        ("--max-pixels 1", "--max-pixels"),
        ("--max-steps 0", "--max-steps"),
        ("--keep 0", "--keep"),
        ("--memory x", "--memory is 'x'"),
        ("--tile 3", "--tile is '3'"),
        ("--device abacus", "--device is 'abacus'"),
        ("--size 32", "--size"),
        ("extra", "extra"),
    ],
)
def test_it_refuses_what_is_wrong(stays_shut, options, line) -> None:
    assert line in stays_shut(*options.split(" "))


@pytest.mark.parametrize(
    ("options", "line"), [("--memory 1", "too little"), ("--tile 16", "--tile 16 is less")]
)
def test_it_refuses_what_no_painting_can_be_made_with(stays_shut, machine, options, line) -> None:
    assert line in stays_shut(*machine, *options.split())


def test_it_refuses_a_port_that_is_taken(stays_shut) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in stays_shut(
            "--port", port
        )


def test_it_refuses_a_malformed_password_of_the_environment(stays_shut, monkeypatch) -> None:
    monkeypatch.setenv("IMPASTO_AUTH", "ann")
    assert "a user and a password" in stays_shut()


def test_two_that_begin_at_once_do_not_both_get_the_port() -> None:
    with server.listen("127.0.0.1", 0) as one, pytest.raises(ConfigError):
        server.listen("127.0.0.1", one.getsockname()[1]).close()


def test_it_refuses_a_host_that_is_no_name() -> None:
    with pytest.raises(ConfigError):
        server.listen("é" * 70, 0).close()


@pytest.mark.parametrize("option", ["--max-upload", "--keep"])
def test_it_refuses_what_is_no_number(stays_shut, machine, option) -> None:
    stays_shut(*machine, option, "nan")


def test_it_refuses_a_password_that_is_no_text(stays_shut, machine) -> None:
    stays_shut(*machine, "--auth", "ann:\udcff")


@pytest.mark.parametrize("library", ["gradio", "fastapi", "uvicorn", "prometheus_client"])
def test_without_its_libraries_it_says_which_extra(stays_shut, monkeypatch, library) -> None:
    for name in [name for name in sys.modules if name.startswith("impasto.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("impasto.web")
    monkeypatch.setitem(sys.modules, library, None)
    assert "pip install 'impasto[web]'" in stays_shut()


def test_without_room_it_says_so(stays_shut, machine, temporary, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    assert (
        f"no room for the studio's pictures: No such file or directory ({temporary / 'gone'}"
        in stays_shut(*machine)
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_network_that_fails_in_another_way_does_not_hang_it(monkeypatch, tiny_weights) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(studio, "warm_up", fails)
    place = Studio(Limits(), Machine(device="cpu"), [str(tiny_weights)])
    failed = threading.Event()

    def begin() -> None:
        try:
            place.open()
        except Exception:
            failed.set()

    threading.Thread(target=begin, daemon=True).start()
    try:
        assert failed.wait(2)
    finally:
        place.close()


# What it opens
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(impasto, temporary, machine, monkeypatch):
    """Runs `serve` up to where it would wait for visitors: gives what it said, and the
    application."""
    found: list[Any] = []

    def serve(
        app: Any, sock: socket.socket, ready: Callable[[], object], close: Callable[[], object]
    ) -> None:
        found.append(app)
        ready()

    async def application(*given: Any) -> Any:
        return build(*given)

    build = server.application
    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(studio, "TICK", 0.05)
    # building it takes a second
    monkeypatch.setattr(server, "page_of", lambda *_: gr.Blocks(analytics_enabled=False))
    # Where a loop is running: elsewhere gradio begins a dozen, and leaves them open.
    monkeypatch.setattr(server, "application", lambda *given: asyncio.run(application(*given)))

    def run(*arguments: object) -> tuple[str, Any]:
        code, out, err = impasto("serve", *machine, *arguments)
        assert (code, err) == (0, "")
        assert left(temporary) == []
        return out, found[-1]

    return run


def asked(app: Any, path: str = "/healthz", **headers: str) -> int:
    """The status of an answer of the application."""

    async def once() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get(path, headers=headers)).status_code

    return asyncio.run(once())


def test_its_numbers_are_the_studio_s_limits(opened, monkeypatch) -> None:
    limits, folders = [], []
    monkeypatch.setattr(
        Studio, "open", lambda self: (limits.append(self.limits), folders.append(self.save_to))
    )
    numbers = {
        "workers": 2,
        "queue": 7,
        "max-upload": 1.5,
        "max-pixels": 5000,
        "max-steps": 300,
        "max-clip": 2.5,
        "max-frames": 60,
        "max-minutes": 3,
        "keep": 2,
        "save-to": "here",
    }
    opened(*(part for name, number in numbers.items() for part in (f"--{name}", number)))
    opened()
    opened("--host", "0.0.0.0", "--no-auth")
    own = Limits(steps=MOST_STEPS, seconds=float("inf"), frames=sys.maxsize)
    asked = Limits(2, 7, 1_500_000, 5000, 300, 120.0, 180.0, 2_500_000, 60)
    assert limits == [asked, own, Limits()]
    assert folders == [Path("here"), Path.home() / "Pictures" / "impasto", None]


@pytest.mark.parametrize(
    ("host", "shown"), [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")]
)
def test_it_says_where_it_is_open(opened, host, shown) -> None:
    try:
        server.listen(host, 0).close()
    except ConfigError:
        pytest.skip(f"no {host} here")
    out, app = opened("--host", host)
    assert out.startswith(f"the studio is open at http://{shown}:")
    assert asked(app, host=shown) == 200
    assert asked(app, host="evil.example") == 400


def test_it_answers_at_the_address_that_it_says(opened) -> None:
    _, app = opened("--host", "127.0.0.2")
    assert asked(app, host="127.0.0.2") == 200


def test_with_a_password_it_answers_to_any_name(opened) -> None:
    _, app = opened("--host", "0.0.0.0", "--auth", "ann:secret")
    assert asked(app, host="studio.example") == 200
    assert asked(app, "/metrics", host="studio.example") == 401


def test_it_opens_to_all_if_told_so(opened) -> None:
    _, app = opened("--host", "0.0.0.0", "--no-auth")
    assert asked(app, "/metrics", host="studio.example") == 200


def test_it_shows_the_page_in_a_browser(opened, monkeypatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(click, "launch", shown.append)
    out, _ = opened("--open")
    assert shown[0] in out


def test_it_opens_with_a_single_step(opened) -> None:
    opened("--max-steps", 1)


# As a program
# --------------------------------------------------------------------------------------------------


@contextmanager
def program(
    temporary: Any, *arguments: object, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "impasto", "serve", "--save-to", "none"]
    command += map(str, arguments)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=temporary,
        env={**os.environ, "TMPDIR": str(temporary), **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def address(process: subprocess.Popen[str]) -> str:
    """Where it is open, once it is."""
    line = process.stdout.readline()  # type: ignore[union-attr]
    assert line.startswith("the studio is open at http://127.0.0.1:")
    return line.split()[5]


def test_ended_in_mid_painting_it_leaves_nothing(temporary, machine, photo, style) -> None:
    began = time.monotonic()
    with program(temporary, *machine, IMPASTO_AUTH=ANN) as process:
        url, who = address(process), tuple(ANN.split(":", 1))
        assert time.monotonic() - began < 15
        assert httpx.get(f"{url}/metrics").status_code == 401
        files = {"content": photo.read_bytes(), "style": style.read_bytes()}
        settings = {"settings": json.dumps({"size": 96, "steps": LONG}), "timelapse": ".gif"}
        id = httpx.post(f"{url}/api/paintings", files=files, data=settings, auth=who).json()["id"]
        with httpx.stream(
            "GET", f"{url}/api/paintings/{id}/events", auth=who, timeout=20
        ) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: progress"
            asked_to = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(15)
            assert time.monotonic() - asked_to < 8
            assert "listening" not in process.stderr.read()  # type: ignore[union-attr]
    assert left(temporary) == []
    assert process.returncode == 0


@pytest.mark.slow  # its quick kin: SIGTERM in mid-painting, above
def test_ctrl_c_closes_it_also_with_a_page_open(temporary, machine) -> None:
    with (
        program(temporary, *machine) as process,
        httpx.Client(base_url=address(process), timeout=20) as client,
    ):
        with client.stream("GET", "/gradio_api/heartbeat/page"):
            process.send_signal(signal.SIGINT)
            process.wait(15)
        out, err = process.communicate()
    assert (process.returncode, out, err.strip()) == (130, "", "impasto: stopped")
    assert left(temporary) == []


def test_ended_while_it_loads_it_leaves_nothing(temporary, machine) -> None:
    with program(temporary, *machine) as process:
        deadline = time.monotonic() + 20
        while not left(temporary) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.wait(15)
    assert left(temporary) == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom impasto.cli.main import main\n"
        "try: main(['serve', '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'gradio', 'fastapi', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--max-upload" in done.stdout
    assert done.stdout.endswith("[]\n")


# The door
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def closed(tiny_weights):
    with pytest.MonkeyPatch.context() as patch, running(tiny_weights, auth=ANN) as place:
        patch.setattr(passwords, "EACH", 0.01)
        yield place


INSIDE = [
    "/",
    "/config",
    "/theme.css",
    "/assets/x.js",
    "/manifest.json",
    "/nothing",
    "/metrics",
    "/api/openapi.json",
    "/api/paintings/nobody",
    "/api/paintings/nobody/events",
    "/gradio_api/info",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/queue/data",
    "/gradio_api/heartbeat/x",
    "/gradio_api/startup-events",
    "/login",
    "/healthz/",
    "/healthz/x",
    "//healthz",
    "/HEALTHZ",
    "/healthz%2f",
    "/nothing?/healthz",
]


@pytest.mark.parametrize("path", INSIDE)
def test_requests_without_the_password_see_nothing(closed, path) -> None:
    answer = httpx.get(closed.url + path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.json()["detail"] == "give the user and the password"


@pytest.mark.parametrize(
    "path", ["/api/paintings", "/gradio_api/upload", "/gradio_api/queue/join", "/login"]
)
def test_requests_without_the_password_change_nothing(closed, path) -> None:
    assert httpx.post(closed.url + path, files={"files": b"x"}).status_code == 401
    assert list(closed.studio.jobs) == []


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic x",
        "Bearer YW5uOnNl",
        "Basic " + "A" * 5000,
        "Basic \xff",
        "Basic YW5uOnNlOmNyw6h0",
    ],
)
def test_a_wrong_password_is_none(closed, header) -> None:
    answer = httpx.get(
        closed.url + "/metrics", headers=[(b"authorization", header.encode("latin-1"))]
    )
    assert answer.status_code == 401


def test_nearly_the_password_is_none(closed) -> None:
    for user, password in (
        ("ann", "se"),
        ("ann", "se:crèt"),
        ("Ann", "se:crèt☃"),
        ("ann:se", "crèt☃ "),
        ("", ""),
    ):
        assert httpx.get(closed.url + "/metrics", auth=(user, password)).status_code == 401


def test_the_password_opens_everything(closed) -> None:
    for path in ("/", "/config", "/metrics", "/api/openapi.json", "/gradio_api/info"):
        assert httpx.get(closed.url + path, auth=("ann", "se:crèt☃")).status_code == 200


def test_whether_it_is_there_needs_no_password(closed) -> None:
    assert httpx.get(closed.url + "/healthz", headers={"host": "anything.example"}).text == "ok"


def test_browsers_are_told_how_to_write_the_password(closed) -> None:
    assert 'charset="UTF-8"' in httpx.get(closed.url).headers["www-authenticate"]


def test_a_gradio_client_comes_in_with_the_password(closed, photo, style, tmp_path) -> None:
    header = httpx.BasicAuth("ann", "se:crèt☃")._auth_header
    client = Client(
        closed.url, headers={"Authorization": header}, verbose=False, download_files=tmp_path
    )
    try:
        endpoint = next(
            iter(client.view_api(return_format="dict", print_info=False)["named_endpoints"])
        )
        path = client.predict(
            handle_file(photo), handle_file(style), {"size": 32, "steps": 2}, api_name=endpoint
        )
    finally:
        client.close()
    assert path.endswith(".png")


# Guesses
# --------------------------------------------------------------------------------------------------


def guess(place: Any, password: str, source: str = "127.0.0.1") -> int:
    """The status of the answer to a password that comes from an address of this machine."""
    line = http.client.HTTPConnection(
        "127.0.0.1", int(place.url.rpartition(":")[2]), 20, (source, 0)
    )
    header = httpx.BasicAuth("ann", password)._auth_header
    with closing(line):
        line.request("GET", "/metrics", headers={"authorization": header})
        return line.getresponse().status


def test_many_wrong_passwords_are_not_checked_and_delay_no_other_address(
    tiny_weights, monkeypatch
) -> None:
    monkeypatch.setattr(passwords, "EACH", 0.5)
    monkeypatch.setattr(passwords, "MOST_DUE", 0.5)
    right = ANN.partition(":")[2]
    with running(tiny_weights, auth=ANN) as place, ThreadPoolExecutor(30) as pool:
        answers = [pool.submit(guess, place, "wrong", "127.0.0.2") for _ in range(60)]
        took = []
        while not all(each.done() for each in answers) or not took:
            began = time.monotonic()
            assert guess(place, right) == 200
            took.append(time.monotonic() - began)
        codes = [each.result() for each in answers]
    assert set(codes) == {401, 429}
    assert codes.count(401) < 12
    assert sorted(took)[len(took) // 2] < 0.5


# Killed
# --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_files_of_a_killed_studio_are_removed_by_the_next_and_gradio_s_folder_is_unused(
    temporary, machine, photo, style
) -> None:
    (temporary / "gradio").touch()  # a stranger's
    with program(temporary, *machine) as process:
        url = address(process)
        files = {"content": photo.read_bytes(), "style": style.read_bytes()}
        settings = {"settings": json.dumps({"size": 256, "steps": LONG}), "timelapse": ".gif"}
        httpx.post(f"{url}/api/paintings", files=files, data=settings)
        httpx.post(f"{url}/gradio_api/upload", files={"files": ("photo.png", photo.read_bytes())})
        process.kill()
        process.wait(10)
    assert len(left(temporary)) == 2
    with program(temporary, *machine) as process:
        address(process)
        process.send_signal(signal.SIGTERM)
        process.wait(15)
        assert process.returncode == 0
    assert left(temporary) == ["gradio"]
