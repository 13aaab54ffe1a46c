"""`impasto serve`: run the studio, a web page and an HTTP API."""

from __future__ import annotations

import math
import re
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.cli import options
from impasto.config import MOST_STEPS, Config, Machine, changed_by
from impasto.errors import ConfigError
from impasto.extras import EXTRAS, needs_extra
from impasto.web.guard.visitors import is_loopback
from impasto.web.jobs.limits import MORE_IN, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from impasto.web.jobs.queue import Studio

LIMITS = Limits()  # the defaults


@click.command(cls=options.GroupedCommand)
@click.option(
    "--host",
    default="127.0.0.1",
    help="the address to listen on [default: 127.0.0.1, this machine only]",
)
@click.option(
    "--port",
    default=7860,
    type=click.IntRange(0, 65535),
    help="the port; 0: any free one [default: 7860]",
    metavar="N",
)
@click.option(
    "--auth",
    envvar="IMPASTO_AUTH",
    metavar="USER:PASSWORD",
    help="require this password; also $IMPASTO_AUTH, which `ps` does not show",
)
@click.option(
    "--no-auth", is_flag=True, help="require no password, although others can reach --host"
)
@click.option(
    "--workers",
    default=LIMITS.workers,
    type=click.IntRange(1, 64),
    help=f"paintings at a time [default: {LIMITS.workers}]",
    metavar="N",
)
@click.option(
    "--queue",
    default=LIMITS.waiting,
    type=click.IntRange(1, 10_000),
    help=f"paintings that may wait [default: {LIMITS.waiting}]",
    metavar="N",
)
@click.option(
    "--max-upload",
    default=LIMITS.upload / 1e6,
    type=click.FloatRange(0.1, 10_000),
    help=f"MB of one upload [default: {LIMITS.upload / 1e6:g}]",
    metavar="MB",
)
@click.option(
    "--max-pixels",
    default=LIMITS.pixels,
    type=click.IntRange(256, 2**40),
    metavar="N",
    help=f"pixels of a painting; what is uploaded may have {MORE_IN} times as many "
    f"[default: {LIMITS.pixels}, {math.isqrt(LIMITS.pixels)} x {math.isqrt(LIMITS.pixels)}]",
)
@click.option(
    "--max-steps",
    type=click.IntRange(1),
    help=f"steps of a painting [default: {LIMITS.steps}; any number on your own machine]",
    metavar="N",
)
@click.option(
    "--max-clip",
    default=LIMITS.clip / 1e6,
    type=click.FloatRange(0.1, 100_000),
    help=f"MB of a clip to make a film of [default: {LIMITS.clip / 1e6:g}]",
    metavar="MB",
)
@click.option(
    "--max-frames",
    type=click.IntRange(1),
    help=f"frames of a film [default: {LIMITS.frames}; any number on your own machine]",
    metavar="N",
)
@click.option(
    "--max-minutes",
    type=click.FloatRange(0.1),
    metavar="MINUTES",
    help="time of a painting or a film; then it ends with what there is "
    f"[default: {LIMITS.seconds / 60:g}; any time on your own machine]",
)
@click.option(
    "--keep",
    default=LIMITS.keep / 60,
    type=click.FloatRange(0.1),
    metavar="MINUTES",
    help="how long paintings are kept after their visitor was last there, and go on without "
    f"anybody watching although others wait [default: {LIMITS.keep / 60:g}]",
)
@click.option(
    "--save-to",
    metavar="FOLDER",
    help="a folder where finished paintings are also written; none: nowhere [default: "
    "~/Pictures/impasto on your own machine, else none]",
)
@click.option(
    "--root-path",
    default="",
    metavar="PATH",
    help="where a proxy shows the studio, as /studio [default: at its root]",
)
@click.option("--demo", is_flag=True, help="fill in the sample pictures")
@click.option("--open", "show_it", is_flag=True, help="show the page in the system's browser")
def serve(
    host: str,
    port: int,
    auth: str | None,
    no_auth: bool,
    workers: int,
    queue: int,
    max_upload: float,
    max_pixels: int,
    max_steps: int | None,
    max_clip: float,
    max_frames: int | None,
    max_minutes: float | None,
    keep: float,
    save_to: str | None,
    root_path: str,
    demo: bool,
    show_it: bool,
    **values: Any,
) -> None:
    """Open the studio: a web page to paint on, with an HTTP API.

    impasto serve
    """
    # before seconds of imports: bad values fail at once
    config, machine = changed_by(options.given(values), Config())
    numbers = {"--max-upload": max_upload, "--max-clip": max_clip, "--max-minutes": max_minutes}
    _check(auth, {**numbers, "--keep": keep})
    own = _is_own(host, auth, no_auth)
    if root_path and not re.fullmatch(r"(/[\w.~-]+)+", root_path, re.ASCII):
        raise ConfigError(
            f"--root-path is {root_path!r}: give a path without a slash at its end, as /studio"
        )
    _exit_on_signals()
    with _extra():
        from impasto.web.jobs.folders import temporary_files_in
        from impasto.web.jobs.queue import Studio
    from impasto.backbone.weights import cached, known

    networks = dict.fromkeys([config.backbone, *(name for name in known() if cached(name))])
    limits = Limits(
        workers,
        queue,
        round(max_upload * 1e6),
        max_pixels,
        max_steps or (MOST_STEPS if own else LIMITS.steps),
        keep * 60,
        max_minutes * 60 if max_minutes else (math.inf if own else LIMITS.seconds),
        round(max_clip * 1e6),
        max_frames or (sys.maxsize if own else LIMITS.frames),
    )
    studio = Studio(limits, machine, list(networks), _folder(save_to, own))
    try:
        with temporary_files_in(studio.folder):  # before gradio is imported
            _open(studio, host, port, auth or "", own, demo, show_it, root_path)
    finally:
        studio.close()


