"""The studio for programs: paintings over HTTP (see /api/openapi.json), health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from impasto.errors import as_arguments
from impasto.fields import changed_fields
from impasto.figures.timelapse import FilmSuffix
from impasto.presets import PRESETS
from impasto.web.endpoints import (
    ACCEPTED,
    ONE,
    SETTINGS,
    AnyJob,
    LookName,
    NamedPictures,
    PresetName,
    Status,
    TheStudio,
    errors,
    named_uploads,
    only_fields,
    settings_of,
    status_of,
    taken,
    upload_of,
)
from impasto.web.multipart import BoundedRoute
from impasto.web.request import PaintRequest

__all__ = ["routes"]

EVERY = 0.3  # seconds between two looks at a painting that is followed
FilmOrNone = Literal["", FilmSuffix]


routes = APIRouter(route_class=BoundedRoute)  # its application's `state.studio` is the studio
paintings = APIRouter(prefix=ONE, tags=["paintings"], responses=errors(404))


class PresetInfo(BaseModel):
    """A preset: its settings that are not the defaults, and where its numbers come from."""

    name: str
    about: str
    settings: dict[str, Any]
    sources: dict[str, str]


FIELDS = ("content", "style", "preset", "look", "settings", "pictures", "timelapse", "base")


@routes.post(
    "/api/paintings",
    status_code=202,
    responses=ACCEPTED,
    tags=["paintings"],
    dependencies=[only_fields(*FIELDS)],
)
async def submit(
    studio: TheStudio,
    request: Request,
    response: Response,
    content: Annotated[UploadFile, File(description="the picture to paint")],
    style: Annotated[list[UploadFile], File(description="a style picture, or several")],
    preset: PresetName = "",
    look: LookName = "",
    settings: Annotated[
        str, Form(description="settings as a JSON object, see Settings", json_schema_extra=SETTINGS)
    ] = "{}",
    pictures: NamedPictures = None,
    timelapse: Annotated[FilmOrNone, Form(description="make a film too")] = "",
    base: Annotated[str, Form(description="id of an earlier painting to start from")] = "",
) -> Status:
    """Ask for a painting."""
    order = PaintRequest(
        upload_of(content),
        [upload_of(file) for file in style],
        settings_of(preset, look, settings),
        named_uploads(pictures),
        timelapse,
        base,
    )
    return await taken(studio, request, response, order)


@routes.get("/api/presets", tags=["settings"])
async def presets() -> list[PresetInfo]:
    """The presets, by name."""
    return [
        PresetInfo(
            name=name,
            about=as_arguments(each.about),
            settings=dict(changed_fields(each.config)),
            sources={field: as_arguments(text) for field, text in each.sources.items()},
        )
        for name, each in PRESETS.items()
    ]


@paintings.get("")
async def status(job: AnyJob, studio: TheStudio) -> Status:
    """The state and the progress of a painting."""
    return status_of(studio, job)


@paintings.get("/events", response_class=EventSourceResponse)
async def events(job: AnyJob, studio: TheStudio) -> AsyncIterator[ServerSentEvent]:
    """Follow a painting: an event `progress` for each change, and at the end one named like its
    state."""
    last = None
    while not job.over:
        now = status_of(studio, job)
        if now != last:
            yield ServerSentEvent(event="progress", data=now)
            last = now
        await asyncio.sleep(EVERY)
    yield ServerSentEvent(event=job.state, data=status_of(studio, job))


@paintings.post("/pause")
async def pause(job: AnyJob, studio: TheStudio) -> Status:
    """Suspend a painting; others are painted meanwhile. After ten minutes it is stopped."""
    studio.pause(job)
    return status_of(studio, job)


@paintings.post("/resume")
async def resume(job: AnyJob, studio: TheStudio) -> Status:
    """Continue a paused painting."""
    studio.resume(job)
    return status_of(studio, job)


@paintings.post("/stop")
async def stop(job: AnyJob, studio: TheStudio) -> Status:
    """End a painting and keep what there is of it."""
    studio.stop(job)
    return status_of(studio, job)


@paintings.delete("", status_code=204)
async def cancel(job: AnyJob, studio: TheStudio) -> None:
    """Cancel a painting, or remove a finished one."""
    await run_in_threadpool(studio.forget, job)


@routes.head("/healthz", include_in_schema=False)
@routes.get("/healthz", tags=["server"], response_class=PlainTextResponse)
async def health() -> str:
    """The word "ok": the studio is there."""
    return "ok"


@routes.get("/metrics", tags=["server"], response_class=PlainTextResponse)
async def metrics(studio: TheStudio) -> Response:
    """Queue, paintings, seconds and failures, for Prometheus."""
    return Response(studio.metrics.text(), media_type="text/plain; version=0.0.4")


routes.include_router(paintings)
