"""The pictures of a painting over HTTP: live, finished in several formats, as a film, as curves."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from PIL import Image
from starlette.concurrency import run_in_threadpool

from impasto.errors import OutputError, is_disk_full
from impasto.images.files import metadata_in
from impasto.images.read import read_settings
from impasto.images.samples import sample_painting, sample_photograph
from impasto.images.write import write
from impasto.painting.callbacks import read_trace
from impasto.web.api.endpoints import ONE, AnyJob, FinishedJob, PaintedPicture, errors
from impasto.web.guard.visitors import owner_of
from impasto.web.jobs.job import Job
from impasto.web.jobs.sheets import cell_file

log = logging.getLogger("impasto.studio")
everything = APIRouter()
pictures = APIRouter(
    prefix=ONE, tags=["pictures"], responses=errors(404), default_response_class=FileResponse
)


def _file(kind: str, *codes: int) -> dict[int | str, dict[str, Any]]:
    """A file of media type `kind`, and the errors of its endpoint, for OpenAPI."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"content": {kind: binary}}, **errors(*codes)}


JPEG, PNG = _file("image/jpeg", 409), _file("image/png", 409, 507)


@everything.get("/api/paintings.zip", tags=["pictures"], response_class=StreamingResponse)
async def download_all(request: Request) -> StreamingResponse:
    """All finished paintings of the visitor whose cookie comes with the request."""
    owner, studio = owner_of(request.cookies), request.app.state.studio
    paintings = [job for job in studio.of(owner) if job.finished] if owner else []
    names = Counter[str]()
    entries = []
    for job in paintings:
        names[job.title] += 1
        number = f"-{names[job.title]}" if names[job.title] > 1 else ""
        entries.append((f"{job.title}{number}{job.product.suffix}", job.product))
    header = {"Content-Disposition": "attachment; filename=paintings.zip"}
    return StreamingResponse(_zipped(entries), media_type="application/zip", headers=header)


@everything.get("/api/example/{name}", include_in_schema=False)
async def example(name: Literal["before", "after"]) -> FileResponse:
    """The pictures of the page's first look."""
    return FileResponse(sample_photograph() if name == "before" else sample_painting())


@pictures.get("/frame", response_class=Response, responses=JPEG)
async def frame(job: AnyJob) -> Response:
    """The newest live picture; small, for looking at."""
    if not job.frame:
        raise HTTPException(409, "nothing has been painted yet")
    return Response(job.frame, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@pictures.get("/picture", responses=PNG)
async def picture(
    job: PaintedPicture, format: Literal["png", "jpeg", "webp"] = "png"
) -> FileResponse:
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
    """The time-lapse of the painting, if one was asked for."""
    path = job.file(f"timelapse{job.timelapse}")
    if not job.timelapse or not path.exists():
        raise HTTPException(404, "no time-lapse was asked for")
    return FileResponse(path, filename=f"{job.title}{job.timelapse}")


@pictures.get("/curve", responses=PNG)
async def curve(job: FinishedJob) -> FileResponse:
    """The loss curves."""
    if job.kind != "painting":
        raise HTTPException(404, "only a painting has loss curves")
    return FileResponse(await run_in_threadpool(_curve, job), media_type="image/png")


@pictures.get("/film", responses=_file("video/mp4", 409))
async def film(job: FinishedJob) -> FileResponse:
    """The film, of the kind of the clip: MP4, WebM or GIF."""
    if not job.is_film:
        raise HTTPException(404, "this is no film")
    name = f"{job.title}{job.movie}"
    return FileResponse(job.product, filename=name, content_disposition_type="inline")


@pictures.get("/cells/{number}", responses=JPEG)
async def cell(job: AnyJob, number: int) -> FileResponse:
    """One painting of a sheet of all styles."""
    if job.cells.get(number) != "":
        raise HTTPException(404, "no such painting in this sheet")
    return FileResponse(job.file(cell_file(number)))


class _Sink(io.RawIOBase):
    """Collects what is written to it, for an archive that is sent while it is made."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.chunks.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        """Return what was written since the last call."""
        chunks, self.chunks = self.chunks, []
        yield from chunks


def _zipped(entries: Sequence[tuple[str, Path]]) -> Iterator[bytes]:
    """A ZIP file of these names and files, piece by piece; those deleted meanwhile are left out."""
    sink = _Sink()
    with ZipFile(sink, "w") as archive:
        for name, path in entries:
            with suppress(FileNotFoundError):
                archive.writestr(name, path.read_bytes())
            yield from sink.taken()
    yield from sink.taken()


def _in_format(job: Job, format: str) -> Path:
    """The painting's file in a format; made at the first request, but for PNG."""
    painted, path = job.file("painting.png"), job.file(f"painting.{format}")
    if not path.exists():
        with Image.open(painted, formats=("PNG",)) as image:
            settings = read_settings(painted) if job.kind == "painting" else None
            write(image, path, settings, metadata_in(image))
    return path


def _curve(job: Job) -> Path:
    """The file of the loss curves, drawn at the first request."""
    from impasto.figures.plots import curves, write_plot  # takes half a second to import

    path = job.file("curve.png")
    if not path.exists():
        trace = read_trace(str(job.file("trace.jsonl")))
        write_plot(curves([trace._replace(name=job.title)]), path)
    return path
