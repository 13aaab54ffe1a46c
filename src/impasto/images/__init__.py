"""Pixels in and out: reading, decoding, writing, colors, masks."""
