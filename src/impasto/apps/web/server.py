"""The studio's server: the page and the interface for programs in one application, and what guards it."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from impasto import __version__
from impasto.apps.web.api import routes
from impasto.apps.web.page import CSS, SCRIPT, page_of, theme
from impasto.apps.web.studio import Studio
from impasto.errors import ConfigError

__all__ = ["application", "is_loopback", "listen", "serve"]

OPEN = ("/healthz",)  # needs no password: whoever watches over the machine asks there
PATIENCE = 2  # seconds that pages and streams have to end when the server does
LOCAL = ("localhost", "127.0.0.1", "::1")
# No page of ours asks another host for anything; a browser that is told so does not even if a library tries.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; object-src 'none'; "
    "form-action 'self'"
)


class Guard:
    """Refuses what must not get in: strangers, other sites' requests, requests that are too large."""

    def __init__(self, app: ASGIApp, upload: int, auth: str = "", hosts: tuple[str, ...] = ()):
        """upload: bytes of a request. auth: "user:password" or "". hosts: the names it answers to; (): any."""
        self._app, self._upload, self._hosts = app, upload, hosts
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
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"same-origin"),
                ]
            await send(message)

        await self._app(scope, counted, guarded)

    def _refusal(self, scope: Scope, headers: MutableMapping[bytes, bytes]) -> tuple[Any, ...] | None:
        """The status, the reason and more headers of a refusal, or None."""
        if self._hosts and _host(headers.get(b"host", b"")) not in self._hosts:
            return 400, f"this studio answers to {', '.join(self._hosts)} only: give --auth to open it to others"
        if scope["method"] not in ("GET", "HEAD") and headers.get(b"sec-fetch-site") == b"cross-site":
            return 403, "another site's page asked for this"
        if self._auth and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            if not secrets.compare_digest(given, self._auth):
                return 401, "give the user and the password", {b"www-authenticate": b'Basic realm="impasto"'}
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._upload:
            return 413, self._too_large
        return None

    @property
    def _too_large(self) -> str:
        return f"more than {self._upload / 1e6:g} MB: send smaller pictures"


def _host(value: bytes) -> str:
    """The name in a Host header, without its port."""
    found = re.fullmatch(r"\[(.+?)\](?::\d+)?|(.*?)(?::\d+)?", value.decode("latin-1"))
    return (found[1] or found[2]) if found else ""


async def _answer(send: Send, code: int, reason: str, more: dict[bytes, bytes] | None = None) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = {b"content-type": b"application/json", b"content-length": str(len(body)).encode(), **(more or {})}
    await send({"type": "http.response.start", "status": code, "headers": list(headers.items())})
    await send({"type": "http.response.body", "body": body})


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
    app.include_router(routes)
    os.environ["GRADIO_TEMP_DIR"] = str(studio.uploads)  # what the page uploads lies where the studio removes it
    gr.mount_gradio_app(
        app, page_of(studio, demo), path="", theme=theme(), css=CSS, js=SCRIPT, footer_links=[], show_error=True,
        max_file_size=studio.limits.upload, ssr_mode=False, allowed_paths=[], enable_monitoring=False, pwa=False,
    )  # fmt: skip
    studio.spare()
    return Guard(app, studio.limits.upload, auth, hosts)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except (OSError, OverflowError) as error:
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

    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE)
    Server(config).run(sockets=[sock])
