"""Pixels in, pixels out."""

from impasto.pictures.files import (
    SMALLEST,
    Picture,
    Source,
    check_output,
    read,
    read_bytes,
    read_settings,
    resize,
    settings_in,
    to_image,
    whole,
    write,
)

__all__ = [
    "SMALLEST",
    "Picture",
    "Source",
    "check_output",
    "read",
    "read_bytes",
    "read_settings",
    "resize",
    "settings_in",
    "to_image",
    "whole",
    "write",
]
