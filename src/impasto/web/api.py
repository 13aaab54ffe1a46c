"""The studio for programs: paintings over HTTP, as /api/openapi.json describes them; health and
metrics."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, Response, UploadFile
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from PIL import Image
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from impasto.errors import ImpastoError, OutputError, no_room
from impasto.images.read import read_settings
from impasto.images.write import write
from impasto.painting.callbacks import read_trace
from impasto.web.addresses import network_of
from impasto.web.folders import RoomError
from impasto.web.job import BusyError, Job, PaintRequest, State, Upload
from impasto.web.multipart import BoundedRoute
from impasto.web.queue import Studio

__all__ = ["Status", "routes", "status_of"]

EVERY = 0.3  # seconds between two looks at a painting that is followed
AGAIN = "60"  # seconds after which a busy studio may be asked again
Film = Literal["", ".gif", ".webp", ".apng", ".mp4", ".webm"]
log = logging.getLogger("impasto.studio")
routes = APIRouter(route_class=BoundedRoute)  # its application's `state.studio` is the studio


class Status(BaseModel):
    """A painting that was asked for. seconds_left: null while nobody knows; terms: weighted, by
    name."""

    id: str
    state: State
    title: str
    before: int = Field(
        description="paintings that come first, those that are being painted among them"
    )
    step: int = 0
    steps: int
    level: int = 0
    levels: int = 0
    fraction: float = 0.0
    seconds: float = 0.0
    seconds_left: float | None = None
    objective: float | None = None
    terms: dict[str, float | None] = {}
    error: str = ""
    note: str = ""


def status_of(studio: Studio, job: Job) -> Status:
    """A job as programs see it."""
    done = job.progress
    known: dict[str, Any] = {}
    if done is not None:
        known = done._asdict()
    return Status(
        id=job.id,
        state=job.state,
        title=job.title,
        before=studio.place(job),
        error=job.error,
        note=job.note,
        **{"steps": job.config.steps, **known},
    )


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """What an endpoint's errors look like, for OpenAPI."""
    schema = {"type": "object", "properties": {"detail": {"type": "string"}}}
    about = {
        404: "not here",
        409: "not yet",
        413: "too large",
        422: "something to put right",
        503: "busy: try again",
        507: "no room on the server: try again later",
    }
    return {
        code: {"description": about[code], "content": {"application/json": {"schema": schema}}}
        for code in codes
    }


def _file(kind: str, *codes: int) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}},
        **_errors(*codes),
    }


JPEG = _file("image/jpeg", 404, 409)
PNG = _file("image/png", 404, 409, 507)


async def _studio(request: Request) -> Studio:
    return request.app.state.studio  # type: ignore[no-any-return]


Here = Annotated[Studio, Depends(_studio)]
Id = Annotated[
    str, InPath(description="the painting's id; who has it may see the painting and end it")
]


async def _job(id: Id, studio: Here) -> Job:
    job = studio.jobs.get(id)
    if job is None:
        raise HTTPException(
            404, "no such painting: it was never asked for, or is not kept any more"
        )
    return job


Known = Annotated[Job, Depends(_job)]


async def _finished(job: Known) -> Job:
    if not job.finished:
        raise HTTPException(409, f"there is no painting: it is {job.state}")
    return job


Finished = Annotated[Job, Depends(_finished)]


@routes.post(
    "/api/paintings", status_code=202, responses=_errors(413, 422, 503, 507), tags=["paintings"]
)
async def submit(
    studio: Here,
    request: Request,
    content: Annotated[UploadFile, File(description="the picture to paint")],
    style: Annotated[list[UploadFile], File(description="a style picture, or several")],
    settings: Annotated[str, Form(description="fields of impasto.Config as a JSON object")] = "{}",
    pictures: Annotated[
        list[UploadFile] | None,
        File(description="pictures that the settings name (masks, palette), by file name"),
    ] = None,
    timelapse: Annotated[Film, Form(description="make a film too")] = "",
    base: Annotated[str, Form(description="id of an earlier painting to paint on from")] = "",
) -> Status:
    """Ask for a painting."""
    named = {each.filename or "picture": _upload(each) for each in pictures or []}
    if len(named) < len(pictures or []):
        raise HTTPException(422, "two of the pictures have the same name: give each its own")
    order = PaintRequest(
        _upload(content),
        [_upload(each) for each in style],
        _object(settings),
        named,
        timelapse,
        base,
    )
    address = network_of(request.client.host if request.client else "")
    try:
        job = await studio.submit_async(order, f"program {address}", visitor=address)
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": AGAIN}) from None
    except RoomError as error:
        raise HTTPException(507, str(error)) from None
    except ImpastoError as error:
        raise HTTPException(422, str(error)) from None
    return status_of(studio, job)


@routes.get("/api/paintings/{id}", responses=_errors(404), tags=["paintings"])
async def status(job: Known, studio: Here) -> Status:
    """How far a painting is."""
    return status_of(studio, job)


@routes.get(
    "/api/paintings/{id}/events",
    responses=_errors(404),
    response_class=EventSourceResponse,
    tags=["paintings"],
)
async def events(job: Known, studio: Here) -> AsyncIterator[ServerSentEvent]:
    """Follow a painting: an event `progress` whenever there is news, and at the end one named like
    its state."""
    before = None
    while not job.over:
        now = status_of(studio, job)
        if now != before:
            yield ServerSentEvent(event="progress", data=now)
            before = now
        await asyncio.sleep(EVERY)
    yield ServerSentEvent(event=job.state, data=status_of(studio, job))


