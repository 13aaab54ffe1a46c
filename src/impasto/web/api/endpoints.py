"""Shared parts of the HTTP API's endpoints: jobs, states, errors, and the queue."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from impasto.errors import ImpastoError, as_arguments
from impasto.web.api.forms import check_fields
from impasto.web.guard.visitors import address_of
from impasto.web.jobs.folders import RoomError
from impasto.web.jobs.job import Job, State
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import BusyError, Kind, PaintRequest

RETRY_AFTER = "60"  # seconds
ONE = "/api/paintings/{id}"
LOCATION = {"description": "the painting's address", "schema": {"type": "string"}}


class Status(BaseModel):
    """A painting, a sheet or a film that was asked for.

    seconds_left: null if it is too early to say. terms: of the objective, weighted, by name.
    """

    id: str
    kind: Kind
    state: State
    title: str
    before: int = Field(description="paintings before this one, those being painted included")
    step: int = 0
    steps: int
    frame: int = Field(
        0, description="of a film, the one that is painted now; of a sheet, paintings that are done"
    )
    frames: int = 0
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
        kind=job.kind,
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


ACCEPTED = {
    **errors(413, 422, 503, 507),
    202: {"description": "taken: follow it", "headers": {"Location": LOCATION}},
}


async def _studio(request: Request) -> Studio:
    return request.app.state.studio  # type: ignore[no-any-return]


TheStudio = Annotated[Studio, Depends(_studio)]
Id = Annotated[
    str, InPath(description="the painting's id; who has it may see the painting and end it")
]


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


async def _picture(job: FinishedJob) -> Job:
    if job.is_film:
        raise HTTPException(404, "this is a film: its file is at .../film")
    return job


PaintedPicture = Annotated[Job, Depends(_picture)]


async def taken(
    studio: Studio, request: Request, response: Response, order: PaintRequest
) -> Status:
    """Queue an order; the answer says where it can be followed. Raises HTTPException."""
    check_fields(request.query_params, ())
    address = address_of(request)
    try:
        job = await studio.submit_async(order, f"program {address}", visitor=address)
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": RETRY_AFTER}) from None
    except RoomError as error:
        raise HTTPException(507, str(error)) from None
    except ImpastoError as error:
        raise HTTPException(422, as_arguments(str(error))) from None
    root = request.scope.get("root_path", "")
    response.headers["Location"] = root + ONE.format(id=job.id)
    return status_of(studio, job)
