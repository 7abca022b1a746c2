"""The form of an API key."""

from __future__ import annotations

import re

import pytest

from elt.people.keys import _new_key, is_well_formed


def test_a_key_can_be_told_from_other_text() -> None:
    made = {_new_key() for _ in range(200)}
    assert len(made) == 200
    for key in made:
        assert re.fullmatch(r"lrl_[0-9A-Za-z]{49}", key)
        assert is_well_formed(key)


def test_any_single_typing_error_is_noticed() -> None:
    key = _new_key()
    for place in range(len(key)):
        other = "a" if key[place] != "a" else "b"
        assert not is_well_formed(key[:place] + other + key[place + 1 :])


@pytest.mark.parametrize(
    "text", ["", "lrl_", "Bearer x", "lrl_" + "é" * 49, "lrl_" + "0" * 49 + "0", "x" * 10_000]
)
def test_other_text_is_no_key(text: str) -> None:
    assert not is_well_formed(text)
