"""Sheets over HTTP: a photograph in many styles, small and quick."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, HTTPException, Request, Response, UploadFile

from impasto.presets import QUICK
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
from impasto.web.request import PaintRequest
from impasto.web.sheets import MOST_IN_SHEET, all_styles

__all__ = ["sheets"]

sheets = APIRouter(route_class=BoundedRoute, tags=["sheets"])
FIELDS = ("content", "style", "preset", "look", "settings", "pictures")


@sheets.post(
    "/api/sheets", status_code=202, responses=ACCEPTED, dependencies=[only_fields(*FIELDS)]
)
async def submit_sheet(
    studio: TheStudio,
    request: Request,
    response: Response,
    content: Annotated[UploadFile, File(description="the picture to paint")],
    style: Annotated[
        list[UploadFile] | None,
        File(
            description=f"the style pictures, up to {MOST_IN_SHEET}; none: those of the package",
        ),
    ] = None,
    preset: PresetName = "",
    look: LookName = "",
    settings: Annotated[
        str,
        Form(
            description="settings as a JSON object, see Settings; "
            f"{', '.join(QUICK)} are the sheet's own",
            json_schema_extra=SETTINGS,
        ),
    ] = "{}",
    pictures: NamedPictures = None,
) -> Status:
    """Ask for a sheet: one small painting in each style. It is followed, paused, stopped and
    cancelled like a painting, under /api/paintings/{id}; its paintings are there as they are
    finished, at .../cells/0 and so on, and the whole sheet at .../picture."""
    for name in QUICK.keys() & settings_of("", "", settings).keys():
        raise HTTPException(422, f"{name} is the sheet's own: leave it out")
    styles = [upload_of(file) for file in style or []]
    if len(styles) > MOST_IN_SHEET:
        raise HTTPException(422, f"{len(styles)} styles: give at most {MOST_IN_SHEET}")
    order = PaintRequest(
        upload_of(content),
        styles or all_styles([], []),
        settings_of(preset, look, settings),
        named_uploads(pictures),
        kind="sheet",
    )
    return await taken(studio, request, response, order)
