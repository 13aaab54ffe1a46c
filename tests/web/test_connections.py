"""Slow clients of the studio's server: each is ended in time, and many of them leave room for
others."""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from impasto.web import server
from impasto.web.guard import connections

BIG = 8_000_000  # bytes: more than the system keeps for who does not read
PIECE = 10_000


async def application(scope, receive, send) -> None:
    """Answers with the length of the body; /stream takes its time, /big sends a lot, /refused reads
    nothing.

    /who tells where the request seems to come from.
    """
    if scope["type"] != "http":
        return
    length, more = 0, scope["path"] != "/refused"
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        for _ in range(20):
            await asyncio.sleep(0.08)
            await send({"type": "http.response.body", "body": b".", "more_body": True})
    body = bytes(BIG) if scope["path"] == "/big" else str(length).encode()
    body = scope["client"][0].encode() if scope["path"] == "/who" else body
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(app=application) -> Iterator[tuple[int, server.Server]]:
    """The port of a server of this process, and the server."""
    ready = threading.Event()
    with server.listen("127.0.0.1", 0) as sock:
        service = server.Server(app, ready.set, lambda: None)
        thread = threading.Thread(target=service.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield sock.getsockname()[1], service
        finally:
            service.should_exit = True
            thread.join(10)


@pytest.fixture
def port(monkeypatch) -> Iterator[int]:
    """Of a server that is not patient."""
    for name, value in (("HEAD", 0.5), ("STALL", 0.5), ("RATE", 20_000)):
        monkeypatch.setattr(connections, name, value)
    with serving() as (port, _):
        yield port


def line(port: int, *parts: bytes, source: str = "127.0.0.1") -> socket.socket:
    """A connection, on which that much has been sent. source: an address of this machine."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))
    for part in parts:
        sock.sendall(part)
    return sock


def is_ended(sock: socket.socket, drip: bytes = b"") -> bool:
    """Whether the server has ended it. drip: what is sent meanwhile."""
    sock.settimeout(0.02)
    try:
        sock.sendall(drip)
        return not sock.recv(1000)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


HEAD = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n"


SLOW = {
    "nothing": (b"", b""),
    "half a head": (b"GET / HTTP/1.1\r\nhost: loc", b""),
    "a head by drops": (b"GET / HTTP/1.1\r\nhost: loc", b"x"),
    "no body": (HEAD % b"/", b""),
    "a body by drops": (HEAD % b"/", b"x"),
    "a refused body by drops": (HEAD % b"/refused", b"x"),
}


def test_slow_requests_are_closed(port) -> None:
    with ExitStack() as stack:
        there = {name: stack.enter_context(line(port, sent)) for name, (sent, _) in SLOW.items()}
        deadline = time.monotonic() + 4
        while there and time.monotonic() < deadline:
            there = {
                name: sock for name, sock in there.items() if not is_ended(sock, SLOW[name][1])
            }
        assert list(there) == []


def test_a_client_that_does_not_read_is_closed(port, monkeypatch) -> None:
    monkeypatch.setattr(connections, "RATE", 100_000_000)
    with line(port, b"GET /big HTTP/1.1\r\nhost: localhost\r\n\r\n") as sock:
        time.sleep(2.5)
        sock.settimeout(5)
        received = 0
        with suppress(ConnectionError):
            while got := sock.recv(1 << 20):
                received += len(got)
        assert received < BIG


def test_a_slow_but_steady_reader_gets_the_whole_answer(port, monkeypatch) -> None:
    monkeypatch.setattr(connections, "WHOLE", 0.5)
    with line(port, b"GET /big HTTP/1.1\r\nhost: localhost\r\n\r\n") as sock:
        received, began = 0, time.monotonic()
        while received < BIG and (
            got := sock.recv(50_000 if time.monotonic() - began < 4 else 1 << 20)
        ):
            received += len(got)
            time.sleep(0.1 if time.monotonic() - began < 4 else 0)
        assert received >= BIG


def test_a_slow_client_who_keeps_sending_is_answered(port) -> None:
    with line(port, HEAD.replace(b"1000000", b"60000") % b"/") as sock:
        for _ in range(6):
            sock.sendall(bytes(PIECE))
            time.sleep(0.3)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")


def test_an_answer_may_take_as_long_as_it_likes(port) -> None:
    with httpx.stream("GET", f"http://127.0.0.1:{port}/stream", timeout=5) as answer:
        assert len(answer.read()) == 21


def test_the_connection_that_has_waited_longest_is_closed_for_a_new_one(monkeypatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 8)
    with serving() as (port, service), ExitStack() as stack:
        slow = [stack.enter_context(line(port, b"GET /")) for _ in range(8)]
        time.sleep(0.2)
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        assert [is_ended(each) for each in slow[:2]] == [True, False]
        assert len(service.server_state.connections) <= 8


STREAM = b"GET /stream HTTP/1.1\r\nhost: localhost\r\n\r\n"


def streaming(stack: ExitStack, port: int, source: str) -> socket.socket:
    """A connection that is being answered."""
    sock = stack.enter_context(line(port, STREAM, source=source))
    assert sock.recv(10)
    return sock


def is_answered(sock: socket.socket) -> bool:
    """Whether it is answered to the end."""
    received = b""
    with suppress(ConnectionError):
        while not received.endswith(b"0\r\n\r\n") and (got := sock.recv(1000)):
            received += got
    return received.endswith(b"0\r\n\r\n")


def test_the_address_with_most_open_answers_loses_its_oldest_connection(monkeypatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 8)
    with serving() as (port, _), ExitStack() as stack:
        others = [streaming(stack, port, "127.0.0.3") for _ in range(2)]
        greedy = [streaming(stack, port, "127.0.0.2") for _ in range(6)]
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        assert [is_answered(each) for each in (*others, *greedy)] == [
            True,
            True,
            False,
            *[True] * 5,
        ]


def test_a_forwarded_address_is_not_believed(port) -> None:
    headers = {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"}
    assert httpx.get(f"http://127.0.0.1:{port}/who", headers=headers).text == "127.0.0.1"


def test_a_new_connection_is_refused_where_all_are_being_answered(monkeypatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 3)
    with serving() as (port, _), ExitStack() as stack:
        for k in range(3):
            streaming(stack, port, f"127.0.0.{2 + k}")
        answer = httpx.get(f"http://127.0.0.1:{port}/")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_half_of_the_handles_are_left_for_pictures(monkeypatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (200, 4096))
    assert connections.LEAST <= connections.most_connections() < 100
    monkeypatch.setattr(
        resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    assert connections.most_connections() == connections.MOST


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /refused HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /stream HTTP/1.1\r\nhost: localhost\r\n\r\n\0\0\r\n\r\n",
    ],
)
def test_a_request_that_is_not_http_leaves_no_traceback(port, sent, caplog, capfd) -> None:
    with line(port, sent) as sock:
        time.sleep(0.2)
        sock.settimeout(3)
        with suppress(ConnectionError, TimeoutError):
            sock.recv(1000)
    assert [each for each in caplog.records if each.exc_info] == []
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_with_few_handles_many_slow_clients_do_not_stop_the_studio(
    tmp_path, tiny_weights, photo, style
) -> None:
    command = [
        "sh",
        "-c",
        'ulimit -n 64 && exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "impasto",
        "serve",
    ]
    command += [
        "--port",
        "0",
        "--device",
        "cpu",
        "--precision",
        "float32",
        "--backbone",
        str(tiny_weights),
    ]
    with (tmp_path / "log").open("wb") as log, ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "TMPDIR": str(tmp_path)},
            )
        )
        stack.callback(process.kill)
        url = process.stdout.readline().split()[5]
        for k in range(80):
            sock = line(int(url.rpartition(":")[2]))
            stack.enter_context(sock)
            with suppress(ConnectionError):
                sock.sendall([b"", b"GET / HTTP/1.1\r\n", HEAD % b"/api/paintings"][k % 3])
        time.sleep(1)
        files = {"content": photo.read_bytes(), "style": style.read_bytes()}
        settings = {"settings": json.dumps({"size": 32, "steps": 2})}
        id = httpx.post(f"{url}/api/paintings", files=files, data=settings, timeout=10).json()["id"]
        states = []
        for _ in range(100):
            states.append(httpx.get(f"{url}/api/paintings/{id}", timeout=10).json()["state"])
            if states[-1] == "done":
                break
            time.sleep(0.1)
        assert states[-1] == "done"
    assert len((tmp_path / "log").read_bytes()) < 5000
