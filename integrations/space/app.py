"""impasto's studio as a Hugging Face Space, on the free processor."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
from typing import Any

from impasto.process import prepare_process

prepare_process()  # before torch is imported

from impasto.config import Machine  # noqa: E402
from impasto.web.jobs.folders import temporary_files_in  # noqa: E402
from impasto.web.jobs.limits import Limits  # noqa: E402
from impasto.web.jobs.queue import Studio  # noqa: E402

# two cores and 16 GB for everybody
LIMITS = Limits(
    waiting=12, upload=20_000_000, pixels=1024 * 1024, steps=500, keep=30 * 60, seconds=10 * 60
)
PORT = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))  # a Space is expected at 7860
ITSELF, EMBEDDED = b"frame-ancestors 'self'", b"frame-ancestors 'self' https://huggingface.co"


class InSpace:
    """An application behind Hugging Face's proxy, in a frame of its page.

    The proxy is the only client there is, so its word on who is asking is taken: visitors take
    turns by their own addresses.
    """

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""

        async def framed(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                message["headers"] = [(name, v.replace(ITSELF, EMBEDDED)) for name, v in headers]
            await send(message)

        if scope["type"] == "http":
            named = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1")
            if address := visitor(named):
                scope = {**scope, "client": (address, 0)}
        await self._app(scope, receive, framed)


def visitor(forwarded: str) -> str:
    """Return the last public address of a header X-Forwarded-For: those before may be made up."""
    for text in reversed(forwarded.split(",")):
        try:
            address = ipaddress.ip_address(text.strip())
        except ValueError:
            return ""
        if address.is_global:
            return str(address)
    return ""


def main() -> None:
    """Serve until the Space is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    studio = Studio(LIMITS, Machine(), ["compact", "vgg19"])
    try:
        with temporary_files_in(studio.folder):
            from impasto.web import server  # imports gradio, which asks for the folder

            with server.listen("0.0.0.0", PORT) as sock:
                studio.open()
                app = InSpace(server.application(studio, demo=True))
                server.serve(app, sock, lambda: print("the studio is open"), studio.close)
    finally:
        studio.close()


if __name__ == "__main__":
    main()
