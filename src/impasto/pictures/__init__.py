"""Pixels in, pixels out."""

from impasto.pictures.decode import readable
from impasto.pictures.files import (
    SMALLEST,
    Picture,
    Source,
    bytes_of,
    header_size,
    read,
    read_bytes,
    read_settings,
    resize,
    settings_in,
)
from impasto.pictures.writing import FORMATS, KEY, check_format, check_output, encode, to_image, whole, write

__all__ = [
    "FORMATS",
    "KEY",
    "SMALLEST",
    "Picture",
    "Source",
    "bytes_of",
    "check_format",
    "check_output",
    "encode",
    "header_size",
    "read",
    "read_bytes",
    "read_settings",
    "readable",
    "resize",
    "settings_in",
    "to_image",
    "whole",
    "write",
]
