"""The forms by which programs ask for a painting, a sheet or a film over HTTP."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, Literal

from fastapi import HTTPException, UploadFile
from pydantic import BaseModel, ConfigDict, Field, model_validator

from impasto.config import Config
from impasto.errors import ConfigError, did_you_mean, shortened
from impasto.fields import changed_fields
from impasto.figures.timelapse import FilmSuffix
from impasto.presets import QUICK, preset
from impasto.web.jobs.request import FilmChoices, PaintRequest, Upload
from impasto.web.jobs.sheets import MOST_IN_SHEET, all_styles

SETTINGS: Any = {
    "contentMediaType": "application/json",
    "contentSchema": {"$ref": "#/components/schemas/Settings"},
}


def check_fields(names: Iterable[str], known: Collection[str]) -> None:
    """Raise HTTPException for the name of a field that a form does not have."""
    for name in names:
        if name in Config.model_fields and name not in known:
            text = f"{shortened(name)} is a setting: send it in the field settings, a JSON object"
            raise HTTPException(422, text)
        if name not in known:
            raise HTTPException(422, f"no field {shortened(name)}: {did_you_mean(name, known)}")


class Fields(BaseModel):
    """The fields that all three forms have."""

    model_config = ConfigDict(extra="forbid")

    preset: str = Field(
        "", description="a preset by name, which the settings change; see /api/presets"
    )
    look: str = Field("", description="how much is painted: subtle, painted or bold")
    settings: str = Field(
        "{}", description="settings as a JSON object, see Settings", json_schema_extra=SETTINGS
    )
    pictures: list[UploadFile] = Field(
        [], description="pictures that the settings name (masks, palette), by file name"
    )

    @model_validator(mode="before")
    @classmethod
    def _check_fields(cls, data: dict[str, Any]) -> dict[str, Any]:
        check_fields(data, cls.model_fields)
        return data

    def all_settings(self) -> dict[str, Any]:
        """The settings, on top of the preset and the look. Raises HTTPException."""
        settings = _object(self.settings)
        base: dict[str, Any] = {}
        try:
            if self.preset:
                base = dict(changed_fields(preset(self.preset).config))
        except ConfigError as error:
            raise HTTPException(422, str(error)) from None
        if settings.get("optimizer", base.get("optimizer")) != base.get("optimizer"):
            base.pop("learning_rate", None)  # each optimizer has its own
        return {**base, **({"look": self.look} if self.look else {}), **settings}

    def named(self) -> dict[str, Upload]:
        """The pictures that the settings name. Raises HTTPException."""
        named = {upload.name: upload for upload in _uploads(self.pictures)}
        if len(named) < len(self.pictures):
            raise HTTPException(422, "two of the pictures have the same name: give each its own")
        return named


class PaintingFields(Fields):
    """The fields of a form for a painting."""

    content: UploadFile = Field(description="the picture to paint")
    style: list[UploadFile] = Field(description="a style picture, or several")
    timelapse: Literal["", FilmSuffix] = Field("", description="make a film too")
    base: str = Field("", description="id of an earlier painting to start from")

    def request(self) -> PaintRequest:
        """The request that it makes. Raises HTTPException."""
        return PaintRequest(
            _upload(self.content),
            _uploads(self.style),
            self.all_settings(),
            self.named(),
            self.timelapse,
            self.base,
        )


class SheetFields(Fields):
    """The fields of a form for a sheet."""

    content: UploadFile = Field(description="the picture to paint")
    style: list[UploadFile] = Field(
        [], description=f"the style pictures, up to {MOST_IN_SHEET}; none: those of the package"
    )

    def request(self) -> PaintRequest:
        """The request that it makes. Raises HTTPException."""
        for name in QUICK.keys() & _object(self.settings).keys():
            raise HTTPException(422, f"{name} is the sheet's own: leave it out")
        if len(self.style) > MOST_IN_SHEET:
            raise HTTPException(422, f"{len(self.style)} styles: give at most {MOST_IN_SHEET}")
        return PaintRequest(
            _upload(self.content),
            _uploads(self.style) or all_styles([], []),
            self.all_settings(),
            self.named(),
            kind="sheet",
        )


class FilmFields(Fields):
    """The fields of a form for a film."""

    clip: UploadFile = Field(description="the video to paint: MP4, WebM, GIF ...")
    style: list[UploadFile] = Field(description="a style picture, or several")
    later_steps: int = Field(
        0,
        description="steps of all frames but the first of a shot, whose steps are in the settings; "
        "0: as many as usual",
    )
    every: int = Field(1, description="paint every n-th frame only")
    temporal: float = Field(
        1.0, description="how much a frame is held to the one before it: 0 not at all"
    )
    preview: bool = Field(
        False, description="paint three frames, as a picture: to see what it would be"
    )

    def request(self) -> PaintRequest:
        """The request that it makes. Raises HTTPException."""
        return PaintRequest(
            _upload(self.clip),
            _uploads(self.style),
            self.all_settings(),
            self.named(),
            kind="film",
            film=FilmChoices(self.later_steps, self.every, self.temporal, self.preview),
        )


def _upload(file: UploadFile) -> Upload:
    return Upload(file.filename or "picture", file.file.read)


def _uploads(files: list[UploadFile]) -> list[Upload]:
    return [_upload(file) for file in files]


def _object(settings: str) -> dict[str, Any]:
    """The settings of a form. Raises HTTPException if they are not a JSON object."""
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
