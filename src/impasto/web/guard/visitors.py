"""Tell visitors apart: a cookie finds their paintings, an address counts their queue places."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import Request

COOKIE = "impasto_visitor"
DAYS = 365
VALUE = re.compile(r"[\w-]{22}", re.ASCII)  # 128 bits: who has it has the paintings


def owner_of(cookies: Mapping[str, str]) -> str:
    """The owner of a visitor's paintings, by the request's cookies; "" without a valid one."""
    value = cookies.get(COOKIE, "")
    return f"visitor {value}" if VALUE.fullmatch(value) else ""


def owner_in(request: gr.Request) -> str:
    """The owner of a page's paintings; a browser that keeps no cookies has them until a reload."""
    return owner_of(request.cookies) or f"page {request.session_hash}"


def new_cookie() -> str:
    """The header Set-Cookie for a new visitor.

    Scripts cannot read it, and other sites' requests do not carry it.
    """
    value, age = secrets.token_urlsafe(16), DAYS * 24 * 3600
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax"


def address_of(request: Request | gr.Request) -> str:
    """The visitor's address: a page may choose its cookie, but not its address."""
    return network_of(request.client.host if request.client else "")


def network_of(address: str) -> str:
    """The address; of an IPv6 one the first 64 bits, for its owner chooses the rest."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:45]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped  # how a socket for both kinds shows a client by IPv4
    return str(parsed)


def is_loopback(host: str) -> bool:
    """True if only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
