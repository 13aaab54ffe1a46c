"""Pixels in, pixels out."""

from impasto.pictures.files import (
    Picture,
    Source,
    check_output,
    read,
    read_settings,
    resize,
    to_image,
    write,
)

__all__ = ["Picture", "Source", "check_output", "read", "read_settings", "resize", "to_image", "write"]
