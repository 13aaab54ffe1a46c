"""Which addresses count as one visitor."""

from types import SimpleNamespace

import pytest

from impasto.web.guard.visitors import address_of, network_of


@pytest.mark.parametrize(
    ("address", "visitor"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:2", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("x" * 100, "x" * 45),
    ],
)
def test_an_address_is_ipv4_s_own_or_a_network_of_ipv6(address, visitor) -> None:
    assert network_of(address) == visitor


def test_the_queue_counts_a_network_of_ipv6_as_one_visitor() -> None:
    pages = [SimpleNamespace(client=SimpleNamespace(host=f"2001:db8::{k}")) for k in range(3)]
    assert {address_of(each) for each in pages} == {"2001:db8::/64"}
