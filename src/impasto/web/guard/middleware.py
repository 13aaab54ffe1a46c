"""Refuse requests of strangers and of other sites, requests that are too large, and unused routes.

Starlette's TrustedHostMiddleware knows host names only: no sizes by route, no Sec-Fetch-Site, no
password.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import secrets
from pathlib import Path

from fastapi import HTTPException
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from impasto.errors import is_disk_full
from impasto.web.guard.passwords import Guesses
from impasto.web.guard.visitors import new_cookie, owner_of
from impasto.web.jobs.queue import Studio

log = logging.getLogger("impasto.studio")
# Those of gradio's routes that the page and gradio's clients use. Others fetch files of other
# hosts, run workflows, reveal paths ...
ROUTES = re.compile(
    r"/gradio_api/(upload|upload_progress|queue/join|queue/data|heartbeat/[\w-]+|info|cancel|reset"
    r"|component_server|startup-events|app_id|call/paint(/\w+)?)/?"
)
FILES = "/gradio_api/file="
UPLOADS = ("/gradio_api/component_server", "/api/paintings")  # of pictures
CLIPS = ("/gradio_api/upload", "/api/films")  # or of clips
SMALL = 1_000_000  # bytes of all other bodies: 36 MB of JSON brackets stopped all answers for 12 s
OURS = ("/api/", "/healthz", "/metrics")  # all other routes are gradio's
OPEN = ("/healthz",)  # needs no password: monitoring asks there
LOGGED = 200  # characters of a path, or of an error, in the log
# The page asks no other host for anything; with this, browsers refuse even if a library tries.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; "
    "object-src 'none'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class StudioMiddleware:
    """The one check of all requests, before any route sees them."""

    def __init__(
        self,
        app: ASGIApp,
        studio: Studio,
        auth: str = "",
        hosts: tuple[str, ...] = (),
        root_path: str = "",
    ):
        """auth: "user:password" or "". hosts: the names it answers to; (): any. root_path: where a
        proxy shows the studio, as "/studio"."""
        self._app, self._studio, self._hosts, self._root = app, studio, hosts, root_path
        self._guesses = Guesses()
        self._auth = f"Basic {base64.b64encode(auth.encode()).decode()}".encode() if auth else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on. There are no WebSockets here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            scope = _below(scope, self._root)
            headers = Headers(scope=scope)
            refusal = (
                self._check_origin(scope, headers)
                or await self._check_password(
                    scope, headers.get("authorization", "").encode("latin-1")
                )
                or self._check_route(scope, headers)
            )
            await (refusal or self._pass_on)(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered by its route; where gradio's code fails, refuse it instead."""
        received, started, failed = 0, False, False
        ours, most = scope["path"].startswith(OURS), self._most(scope, Headers(scope=scope))

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, _too_large(most))
            return message

        owner = owner_of(Request(scope).cookies)
        newcomer = scope["path"] == "/" and not owner
        if owner:
            self._studio.seen(owner)

        async def guarded(message: Message) -> None:
            nonlocal started, failed
            failed = failed or (not ours and message.get("status", 0) >= 500)
            if failed:
                return
            started = True
            if message["type"] == "http.response.start":
                message["headers"] = _guarded(message["headers"])
                if newcomer:
                    message["headers"].append((b"set-cookie", new_cookie().encode()))
            await send(message)

        refusal = 400, "this was not understood"
        try:
            await self._app(scope, limited, guarded)
        except Exception as error:  # gradio raises anything at requests that it does not expect
            if ours:
                raise
            failed = not started  # if it is, uvicorn closes the connection
            line = f"{scope['path'][:LOGGED]}: {type(error).__name__}: {str(error)[:LOGGED]}"
            log.warning("a request was not understood: %s", " ".join(line.split()))
            if is_disk_full(error):
                refusal = 507, "the server has no room for the pictures; try again later"
        if failed:
            await _refusal(*refusal)(scope, receive, send)

    def _check_origin(self, scope: Scope, headers: Headers) -> Response | None:
        """The refusal of another host name, or of another site's page."""
        if self._hosts and _host_name(headers.get("host", "")) not in self._hosts:
            names = ", ".join(self._hosts)
            return _refusal(
                400, f"this studio answers to {names} only: give --auth to open it to others"
            )
        if _from_other_site(scope["method"], headers):
            return _refusal(403, "another site's page asked for this")
        return None

    async def _check_password(self, scope: Scope, given: bytes) -> Response | None:
        """The refusal of a request without the password; that of a wrong one comes late."""
        if not self._auth or scope["path"] in OPEN:
            return None
        address = (scope.get("client") or ("",))[0]
        if given and self._guesses.too_many(address):
            text = "too many wrong passwords: try again in some seconds"
            return _refusal(429, text, {"retry-after": "5"})
        if secrets.compare_digest(given[:6].title() + given[6:], self._auth):
            self._guesses.right(address)
            return None
        if given:
            await self._guesses.wrong(address)
        challenge = {"www-authenticate": 'Basic realm="impasto", charset="UTF-8"'}
        return _refusal(401, "give the user and the password", challenge)

    def _check_route(self, scope: Scope, headers: Headers) -> Response | None:
        """The refusal of an unused route, of an upload when there is no room, of a large body."""
        path, most = scope["path"], self._most(scope, headers)
        if path == "/openapi.json" or (path.startswith("/gradio_api") and not self._known(path)):
            return _refusal(404, "there is no such page")
        if path.startswith("/gradio_api/upload") and self._studio.uploads_full:
            text = "there is no room for more pictures now; try again in some minutes"
            return _refusal(503, text)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > most:
            return _refusal(413, _too_large(most))
        return None

    def _most(self, scope: Scope, headers: Headers) -> int:
        """Bytes that the body of a request may have."""
        kinds, upload = headers.getlist("content-type"), self._studio.limits.upload
        # anything else is read as JSON
        is_form = len(kinds) == 1 and kinds[0].startswith("multipart/form-data")
        path = scope["path"].removesuffix("/")
        if is_form and scope["method"] == "POST":
            if path in CLIPS:
                return self._studio.limits.largest_upload + (upload if path == "/api/films" else 0)
            if path in UPLOADS:
                return upload
        return min(SMALL, upload)

    def _known(self, path: str) -> bool:
        """True for a route of gradio's that is used here, and for an upload."""
        if path.startswith(FILES):
            named = path.removeprefix(FILES)
            uploads = self._studio.uploads.resolve()
            return "\0" not in named and uploads in Path(os.path.realpath(named)).parents
        return ROUTES.fullmatch(path) is not None


