"""Whose tries are counted together."""

from __future__ import annotations

import pytest

from elt.people.rates import network_of


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("somewhere", "unknown"),
    ],
)
def test_callers_are_told_apart_by_address_and_customers_of_ipv6_by_half_of_it(
    address: str, counted: str
) -> None:
    assert network_of(address) == counted
