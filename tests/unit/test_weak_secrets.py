"""Laurel does not start with secrets that can be guessed, and does not repeat them."""

from __future__ import annotations

from pathlib import Path

import pytest

from elt.errors import ConfigurationError
from elt.settings import load_settings

GOOD = "f3b1c9d07a5e4428"


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LAUREL_HOME", str(tmp_path))
    monkeypatch.setenv("LAUREL_DATABASE_URL", "postgresql://nowhere/elt")

    def call(**secrets: str) -> None:
        for name in ("SECRET_KEY", "PSEUDONYM_KEY", "AIRFLOW_PASSWORD"):
            monkeypatch.setenv(f"LAUREL_{name}", secrets.get(name, GOOD))
        load_settings()

    return call


@pytest.mark.parametrize("name", ["SECRET_KEY", "PSEUDONYM_KEY", "AIRFLOW_PASSWORD"])
@pytest.mark.parametrize(
    "weak",
    [
        "",
        "secret",
        "short-1234",
        "<secret>",
        "<secret><secret>12",
        "change-me-change-me",
        "x" * 40,
        "abcd" * 8,
    ],
)
def test_a_weak_secret_is_named_and_not_repeated(start, name: str, weak: str) -> None:
    with pytest.raises(ConfigurationError, match=f"LAUREL_{name}") as refused:
        start(**{name: weak})
    assert not weak or weak == "secret" or weak not in refused.value.detail


def test_each_of_several_keys_must_be_strong(start) -> None:
    start(PSEUDONYM_KEY=f"{GOOD},{GOOD[::-1]}")
    with pytest.raises(ConfigurationError, match="LAUREL_PSEUDONYM_KEY"):
        start(PSEUDONYM_KEY=f"{GOOD},old")
