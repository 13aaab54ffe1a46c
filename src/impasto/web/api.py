"""The studio for programs: paintings over HTTP (see /api/openapi.json), health and metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, Response, UploadFile
from fastapi import Path as InPath
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from impasto.config import Config
from impasto.errors import ConfigError, ImpastoError, as_arguments, did_you_mean, shortened
from impasto.fields import changed_fields
from impasto.figures.timelapse import FilmSuffix
from impasto.presets import PRESETS, preset
from impasto.web.addresses import network_of
from impasto.web.folders import RoomError
from impasto.web.job import BusyError, Job, PaintRequest, State, Upload
from impasto.web.multipart import BoundedRoute
from impasto.web.queue import Studio

__all__ = ["ONE", "AnyJob", "FinishedJob", "errors", "routes"]

EVERY = 0.3  # seconds between two looks at a painting that is followed
RETRY_AFTER = "60"  # seconds
FilmOrNone = Literal["", FilmSuffix]


class Status(BaseModel):
    """A painting that was asked for. seconds_left: null if it is too early to say. terms: of the
    objective, weighted, by name."""

    id: str
    state: State
    title: str
    before: int = Field(description="paintings before this one, those being painted included")
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
    """The state and the progress of a job."""
    progress = {"steps": job.config.steps} if job.progress is None else job.progress._asdict()
    return Status(
        id=job.id,
        state=job.state,
        title=job.title,
        before=studio.place(job),
        error=as_arguments(job.error),
        note=as_arguments(job.note),
        **progress,
    )


ERRORS = {
    404: "not here",
    409: "not yet",
    413: "too large",
    422: "something to put right",
    503: "busy: try again",
    507: "no room on the server: try again later",
}
DETAIL = {"schema": {"type": "object", "properties": {"detail": {"type": "string"}}}}


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an endpoint, for OpenAPI."""
    content = {"application/json": DETAIL}
    return {code: {"description": ERRORS[code], "content": content} for code in codes}


ONE = "/api/paintings/{id}"
routes = APIRouter(route_class=BoundedRoute)  # its application's `state.studio` is the studio
paintings = APIRouter(prefix=ONE, tags=["paintings"], responses=errors(404))


async def _studio(request: Request) -> Studio:
    return request.app.state.studio  # type: ignore[no-any-return]


TheStudio = Annotated[Studio, Depends(_studio)]
Id = Annotated[
    str, InPath(description="the painting's id; who has it may see the painting and end it")
]


class PresetInfo(BaseModel):
    """A preset: its settings that are not the defaults, and where its numbers come from."""

    name: str
    about: str
    settings: dict[str, Any]
    sources: dict[str, str]


async def _only_known_fields(request: Request) -> None:
    """Refuse a form with an unknown field."""
    given = [*request.query_params, *(await request.form())]
    for name in given:
        if name in Config.model_fields and name != "look":
            text = f"{shortened(name)} is a setting: send it in the field settings, a JSON object"
            raise HTTPException(422, text)
        if name not in FIELDS:
            raise HTTPException(422, f"no field {shortened(name)}: {did_you_mean(name, FIELDS)}")


async def _job(id: Id, studio: TheStudio) -> Job:
    job = studio.jobs.get(id)
    if job is None:
        raise HTTPException(
            404, "no such painting: it was never asked for, or is not kept any more"
        )
    return job


AnyJob = Annotated[Job, Depends(_job)]


async def _finished(job: AnyJob) -> Job:
    if not job.finished:
        raise HTTPException(409, f"there is no painting: it is {job.state}")
    return job


FinishedJob = Annotated[Job, Depends(_finished)]


FIELDS = ("content", "style", "preset", "look", "settings", "pictures", "timelapse", "base")
LOCATION = {"description": "the painting's address", "schema": {"type": "string"}}
SETTINGS = {
    "contentMediaType": "application/json",
    "contentSchema": {"$ref": "#/components/schemas/Settings"},
}


@routes.post(
    "/api/paintings",
    status_code=202,
    responses={
        **errors(413, 422, 503, 507),
        202: {"description": "taken: follow it", "headers": {"Location": LOCATION}},
    },
    tags=["paintings"],
    dependencies=[Depends(_only_known_fields)],
)
async def submit(
    studio: TheStudio,
    request: Request,
    response: Response,
    content: Annotated[UploadFile, File(description="the picture to paint")],
    style: Annotated[list[UploadFile], File(description="a style picture, or several")],
    preset: Annotated[
        str, Form(description="a preset by name, which the settings change; see /api/presets")
    ] = "",
    look: Annotated[str, Form(description="how much is painted: subtle, painted or bold")] = "",
    settings: Annotated[
        str, Form(description="settings as a JSON object, see Settings", json_schema_extra=SETTINGS)
    ] = "{}",
    pictures: Annotated[
        list[UploadFile] | None,
        File(description="pictures that the settings name (masks, palette), by file name"),
    ] = None,
    timelapse: Annotated[FilmOrNone, Form(description="make a film too")] = "",
    base: Annotated[str, Form(description="id of an earlier painting to start from")] = "",
) -> Status:
    """Ask for a painting."""
    named = [_upload(file) for file in pictures or []]
    if len({upload.name for upload in named}) < len(named):
        raise HTTPException(422, "two of the pictures have the same name: give each its own")
    order = PaintRequest(
        _upload(content),
        [_upload(file) for file in style],
        _chosen(preset, look, _object(settings)),
        {upload.name: upload for upload in named},
        timelapse,
        base,
    )
    address = network_of(request.client.host if request.client else "")
    try:
        job = await studio.submit_async(order, f"program {address}", visitor=address)
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": RETRY_AFTER}) from None
    except RoomError as error:
        raise HTTPException(507, str(error)) from None
    except ImpastoError as error:
        raise HTTPException(422, as_arguments(str(error))) from None
    path = routes.url_path_for("status", id=job.id)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}{path}"
    return status_of(studio, job)


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


def _upload(file: UploadFile) -> Upload:
    return Upload(file.filename or "picture", file.file.read)


def _chosen(name: str, look: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a request, on top of a preset and a look. Raises HTTPException."""
    base: dict[str, Any] = {}
    try:
        if name:
            base = dict(changed_fields(preset(name).config))
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    if settings.get("optimizer", base.get("optimizer")) != base.get("optimizer"):
        base.pop("learning_rate", None)  # each optimizer has its own
    return {**base, **({"look": look} if look else {}), **settings}


def _object(settings: str) -> dict[str, Any]:
    """The settings of a request. Raises HTTPException if they are not a JSON object."""
    try:
        parsed = json.loads(settings or "{}")
        json.dumps(parsed, ensure_ascii=False).encode()  # half a character is no text
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise HTTPException(
            422, f"settings are {settings[:100]!r}: give a JSON object of impasto.Config's fields"
        )
    return parsed
