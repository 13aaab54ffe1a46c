"""The studio's server: the page and the interface for programs in one application."""

from __future__ import annotations

import ipaddress
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

from impasto.errors import ConfigError, OutputError, no_room
from impasto.version import __version__
from impasto.web.api import routes
from impasto.web.connections import Connection, end_slow, most_connections
from impasto.web.logs import OneLine, kept_short
from impasto.web.middleware import StudioMiddleware
from impasto.web.multipart import bounded_parser
from impasto.web.page import CSS, SCRIPT, page_of, theme
from impasto.web.queue import Studio

__all__ = ["Server", "application", "is_loopback", "listen", "serve"]

MOST_SAID = 300  # characters of what is wrong with a request
PATIENCE = 2  # seconds that pages and streams have to end when the server does
BURSTS = 8  # this share of the connections is taken in a turn of the loop, which counts them later
LOCAL = ("localhost", "127.0.0.1", "::1")
PARSER = bounded_parser(gradio.route_utils.GradioMultiPartParser)
log = logging.getLogger("impasto.studio")


async def _one_line(_: Request, error: Exception) -> JSONResponse:
    """What a request lacks, in one line like every other error."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(each) for each in first["loc"][1:])
    return JSONResponse({"detail": f"{where}: {first['msg']}"[:MOST_SAID]}, 422)


async def _http_error(request: Request, error: Exception) -> Response:
    """As FastAPI answers it, unless a form could not be read because the disk is full."""
    assert isinstance(error, HTTPException)
    if no_room(error):
        return await _no_output(request, error)
    return await http_exception_handler(request, error)


async def _no_output(_: Request, error: Exception) -> JSONResponse:
    """What could not be written here."""
    log.error("something could not be written: %s", error.__cause__ or error)
    if no_room(error):
        detail = "the server has no room for the pictures; try again later"
        return JSONResponse({"detail": detail}, 507)
    return JSONResponse({"detail": "the server could not write this; try again later"}, 500)


def application(
    studio: Studio, auth: str = "", hosts: tuple[str, ...] = (), demo: bool = False
) -> ASGIApp:
    """The studio's page and routes. auth, hosts: as `StudioMiddleware` takes them. demo: the
    samples are filled in."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        studio.close()

    app = FastAPI(
        title="impasto",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        description="Paint any picture in the style of any other.",
        lifespan=life,
    )
    app.state.studio = studio
    app.add_exception_handler(RequestValidationError, _one_line)
    app.add_exception_handler(HTTPException, _http_error)
    for kind in (OSError, OutputError):
        app.add_exception_handler(kind, _no_output)
    app.include_router(routes)
    # what the page uploads lies where the studio removes it
    os.environ["GRADIO_TEMP_DIR"] = str(studio.uploads)
    page = page_of(studio, demo)
    gr.mount_gradio_app(
        app,
        page,
        path="",
        theme=theme(),
        css=CSS,
        js=SCRIPT,
        footer_links=[],
        show_error=False,
        max_file_size=studio.limits.upload,
        ssr_mode=False,
        allowed_paths=[],
        enable_monitoring=False,
        pwa=False,
    )
    for module in (gradio.queueing, gradio.routes):
        module.traceback = OneLine  # type: ignore[attr-defined]
    for module in (gradio.route_utils, gradio.routes):
        module.GradioMultiPartParser = PARSER  # type: ignore[attr-defined]
    # or gradio takes any path on this machine for one of its uploads: it looks at this alone
    page.has_launched = True
    studio.pin_uploads()
    return StudioMiddleware(app, studio, auth, hosts)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen()  # here: until then another program could still take the port
    # the last two: a host that is no name
    except (OSError, OverflowError, UnicodeError, TypeError) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {reason}; give another --port", port
        ) from None
    return sock


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server(uvicorn.Server):
    """The server of one application; it ends connections whose clients are too slow."""

    def __init__(self, app: ASGIApp, ready: Callable[[], object], close: Callable[[], object]):
        """ready: called when pages can be opened; close: called before they are cut off."""
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
            # anybody on this machine could say that it comes from somewhere else
            proxy_headers=False,
        )
        super().__init__(config)
        self._ready, self._close = ready, close

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        for each in sockets or []:
            each.listen()  # uvicorn's backlog is what asyncio takes at once; more may wait
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Once in a second, look for slow clients."""
        if counter % 10 == 0:
            end_slow(self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all."""
        # it cuts off pages that listen: no news
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await to_thread.run_sync(self._close)
        await super().shutdown(sockets)


def serve(
    app: ASGIApp, sock: socket.socket, ready: Callable[[], object], close: Callable[[], object]
) -> None:
    """Serve until Ctrl-C or SIGTERM; `ready` and `close` as `Server` takes them."""
    server = Server(app, ready, close)
    with kept_short():
        server.run(sockets=[sock])
