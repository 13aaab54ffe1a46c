"""The studio's server: the page and the interface for programs in one application, and what guards it."""

from __future__ import annotations

import base64
import ipaddress
import json
import logging
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from impasto import __version__
from impasto.apps.web.api import routes
from impasto.apps.web.page import CSS, SCRIPT, page_of, theme
from impasto.apps.web.studio import Studio
from impasto.errors import ConfigError

__all__ = ["application", "is_loopback", "listen", "serve"]

# Those of gradio's routes that the page and gradio's clients use. Others fetch other hosts' files, run workflows, tell
# where files lie ...
ROUTES = re.compile(
    r"/gradio_api/(upload|upload_progress|queue/join|queue/data|heartbeat/\w+|info|cancel|reset|component_server"
    r"|startup-events|app_id|call/paint(/\w+)?)/?"
)
FILES = "/gradio_api/file="
CHALLENGE = b'Basic realm="impasto", charset="UTF-8"'
OPEN = ("/healthz",)  # needs no password: whoever watches over the machine asks there
MOST_SAID = 300  # characters of what is wrong with a request
PATIENCE = 2  # seconds that pages and streams have to end when the server does
LOCAL = ("localhost", "127.0.0.1", "::1")
# No page of ours asks another host for anything; a browser that is told so does not even if a library tries.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; object-src 'none'; "
    "form-action 'self'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
}


class Guard:
    """Refuses what must not get in: strangers, other sites' requests, requests that are too large."""

    def __init__(self, app: ASGIApp, studio: Studio, auth: str = "", hosts: tuple[str, ...] = ()):
        """auth: "user:password" or "". hosts: the names it answers to; (): any."""
        self._app, self._upload, self._files, self._hosts = app, studio.limits.upload, studio.uploads, hosts
        self._auth = f"Basic {base64.b64encode(auth.encode()).decode()}".encode() if auth else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no websockets here
        headers = dict(scope["headers"])
        if refusal := self._refusal(scope, headers):
            await _answer(send, *refusal)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._upload:
                raise HTTPException(413, self._too_large)
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":  # gradio lets all pages of this machine read what it answers
                kept = [each for each in message["headers"] if not each[0].lower().startswith(b"access-control-")]
                message["headers"] = [*kept, *HEADERS.items()]
            await send(message)

        await self._app(scope, counted, guarded)

    def _refusal(self, scope: Scope, headers: MutableMapping[bytes, bytes]) -> tuple[Any, ...] | None:
        """The status, the reason and more headers of a refusal, or None."""
        if self._hosts and _host(headers.get(b"host", b"")) not in self._hosts:
            return 400, f"this studio answers to {', '.join(self._hosts)} only: give --auth to open it to others"
        if _from_elsewhere(scope["method"], headers):
            return 403, "another site's page asked for this"
        if self._auth and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            if not secrets.compare_digest(given, self._auth):
                return (
                    401,
                    "give the user and the password",
                    {b"www-authenticate": b'Basic realm="impasto", charset="UTF-8"'},
                )
        if scope["path"].startswith("/gradio_api") and not self._known(scope["path"]):
            return 404, "there is no such page"
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._upload:
            return 413, self._too_large
        return None

    def _known(self, path: str) -> bool:
        """Whether it is a route of gradio's that is used here, or a file that it serves."""
        if path.startswith(FILES):
            return self._files.resolve() in Path(os.path.realpath(path.removeprefix(FILES))).parents
        return ROUTES.fullmatch(path) is not None

    @property
    def _too_large(self) -> str:
        return f"more than {self._upload / 1e6:g} MB: send smaller pictures"


def _from_elsewhere(method: str, headers: MutableMapping[bytes, bytes]) -> bool:
    """Whether a page of another site asked, other than by a link to follow.

    Browsers tell it by Sec-Fetch-Site where they think the connection safe; elsewhere by Origin, but of GETs.
    """
    site, safe = headers.get(b"sec-fetch-site"), method in ("GET", "HEAD")
    if site is not None:
        link = safe and headers.get(b"sec-fetch-mode") == b"navigate"
        return site not in (b"same-origin", b"none") and not link
    origin = headers.get(b"origin")
    return origin is not None and not safe and origin.partition(b"://")[2] != headers.get(b"host")


def _host(value: bytes) -> str:
    """The name in a Host header, without its port."""
    found = re.fullmatch(r"\[(.+?)\](?::\d+)?|(.*?)(?::\d+)?", value.decode("latin-1"))
    return (found[1] or found[2]) if found else ""


async def _answer(send: Send, code: int, reason: str, more: dict[bytes, bytes] | None = None) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = {b"content-type": b"application/json", b"content-length": str(len(body)).encode(), **HEADERS}
    headers |= more or {}
    await send({"type": "http.response.start", "status": code, "headers": list(headers.items())})
    await send({"type": "http.response.body", "body": body})


async def _one_line(_: Request, error: Exception) -> JSONResponse:
    """What a request lacks, in one line like every other error."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(each) for each in first["loc"][1:])
    return JSONResponse({"detail": f"{where}: {first['msg']}"[:MOST_SAID]}, 422)


def application(studio: Studio, auth: str = "", hosts: tuple[str, ...] = (), demo: bool = False) -> ASGIApp:
    """The studio's page and routes. auth, hosts: as `Guard` takes them. demo: the samples are filled in."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        studio.close()

    app = FastAPI(
        title="impasto", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        description="Paint any picture in the style of any other.", lifespan=life,
    )  # fmt: skip
    app.state.studio = studio
    app.add_exception_handler(RequestValidationError, _one_line)
    app.include_router(routes)
    os.environ["GRADIO_TEMP_DIR"] = str(studio.uploads)  # what the page uploads lies where the studio removes it
    page = page_of(studio, demo)
    gr.mount_gradio_app(
        app, page, path="", theme=theme(), css=CSS, js=SCRIPT, footer_links=[], show_error=True,
        max_file_size=studio.limits.upload, ssr_mode=False, allowed_paths=[], enable_monitoring=False, pwa=False,
    )  # fmt: skip
    page.has_launched = True  # or gradio takes any path on this machine for one of its uploads: it looks at this alone
    studio.spare()
    return Guard(app, studio, auth, hosts)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen()  # here: until then another program could still take the port
    except (OSError, OverflowError, UnicodeError, TypeError) as error:  # the last two: a host that is no name
        sock.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}; give another --port", port) from None
    return sock


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(app: ASGIApp, sock: socket.socket, ready: Callable[[], object]) -> None:
    """Serve until Ctrl-C or SIGTERM; `ready` is called when pages can be opened."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it cuts off pages that listen: no news
            await super().shutdown(sockets)

    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE)
    Server(config).run(sockets=[sock])
