"""How lines of the audit trail are hashed, and how people are named in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import SecretStr

from elt.audit.trail import hash_line, person_subject
from elt.settings import Settings

LINE: dict[str, Any] = {
    "audit_id": 7,
    "occurred_at": datetime(2026, 11, 20, 16, 5, 0, 1000, tzinfo=UTC),
    "actor": "user:1",
    "action": "students:read",
    "subject": "student:ab",
    "detail": {"reason": "résumé", "rows": 2},
    "previous_sha256": bytes(32),
}


def settings(secret: str = "one-secret-of-enough-length") -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://nowhere"),
        secret_key=SecretStr(secret),
        pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
    )


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("audit_id", 8),
        ("occurred_at", LINE["occurred_at"] + timedelta(microseconds=1)),
        ("actor", "user:2"),
        ("action", "students:list"),
        ("subject", ""),
        ("detail", {"reason": "résumé", "rows": 3}),
        ("previous_sha256", bytes(31) + b"\x01"),
    ],
)
def test_every_part_of_a_line_is_hashed(name: str, other: Any) -> None:
    assert hash_line({**LINE, name: other}) != hash_line(LINE)


def test_a_hash_does_not_depend_on_order_time_zone_or_the_drivers_type_of_bytes() -> None:
    lagos = timezone(timedelta(hours=1))
    same = {
        **dict(reversed(LINE.items())),
        "occurred_at": LINE["occurred_at"].astimezone(lagos),
        "detail": {"rows": 2, "reason": "résumé"},
        "previous_sha256": memoryview(bytes(32)),
    }
    assert hash_line(same) == hash_line(LINE)


def test_a_hash_is_the_same_in_every_version() -> None:
    """Changing how lines are hashed would make all kept chains look broken."""
    assert hash_line(LINE).hex() == "e47982796c7af9033c6ccf3e5b12edccdc1864e5e98cdd01d1e0d80764a0ed17"


def test_a_person_has_one_name_per_kind_school_and_key() -> None:
    subject = person_subject(settings(), "student", "main", "STU00001")
    others = {
        person_subject(settings(), "guardian", "main", "STU00001"),
        person_subject(settings(), "student", "north", "STU00001"),
        person_subject(settings(), "student", "mainSTU", "00001"),
        person_subject(settings(), "student", "main", "STU00002"),
        person_subject(settings("another-secret-of-the-kind"), "student", "main", "STU00001"),
    }
    assert subject == person_subject(settings(), "student", "main", "STU00001")
    assert subject not in others
    assert len(others) == 5
    assert "STU00001" not in subject