def _is_own(host: str, auth: str | None, no_auth: bool) -> bool:
    """True if only the user of this machine can reach the studio. Raises ConfigError.

    With --auth or --no-auth it answers to any name: a proxy may stand before it.
    """
    local = is_loopback(host)
    if not local and not auth and not no_auth:
        raise ConfigError(
            f"--host {host} opens the studio to others: give --auth USER:PASSWORD, or "
            "--no-auth to let everybody in",
            host,
        )
    return local and not auth and not no_auth


def _folder(given: str | None, own: bool) -> Path | None:
    """The folder for copies of finished paintings, if there is to be one."""
    if given is None:
        return Path.home() / "Pictures" / "impasto" if own else None
    return None if given == "none" else Path(given).expanduser()


def _check(auth: str | None, numbers: dict[str, float | None]) -> None:
    """Raise ConfigError for a malformed password, and for numbers that are not finite."""
    if auth is not None and not (re.fullmatch(r"[^:]+:.+", auth) and auth.isprintable()):
        raise ConfigError(
            "--auth takes a user and a password with a colon between: --auth ann:secret"
        )
    for name, value in numbers.items():
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"{name} is {value}: give a number", value)


def _exit_on_signals() -> None:
    """Make SIGTERM and SIGHUP exit normally, so that all files are removed.

    This holds until uvicorn installs its own handlers.
    """
    if threading.current_thread() is threading.main_thread():
        for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
            signal.signal(number, lambda *_: sys.exit(0))


@contextmanager
def _extra() -> Iterator[None]:
    """Convert the ImportError of a missing library of the extra to a ConfigError."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").split(".")[0] not in EXTRAS["web"]:
            raise
        raise ConfigError(needs_extra("the studio", "web")) from None


def _open(
    studio: Studio, host: str, port: int, auth: str, own: bool, demo: bool, show_it: bool, root: str
) -> None:
    """Serve the studio at an address until a signal ends it."""
    with _extra():
        from impasto.web import server

    with server.listen(host, port) as sock:
        studio.open()
        hosts = (*server.LOCAL, host) if own else ()
        app = server.application(studio, auth, hosts, demo, root)
        address = f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"
        server.serve(app, sock, lambda: _announce(address, show_it), studio.close)


options.add_settings(serve, "backbone", *Machine.model_fields)


def _announce(address: str, show_it: bool) -> None:
    click.echo(f"the studio is open at {address}  (Ctrl-C closes it)")
    if show_it:
        click.launch(address)
