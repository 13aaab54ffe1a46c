"""The pictures of a painting over HTTP: live, finished in several formats, as a film, as curves."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse
from PIL import Image
from starlette.concurrency import run_in_threadpool

from impasto.errors import OutputError, is_disk_full
from impasto.images.files import metadata_in
from impasto.images.read import read_settings
from impasto.images.write import write
from impasto.painting.callbacks import read_trace
from impasto.web.api import ONE, AnyJob, FinishedJob, errors
from impasto.web.job import Job

__all__ = ["pictures"]

log = logging.getLogger("impasto.studio")
pictures = APIRouter(
    prefix=ONE, tags=["pictures"], responses=errors(404), default_response_class=FileResponse
)


def _file(kind: str, *codes: int) -> dict[int | str, dict[str, Any]]:
    """A file of media type `kind`, and the errors of its endpoint, for OpenAPI."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"content": {kind: binary}}, **errors(*codes)}


JPEG, PNG = _file("image/jpeg", 409), _file("image/png", 409, 507)


@pictures.get("/frame", response_class=Response, responses=JPEG)
async def frame(job: AnyJob) -> Response:
    """The newest live picture; small, for looking at."""
    if not job.frame:
        raise HTTPException(409, "nothing has been painted yet")
    return Response(job.frame, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@pictures.get("/picture", responses=PNG)
async def picture(job: FinishedJob, format: Literal["png", "jpeg", "webp"] = "png") -> FileResponse:
    """The painting, with its settings inside."""
    try:
        path = await run_in_threadpool(_in_format, job, format)
    except OutputError as error:
        if is_disk_full(error):
            raise
        log.warning("%s", error)
        raise HTTPException(
            422, f"this painting cannot be written as {format}; ask for png"
        ) from None
    suffix = format.replace("jpeg", "jpg")
    return FileResponse(path, media_type=f"image/{format}", filename=f"{job.title}.{suffix}")


@pictures.get("/before", responses=JPEG)
async def before(job: FinishedJob) -> FileResponse:
    """The content, to be compared with the painting; at most 1600 pixels."""
    return FileResponse(job.file("before.jpg"))


@pictures.get("/after", responses=JPEG)
async def after(job: FinishedJob) -> FileResponse:
    """The painting, to be compared with the content; at most 1600 pixels."""
    return FileResponse(job.file("after.jpg"))


@pictures.get("/timelapse", responses=_file("application/octet-stream", 409))
async def timelapse(job: FinishedJob) -> FileResponse:
    """The film of the painting, if one was asked for."""
    path = job.file(f"timelapse{job.timelapse}")
    if not job.timelapse or not path.exists():
        raise HTTPException(404, "no film was asked for")
    return FileResponse(path, filename=f"{job.title}{job.timelapse}")


@pictures.get("/curve", responses=PNG)
async def curve(job: FinishedJob) -> FileResponse:
    """The loss curves."""
    return FileResponse(await run_in_threadpool(_curve, job), media_type="image/png")


def _in_format(job: Job, format: str) -> Path:
    """The painting's file in a format; made at the first request, but for PNG."""
    painted, path = job.file("painting.png"), job.file(f"painting.{format}")
    if not path.exists():
        with Image.open(painted, formats=("PNG",)) as image:
            write(image, path, read_settings(painted), metadata_in(image))
    return path


def _curve(job: Job) -> Path:
    """The file of the loss curves, drawn at the first request."""
    from impasto.figures.plots import curves, write_plot  # takes half a second to import

    path = job.file("curve.png")
    if not path.exists():
        trace = read_trace(str(job.file("trace.jsonl")))
        write_plot(curves([trace._replace(name=job.title)]), path)
    return path
