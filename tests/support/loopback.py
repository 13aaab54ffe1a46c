"""A server on this machine that sends one file: by ranges or not, with a line that breaks, or not
at all."""

import random
import socket
import struct
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = random.Random(0).randbytes(300_000)


class Server(ThreadingHTTPServer):
    """Sends `body` for every path. cuts: how many bytes each of the next answers sends before the
    line breaks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.ranges: list[str | None] = []  # what each request asked for
        self.cuts: Iterator[int] = iter(())
        self.obeys_ranges = self.says_length = True
        self.reset = False  # break the line with an RST instead of a FIN
        self.arrived = 0  # bytes that the client has read, if it calls `progress`
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/some/folder/weights.h5"

    def progress(self, done: int, total: int) -> None:
        self.arrived = done

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self.close_request(request)  # no polite shutdown first: a reset must come as a reset


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        body, status, begin = self.server.body, self.server.status, 0
        if asked and self.server.obeys_ranges and status == 200:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = 206 if begin < len(body) else 416
        if status >= 400:
            self.send_error(status)
            return
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        if self.server.says_length:
            self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        cut = next(self.server.cuts, None)
        self.wfile.write(body[begin:] if cut is None else body[begin : begin + cut])
        if cut is not None and self.server.reset:
            deadline = time.monotonic() + 5
            while self.server.arrived < begin + cut and time.monotonic() < deadline:
                time.sleep(0.001)  # a reset throws away what was not yet read
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, *args: object) -> None:
        pass
