"""The studio for programs: paintings, sheets and films over HTTP (see /api/openapi.json)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, File, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from impasto.errors import as_arguments
from impasto.fields import changed_fields
from impasto.presets import PRESETS
from impasto.web.api.endpoints import (
    ACCEPTED,
    ONE,
    AnyJob,
    Status,
    TheStudio,
    errors,
    status_of,
    taken,
)
from impasto.web.api.forms import FilmFields, PaintingFields, SheetFields
from impasto.web.api.multipart import BoundedRoute

EVERY = 0.3  # seconds between two looks at a painting that is followed


routes = APIRouter(route_class=BoundedRoute)  # its application's `state.studio` is the studio
paintings = APIRouter(prefix=ONE, tags=["paintings"], responses=errors(404))


class PresetInfo(BaseModel):
    """A preset: its settings that are not the defaults, and where its numbers come from."""

    name: str
    about: str
    settings: dict[str, Any]
    sources: dict[str, str]


@routes.post("/api/paintings", status_code=202, responses=ACCEPTED, tags=["paintings"])
async def submit(
    studio: TheStudio,
    request: Request,
    response: Response,
    form: Annotated[PaintingFields, File()],
) -> Status:
    """Ask for a painting."""
    return await taken(studio, request, response, form.request())


@routes.post("/api/sheets", status_code=202, responses=ACCEPTED, tags=["sheets"])
async def submit_sheet(
    studio: TheStudio, request: Request, response: Response, form: Annotated[SheetFields, File()]
) -> Status:
    """Ask for a sheet: one small painting in each style. It is followed, paused, stopped and
    cancelled like a painting, under /api/paintings/{id}; its paintings are there as they are
    finished, at .../cells/0 and so on, and the whole sheet at .../picture. The settings size, steps
    and finish are its own."""
    return await taken(studio, request, response, form.request())


@routes.post("/api/films", status_code=202, responses=ACCEPTED, tags=["films"])
async def submit_film(
    studio: TheStudio, request: Request, response: Response, form: Annotated[FilmFields, File()]
) -> Status:
    """Ask for a film. It is followed, paused, stopped and cancelled like a painting, under
    /api/paintings/{id}; stopped early, what there is is a film."""
    return await taken(studio, request, response, form.request())


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
