"""Recognize visitors by a cookie: a reload or a lost connection finds the same paintings."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

__all__ = ["COOKIE", "new_cookie", "owner_of"]

COOKIE = "impasto_visitor"
DAYS = 365
VALUE = re.compile(r"[\w-]{22}", re.ASCII)  # 128 bits: who has it has the paintings


def owner_of(cookies: Mapping[str, str]) -> str:
    """The owner of a visitor's paintings, by the request's cookies; "" without a valid one."""
    value = cookies.get(COOKIE, "")
    return f"visitor {value}" if VALUE.fullmatch(value) else ""


def new_cookie() -> str:
    """The header Set-Cookie for a new visitor.

    Scripts cannot read it, and other sites' requests do not carry it.
    """
    value, age = secrets.token_urlsafe(16), DAYS * 24 * 3600
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax"