@routes.post("/api/paintings/{id}/pause", responses=_errors(404), tags=["paintings"])
async def pause(job: Known, studio: Here) -> Status:
    """Put a painting aside; others are painted meanwhile. After ten minutes it is ended with what
    there is."""
    studio.pause(job)
    return status_of(studio, job)


@routes.post("/api/paintings/{id}/resume", responses=_errors(404), tags=["paintings"])
async def resume(job: Known, studio: Here) -> Status:
    """Go on with a paused painting."""
    studio.resume(job)
    return status_of(studio, job)


@routes.post("/api/paintings/{id}/stop", responses=_errors(404), tags=["paintings"])
async def stop(job: Known, studio: Here) -> Status:
    """End a painting with what there is of it."""
    studio.stop(job)
    return status_of(studio, job)


@routes.delete("/api/paintings/{id}", status_code=204, responses=_errors(404), tags=["paintings"])
async def cancel(job: Known, studio: Here) -> None:
    """Cancel a painting, or remove a finished one."""
    await run_in_threadpool(studio.forget, job)


@routes.get("/api/paintings/{id}/frame", response_class=Response, responses=JPEG, tags=["pictures"])
async def frame(job: Known) -> Response:
    """The newest live picture; small, for looking at."""
    if not job.frame:
        raise HTTPException(409, "nothing has been painted yet")
    return Response(job.frame, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@routes.get(
    "/api/paintings/{id}/picture", response_class=FileResponse, responses=PNG, tags=["pictures"]
)
async def picture(job: Finished, format: Literal["png", "jpeg", "webp"] = "png") -> FileResponse:
    """The painting, with its settings inside."""
    try:
        path = await run_in_threadpool(_as, job, format)
    except OutputError as error:
        if no_room(error):
            raise
        log.warning("%s", error)
        raise HTTPException(
            422, f"this painting cannot be written as {format}; ask for png"
        ) from None
    return FileResponse(
        path, media_type=f"image/{format}", filename=f"{job.title}.{format.replace('jpeg', 'jpg')}"
    )


@routes.get(
    "/api/paintings/{id}/before", response_class=FileResponse, responses=JPEG, tags=["pictures"]
)
async def before(job: Finished) -> FileResponse:
    """The content as it is compared with the painting; at most 1600 pixels."""
    return FileResponse(job.file("before.jpg"))


@routes.get(
    "/api/paintings/{id}/after", response_class=FileResponse, responses=JPEG, tags=["pictures"]
)
async def after(job: Finished) -> FileResponse:
    """The painting as it is compared with the content; at most 1600 pixels."""
    return FileResponse(job.file("after.jpg"))


@routes.get(
    "/api/paintings/{id}/timelapse",
    response_class=FileResponse,
    responses=_file("application/octet-stream", 404, 409),
    tags=["pictures"],
)
async def timelapse(job: Finished) -> FileResponse:
    """The film of the painting, if one was asked for."""
    path = job.file(f"timelapse{job.timelapse}")
    if not job.timelapse or not path.exists():
        raise HTTPException(404, "no film was asked for")
    return FileResponse(path, filename=f"{job.title}{job.timelapse}")


@routes.get(
    "/api/paintings/{id}/curve", response_class=FileResponse, responses=PNG, tags=["pictures"]
)
async def curve(job: Finished) -> FileResponse:
    """The loss curves."""
    return FileResponse(await run_in_threadpool(_curve, job), media_type="image/png")


@routes.head("/healthz", include_in_schema=False)
@routes.get("/healthz", tags=["server"], response_class=PlainTextResponse)
async def health() -> str:
    """Whether the studio is there."""
    return "ok"


@routes.get("/metrics", tags=["server"], response_class=PlainTextResponse)
async def metrics(studio: Here) -> Response:
    """What the studio does, for Prometheus: queue, paintings, seconds, failures."""
    return Response(studio.metrics.text(), media_type="text/plain; version=0.0.4")


def _upload(file: UploadFile) -> Upload:
    return Upload(file.filename or "picture", file.file.read)


def _object(settings: str) -> dict[str, Any]:
    try:
        found = json.loads(settings or "{}")
        json.dumps(found, ensure_ascii=False).encode()  # half a character is no text
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(
            422, f"settings are {settings[:100]!r}: give a JSON object of impasto.Config's fields"
        )
    return found


def _as(job: Job, format: str) -> Path:
    """The painting's file in a format; others than PNG are made when they are first asked for."""
    painted = job.file("painting.png")
    if format == "png":
        return painted
    path = job.file(f"painting.{format}")
    if not path.exists():
        with Image.open(painted, formats=("PNG",)) as image:
            write(image, path, read_settings(painted))
    return path


def _curve(job: Job) -> Path:
    """The loss curves' file, drawn when it is first asked for."""
    from impasto.figures.plots import curves, write_plot  # half a second, and most never ask

    path = job.file("curve.png")
    if not path.exists():
        write_plot(
            curves([read_trace(str(job.file("trace.jsonl")))._replace(name=job.title)]), path
        )
    return path