def _below(scope: Scope, root: str) -> Scope:
    """The request with its path below `root`, whether the proxy has taken that off or not.

    Every one in front is taken off, for Starlette would take off one more after our checks.
    """
    path, raw = scope["path"], scope.get("raw_path") or b""
    while root and f"{path}/".startswith(f"{root}/"):
        path, raw = path[len(root) :], raw.removeprefix(root.encode())
    return {**scope, "root_path": root, "path": path or "/", "raw_path": raw or b"/"}


def _too_large(most: int) -> str:
    return f"more than {most / 1e6:g} MB: send smaller pictures"


def _guarded(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers with ours; without gradio's leave for all pages of this machine."""
    kept = [header for header in headers if not header[0].lower().startswith(b"access-control-")]
    return [*kept, *RAW_HEADERS]


def _from_other_site(method: str, headers: Headers) -> bool:
    """True if a page of another site asked, other than by a link to follow.

    Browsers say so in Sec-Fetch-Site where they consider the connection safe; elsewhere in Origin,
    except for GETs.
    """
    site, safe = headers.get("sec-fetch-site"), method in ("GET", "HEAD")
    if site is not None:
        link = safe and headers.get("sec-fetch-mode") == "navigate"
        return site not in ("same-origin", "none") and not link
    origin = headers.get("origin")
    return origin is not None and not safe and origin.partition("://")[2] != headers.get("host")


def _host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    match = re.fullmatch(r"\[(.+?)\](?::\d+)?|(.*?)(?::\d+)?", header)
    return (match[1] or match[2]).lower() if match else ""


def _refusal(code: int, reason: str, more: dict[str, str] | None = None) -> Response:
    """An error in JSON, like FastAPI's."""
    return JSONResponse({"detail": reason}, code, {**HEADERS, **(more or {})})
