"""The whole studio on a free port of this machine, with the tiny network."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import uvicorn

from impasto.config import Machine
from impasto.web import server
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.queue import Studio

MACHINE = Machine(device="cpu", precision="float32")


class Place(NamedTuple):
    """A studio that is open."""

    url: str
    studio: Studio
    server: uvicorn.Server


@contextmanager
def running(
    weights: Path,
    auth: str = "",
    hosts: tuple[str, ...] = server.LOCAL,
    demo: bool = False,
    root_path: str = "",
    **limits: Any,
) -> Iterator[Place]:
    """A studio as `impasto serve` opens it. limits: fields of `Limits`."""
    if "upload" in limits:
        limits.setdefault("clip", limits["upload"])
    studio = Studio(Limits(**limits), MACHINE, [str(weights)])
    # the application sets GRADIO_TEMP_DIR
    with patch.dict("os.environ"), server.listen("127.0.0.1", 0) as sock:
        try:
            studio.open()
            app = asyncio.run(_application(studio, auth, () if auth else hosts, demo, root_path))
            ready = threading.Event()
            service = server.Server(app, ready.set, lambda: None)
            thread = threading.Thread(target=service.run, kwargs={"sockets": [sock]}, daemon=True)
            thread.start()
            assert ready.wait(20), "the server did not start"
            yield Place(f"http://127.0.0.1:{sock.getsockname()[1]}", studio, service)
            service.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server did not end"
        finally:
            studio.close()


async def _application(*given: Any) -> Any:
    """Where a loop is running: elsewhere gradio begins a dozen, and leaves them open."""
    return server.application(*given)
