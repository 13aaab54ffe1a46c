"""Which addresses count as one visitor, and which are this machine's own."""

from __future__ import annotations

import ipaddress

__all__ = ["is_loopback", "network_of"]


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
