"""Where requests come from: which addresses count as one visitor."""

from __future__ import annotations

import ipaddress

__all__ = ["network_of"]


def network_of(address: str) -> str:
    """The address; of an IPv6 one the first 64 bits, for the rest is its owner's choice."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:45]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = found.ipv4_mapped  # as a socket for both kinds shows who came by IPv4
    return str(found)
