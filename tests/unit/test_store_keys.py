"""Which names an object may have, and which address opens which store."""

from __future__ import annotations

import pytest

from elt.errors import ConfigurationError, UploadRejected
from elt.store.base import check_key, open_store


@pytest.mark.parametrize(
    "key",
    [
        "a.csv",
        "uploads/2026-11-20/0193/1/Student bio data (final).csv",
        "uploads/Ọmọ-ilé.csv",
        "a/" + "x" * 255,
        "...csv".strip("."),
    ],
)
def test_ordinary_names_are_taken(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "slash"),
        ("a//b", "slash"),
        ("a/", "slash"),
        ("../a", "dot"),
        ("a/../../b", "dot"),
        ("a/./b", "dot"),
        (".laurel-tmp/x", "dot"),
        ("a/.hidden.csv", "dot"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\\b", "control"),
        ("a/\ud800", "control"),
        ("a/" + "x" * 256, "255"),
        ("a/" * 450 + "bc", "900"),
        ("é" * 128, "255"),
    ],
)
def test_names_that_could_do_harm_are_refused(key: str, why: str) -> None:
    with pytest.raises(UploadRejected, match=why):
        check_key(key)


@pytest.mark.parametrize("url", ["", "/var/store", "ftp://host/x", "file://host/x", "s3://", "relative"])
def test_addresses_of_another_kind_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LAUREL_STORE_URL"):
        open_store(url)


def test_an_address_with_a_password_is_not_repeated_in_the_message() -> None:
    with pytest.raises(ConfigurationError) as raised:
        open_store("https://user:hunter2@host/x")
    assert "hunter2" not in raised.value.detail
