"""The address of another database on the same server: everything but the name stays, or it is refused."""

from __future__ import annotations

import pytest

from elt.backup.databases import beside
from elt.errors import ConfigurationError


@pytest.mark.parametrize(
    ("address", "other"),
    [
        ("postgresql://u:p%23w@h:5433/elt", "postgresql://u:p%23w@h:5433/a%20b"),
        ("postgresql://u@h/elt?sslmode=require", "postgresql://u@h/a%20b?sslmode=require"),
        ("postgresql:///elt?host=/run/postgresql", "postgresql:///a%20b?host=/run/postgresql"),
        ("postgresql://u@h1,h2/elt", "postgresql://u@h1,h2/a%20b"),
    ],
)
def test_only_the_name_is_another(address: str, other: str) -> None:
    assert beside(address, "a b") == other


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p@h/?dbname=elt",
        "postgresql://u:p@h/other?dbname=elt",
        "postgresql://u:p#w@h/elt",
        "host=h password=p#w dbname=elt",
        "mysql://u:p@h/elt",
    ],
)
def test_an_address_whose_name_cannot_be_exchanged_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError, match="the name behind the host") as raised:
        beside(address, "scratch")
    assert "p#w" not in raised.value.detail
