"""What guards the studio: strangers, other sites' pages, requests that are too large, routes that
nobody needs."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import secrets
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from impasto.errors import no_room
from impasto.web.guesses import Guesses
from impasto.web.queue import Studio

__all__ = ["StudioMiddleware"]

log = logging.getLogger("impasto.studio")
# Those of gradio's routes that the page and gradio's clients use. Others fetch other hosts' files,
# run workflows, tell where files lie ...
ROUTES = re.compile(
    r"/gradio_api/(upload|upload_progress|queue/join|queue/data|heartbeat/[\w-]+|info|cancel|reset|component_server"
    r"|startup-events|app_id|call/paint(/\w+)?)/?"
)
FILES = "/gradio_api/file="
# their forms may be large
UPLOADS = ("/gradio_api/upload", "/gradio_api/component_server", "/api/paintings")
# bytes of any other request: as JSON, 36 MB of brackets kept everybody waiting for 12 seconds
SMALL = 1_000_000
CHALLENGE = b'Basic realm="impasto", charset="UTF-8"'
OURS = ("/api/", "/healthz", "/metrics")  # all other routes are gradio's
SAID = 200  # characters of a path, or of an error, in the log
OPEN = ("/healthz",)  # needs no password: whoever watches over the machine asks there
# No page of ours asks another host for anything; a browser that is told so does not even if a
# library tries.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; "
    "object-src 'none'; "
    "form-action 'self'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
}


class StudioMiddleware:
    """Refuses what must not get in: strangers, other sites' requests, requests that are too
    large."""

    def __init__(self, app: ASGIApp, studio: Studio, auth: str = "", hosts: tuple[str, ...] = ()):
        """auth: "user:password" or "". hosts: the names it answers to; (): any."""
        self._app, self._studio, self._hosts = app, studio, hosts
        self._upload, self._files = studio.limits.upload, studio.uploads
        self._guesses = Guesses()
        self._auth = f"Basic {base64.b64encode(auth.encode()).decode()}".encode() if auth else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no websockets here
        headers = dict(scope["headers"])
        if refusal := await self._refusal(scope, headers):
            await _answer(send, *refusal)
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered; where gradio fails at it, in its place."""
        taken, started, broken, ours = 0, False, False, scope["path"].startswith(OURS)
        most = self._most(scope)

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(413, _too_large(most))
            return message

        async def guarded(message: Message) -> None:
            nonlocal broken, started
            broken = broken or (not ours and message.get("status", 0) >= 500)
            if broken:
                return
            started = True
            # gradio lets all pages of this machine read what it answers
            if message["type"] == "http.response.start":
                kept = [
                    each
                    for each in message["headers"]
                    if not each[0].lower().startswith(b"access-control-")
                ]
                message["headers"] = [*kept, *HEADERS.items()]
            await send(message)

        refusal = 400, "this was not understood"
        try:
            await self._app(scope, counted, guarded)
        # gradio raises what it likes at requests that it does not expect
        except Exception as error:
            if ours:
                raise
            broken = not started  # if it is, uvicorn closes the connection
            said = f"{scope['path'][:SAID]}: {type(error).__name__}: {str(error)[:SAID]}"
            log.warning("a request was not understood: %s", " ".join(said.split()))
            if no_room(error):
                refusal = 507, "the server has no room for the pictures; try again later"
        if broken:
            await _answer(send, *refusal)

    async def _refusal(
        self, scope: Scope, headers: MutableMapping[bytes, bytes]
    ) -> tuple[Any, ...] | None:
        """The status, the reason and more headers of a refusal, or None."""
        return (
            self._stranger(scope, headers)
            or await self._without_password(scope, headers.get(b"authorization", b""))
            or self._unwanted(scope, headers)
        )

    def _stranger(
        self, scope: Scope, headers: MutableMapping[bytes, bytes]
    ) -> tuple[Any, ...] | None:
        """The refusal of who may not come in at all."""
        if self._hosts and _host(headers.get(b"host", b"")) not in self._hosts:
            return (
                400,
                f"this studio answers to {', '.join(self._hosts)} only: give --auth to open "
                "it to others",
            )
        if _from_elsewhere(scope["method"], headers):
            return 403, "another site's page asked for this"
        return None

    async def _without_password(self, scope: Scope, given: bytes) -> tuple[Any, ...] | None:
        """The refusal of who does not give the password; that of a wrong one comes late."""
        if not self._auth or scope["path"] in OPEN:
            return None
        address = (scope.get("client") or ("",))[0]
        if given and self._guesses.too_many(address):
            return (
                429,
                "too many wrong passwords: try again in some seconds",
                {b"retry-after": b"5"},
            )
        if secrets.compare_digest(given[:6].title() + given[6:], self._auth):
            self._guesses.right(address)
            return None
        if given:
            await self._guesses.wrong(address)
        return 401, "give the user and the password", {b"www-authenticate": CHALLENGE}

    def _unwanted(
        self, scope: Scope, headers: MutableMapping[bytes, bytes]
    ) -> tuple[Any, ...] | None:
        """The refusal of what is not answered to anybody."""
        path = scope["path"]
        if path == "/openapi.json" or (path.startswith("/gradio_api") and not self._known(path)):
            return 404, "there is no such page"
        if path.startswith("/gradio_api/upload") and self._studio.uploads_full:
            return 503, "there is no room for more pictures now; try again in some minutes"
        length, most = headers.get(b"content-length", b"0"), self._most(scope)
        if length.isdigit() and int(length) > most:
            return 413, _too_large(most)
        return None

    def _most(self, scope: Scope) -> int:
        """Bytes that the body of a request may have."""
        kinds = [value for name, value in scope["headers"] if name == b"content-type"]
        # else it is read as JSON
        is_form = len(kinds) == 1 and kinds[0].startswith(b"multipart/form-data")
        large = is_form and scope["method"] == "POST" and scope["path"].removesuffix("/") in UPLOADS
        return self._upload if large else min(SMALL, self._upload)

    def _known(self, path: str) -> bool:
        """Whether it is a route of gradio's that is used here, or a file that it serves."""
        if path.startswith(FILES):
            named = path.removeprefix(FILES)
            return (
                "\0" not in named and self._files.resolve() in Path(os.path.realpath(named)).parents
            )
        return ROUTES.fullmatch(path) is not None


def _too_large(most: int) -> str:
    return f"more than {most / 1e6:g} MB: send smaller pictures"


def _from_elsewhere(method: str, headers: MutableMapping[bytes, bytes]) -> bool:
    """Whether a page of another site asked, other than by a link to follow.

    Browsers tell it by Sec-Fetch-Site where they think the connection safe; elsewhere by Origin,
    but of GETs.
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
    return (found[1] or found[2]).lower() if found else ""


async def _answer(
    send: Send, code: int, reason: str, more: dict[bytes, bytes] | None = None
) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = {
        b"content-type": b"application/json",
        b"content-length": str(len(body)).encode(),
        **HEADERS,
    }
    headers |= more or {}
    await send({"type": "http.response.start", "status": code, "headers": list(headers.items())})
    await send({"type": "http.response.body", "body": body})
