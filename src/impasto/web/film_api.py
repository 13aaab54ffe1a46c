"""Films over HTTP: a clip in a style, painted frame by frame."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from impasto.web.endpoints import (
    ACCEPTED,
    SETTINGS,
    LookName,
    NamedPictures,
    PresetName,
    Status,
    TheStudio,
    named_uploads,
    only_fields,
    settings_of,
    taken,
    upload_of,
)
from impasto.web.multipart import BoundedRoute
from impasto.web.request import FilmChoices, PaintRequest

__all__ = ["films"]

films = APIRouter(route_class=BoundedRoute, tags=["films"])
FIELDS = ("clip", "style", "preset", "look", "settings", "pictures", "later_steps", "every")


@films.post(
    "/api/films",
    status_code=202,
    responses=ACCEPTED,
    dependencies=[only_fields(*FIELDS, "temporal", "preview")],
)
async def submit_film(
    studio: TheStudio,
    request: Request,
    response: Response,
    clip: Annotated[UploadFile, File(description="the video to paint: MP4, WebM, GIF ...")],
    style: Annotated[list[UploadFile], File(description="a style picture, or several")],
    preset: PresetName = "",
    look: LookName = "",
    settings: Annotated[
        str,
        Form(
            description="settings as a JSON object, see Settings; steps are those of the first "
            "frame of a shot",
            json_schema_extra=SETTINGS,
        ),
    ] = "{}",
    pictures: NamedPictures = None,
    later_steps: Annotated[
        int, Form(description="steps of all other frames; 0: a quarter of the first's")
    ] = 0,
    every: Annotated[int, Form(description="paint every so manieth frame")] = 1,
    temporal: Annotated[
        float, Form(description="how much a frame is held to the one before it: 0 not at all")
    ] = 1.0,
    preview: Annotated[
        bool, Form(description="paint three frames, as a picture: to see what it would be")
    ] = False,
) -> Status:
    """Ask for a film. It is followed, paused, stopped and cancelled like a painting, under
    /api/paintings/{id}; stopped early, what there is is a film."""
    order = PaintRequest(
        upload_of(clip),
        [upload_of(file) for file in style],
        settings_of(preset, look, settings),
        named_uploads(pictures),
        kind="film",
        film=FilmChoices(later_steps, every, temporal, preview),
    )
    return await taken(studio, request, response, order)
