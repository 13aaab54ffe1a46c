"""The studio's server: the page and the API in one application."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import gradio as gr
import gradio.queueing
import gradio.route_utils
import gradio.routes
import uvicorn
from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from impasto.errors import ConfigError, OutputError, is_disk_full, reason
from impasto.version import __version__
from impasto.web.api.downloads import everything, pictures
from impasto.web.api.multipart import BoundedParser
from impasto.web.api.openapi import add_documentation
from impasto.web.api.routes import routes
from impasto.web.guard.connections import Connection, end_slow, most_connections
from impasto.web.guard.logs import OneLine, kept_short
from impasto.web.guard.middleware import StudioMiddleware
from impasto.web.jobs.queue import Studio
from impasto.web.page.page import CSS, SCRIPT, page_of, theme

LONGEST = 300  # characters of an error's line
PATIENCE = 2  # seconds that pages and streams have to end when the server does
BURSTS = 8  # this part of the connections is accepted in a turn of the loop, which counts after it
LOCAL = ("localhost", "127.0.0.1", "::1")
log = logging.getLogger("impasto.studio")


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Answer an invalid request with one line, like every other error."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"][1:])
    text = first["msg"]
    if isinstance(first["input"], str) and "UploadFile" in text:  # -F content=photo.jpg
        text = f"a text, and the file itself is needed, as curl -F {first['loc'][1]}=@FILE sends it"
    return JSONResponse({"detail": f"{where}: {text}"[:LONGEST]}, 422)


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer as FastAPI does, unless a form could not be read because the disk is full."""
    assert isinstance(error, HTTPException)
    if is_disk_full(error):
        return await _not_written(request, error)
    return await http_exception_handler(request, error)


async def _not_written(_: Request, error: Exception) -> JSONResponse:
    """Answer that a file could not be written here."""
    log.error("something could not be written: %s", error.__cause__ or error)
    if is_disk_full(error):
        detail = "the server has no room for the pictures; try again later"
        return JSONResponse({"detail": detail}, 507)
    return JSONResponse({"detail": "the server could not write this; try again later"}, 500)


def application(
    studio: Studio,
    auth: str = "",
    hosts: tuple[str, ...] = (),
    demo: bool = False,
    root_path: str = "",
) -> ASGIApp:
    """The studio's page and API. auth, hosts, root_path: see `StudioMiddleware`. demo: fill in the
    samples."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        studio.close()

    app = FastAPI(
        title="impasto",
        version=__version__,
        docs_url=None,  # these pages load scripts from other hosts; /docs is our own
        redoc_url=None,
        openapi_url="/api/openapi.json",
        description="Paint any picture in the style of any other.",
        lifespan=lifespan,
        exception_handlers={
            RequestValidationError: _invalid,
            HTTPException: _http_error,
            OSError: _not_written,
            OutputError: _not_written,
        },
    )
    app.state.studio = studio
    app.include_router(routes)
    app.include_router(pictures)
    app.include_router(everything)
    add_documentation(app)
    _mount_page(app, studio, demo, root_path)
    return StudioMiddleware(app, studio, auth, hosts, root_path)


def _mount_page(app: FastAPI, studio: Studio, demo: bool, root_path: str) -> None:
    """Add the page to the application, with what gradio has no options for."""
    os.environ["GRADIO_TEMP_DIR"] = str(studio.uploads)  # where the studio deletes old uploads
    page = page_of(studio, demo)
    gr.mount_gradio_app(
        app,
        page,
        path="",
        root_path=root_path or None,
        theme=theme(),
        css=CSS,
        js=SCRIPT,
        footer_links=[],
        show_error=False,
        max_file_size=studio.limits.largest_upload,
        ssr_mode=False,
        allowed_paths=[],
        enable_monitoring=False,
        pwa=False,
    )
    for module in (gradio.queueing, gradio.routes):
        module.traceback = OneLine  # type: ignore[attr-defined]
    for module in (gradio.route_utils, gradio.routes):
        module.GradioMultiPartParser = BoundedParser  # type: ignore[attr-defined]
    # else gradio takes any path on this machine for one of its uploads: it looks at this alone
    page.has_launched = True
    studio.pin_uploads()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen()  # at once: until then another program could take the port
    except (OSError, OverflowError, UnicodeError, TypeError) as error:  # the last two: a bad name
        sock.close()
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {reason(error)}; give another --port", port
        ) from None
    return sock


class Server(uvicorn.Server):
    """The server of one application; it closes connections whose clients are too slow."""

    def __init__(self, app: ASGIApp, ready: Callable[[], object], close: Callable[[], object]):
        """ready: called when pages can be opened. close: called before they are cut off."""
        most = most_connections()
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Connection,
            ws="none",
            log_level="warning",
            timeout_graceful_shutdown=PATIENCE,
            limit_concurrency=most,
            backlog=max(1, most // BURSTS),
            proxy_headers=False,  # any program on this machine could claim another address
        )
        super().__init__(config)
        self._ready, self._close = ready, close

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        for sock in sockets or []:
            sock.listen()  # uvicorn's backlog is what asyncio accepts at once; more may wait
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Once a second, close slow connections."""
        if counter % 10 == 0:
            end_slow(self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all, without uvicorn's lines about pages that are cut off."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await to_thread.run_sync(self._close)
        await super().shutdown(sockets)


def serve(
    app: ASGIApp, sock: socket.socket, ready: Callable[[], object], close: Callable[[], object]
) -> None:
    """Serve until Ctrl-C or SIGTERM. ready, close: see `Server`."""
    with kept_short():
        Server(app, ready, close).run(sockets=[sock])
