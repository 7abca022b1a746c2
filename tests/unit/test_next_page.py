"""Signing in never leads to another site."""

from __future__ import annotations

import pytest

from backend.next_page import safe_next


@pytest.mark.parametrize("wanted", ["/", "/students?class=JSS1&sort=name", "/a/b#c", "/apidocs/"])
def test_a_page_of_ours_is_kept(wanted: str) -> None:
    assert safe_next(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        None, "", "students", "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example",
        "\\\\evil.example", "/\t/evil.example", "/\n/evil.example", "javascript:alert(1)", " /x", "/x\x00",
        "/ /evil.example\r\nSet-Cookie: a=b", "http:evil.example", "/\u2028/evil.example",
    ],
)  # fmt: skip
def test_anything_else_leads_to_the_start(wanted: str | None) -> None:
    assert safe_next(wanted) == "/"
