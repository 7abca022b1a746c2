"""What is due goes, what is not stays, and replay does not miss what went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from elt.errors import ConfigurationError
from elt.privacy.retention import Rule, apply_retention, load_rules
from elt.uploads.lifecycle import withdraw_upload
from elt.uploads.replay import replay

BAD = "STU{:05},JSS1,Mathematics,First Term,20,40,61"


def _apply(sender, *, days=0, dry_run=False, rules=None):
    """As if so many days had gone by; what came of each rule that was due."""
    kept = apply_retention(
        sender.settings, sender.store, dry_run=dry_run, rules=rules,
        now=datetime.now(UTC) + timedelta(days=days),
    )  # fmt: skip
    return {each.rule.rule: each.due for each in kept if each.due}


def _has_bytes(sender, upload_id, version):
    [key] = [v.object_key for v in sender.upload(upload_id).versions if v.version == version]
    return sender.store.exists(key)


@pytest.fixture
def lived(sender, history):
    """A live upload, one of two versions, a withdrawn one, and one that cannot be read."""
    live = sender.hand_in(history(range(50), faults={1: BAD.format(1)}))
    replaced = sender.hand_in(history(range(60, 110), faults={61: BAD.format(61)}))
    sender.replace(replaced, history(range(60, 111)))
    sender.load(replaced, 2)
    withdrawn = sender.hand_in(history(range(200, 250), faults={201: BAD.format(201)}))
    withdraw_upload(sender.connection, sender.store, withdrawn, sender.researcher)
    unreadable = sender.hand_in("PK\x03\x04")
    return live, replaced, withdrawn, unreadable


def test_nothing_goes_before_its_time(sender, lived):
    assert _apply(sender, days=29) == {}
    live, replaced, withdrawn, unreadable = lived
    assert all(
        _has_bytes(sender, *place) for place in [(live, 1), (replaced, 1), (withdrawn, 1), (unreadable, 1)]
    )


def test_bytes_and_findings_of_what_is_no_longer_live_go(sender, lived):
    live, replaced, withdrawn, unreadable = lived
    assert _apply(sender, days=91) == {"unreadable_bytes": 1}
    assert _apply(sender, days=366) == {"withdrawn_bytes": 2, "row_issues": 2}
    assert _apply(sender, days=366) == {}

    assert not _has_bytes(sender, unreadable, 1)
    assert not _has_bytes(sender, withdrawn, 1)
    assert not _has_bytes(sender, replaced, 1)
    assert _has_bytes(sender, replaced, 2)
    assert _has_bytes(sender, live, 1)
    left = sender.connection.execute("select distinct upload_id from ops.row_issues").fetchall()
    assert [row["upload_id"] for row in left] == [live]


def test_a_dry_run_counts_the_same_and_removes_nothing(sender, lived):
    due = _apply(sender, days=366, dry_run=True)
    assert due == {"withdrawn_bytes": 2, "unreadable_bytes": 1}  # findings follow the bytes
    assert _apply(sender, days=366, dry_run=True) == due
    assert _has_bytes(sender, lived[2], 1)


def test_replay_does_without_the_bytes_that_went(sender, lived):
    _apply(sender, days=366)
    before = {upload: [(v.version, v.status) for v in sender.upload(upload).versions] for upload in lived[:3]}
    raw = sender.raw()
    report = replay(sender.settings, sender.store, wipe=True)

    assert report.unreadable == []
    assert sender.raw() == raw
    assert {u: [(v.version, v.status) for v in sender.upload(u).versions] for u in lived[:3]} == before


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (
            "insert into ops.idempotency_keys "
            "values ('p', 'k', 'f', gen_random_uuid(), now() - interval '{}')",
            "idempotency_keys",
        ),
        ("insert into ops.rates values ('k', 1, now() - interval '{}')", "rates"),
        (
            "insert into ops.scopes (token_sha256, principal, role, backend_pid, expires_at) "
            "values ('a', 'p', 'admin', 1, now() - interval '{}')",
            "scopes",
        ),
        (
            "insert into ops.runs (run_id, trigger, status, started_at) "
            "values (gen_random_uuid(), 'cli', 'failed', now() - interval '{}')",
            "runs",
        ),
        (
            "with u as (insert into ops.users (user_id, email, name, role, created_by) "
            "values (gen_random_uuid(), 'a@b.c', 'A', 'admin', 'test') returning user_id) "
            "insert into ops.sessions (session_sha256, user_id, expires_at) "
            "select 'a', user_id, now() - interval '{}' from u",
            "sessions",
        ),
    ],
    ids=lambda value: None if " " in value else value,
)
def test_each_rule_knows_its_days(sender, statement, rule):
    days = next(each.days for each in load_rules() if each.rule == rule)
    sender.connection.execute(statement.format(f"{days * 24 - 1} hours"))
    assert _apply(sender) == {}
    sender.connection.execute(f"delete from ops.{rule}")
    if rule == "sessions":
        sender.connection.execute("delete from ops.users")
    sender.connection.execute(statement.format(f"{days * 24 + 1} hours"))
    assert _apply(sender) == {rule: 1}


def test_what_was_removed_stands_in_the_audit_trail_which_stays(sender, lived):
    _apply(sender, days=366)
    _apply(sender, days=10_000)
    lines = sender.connection.execute("select action, detail from ops.audit order by audit_id").fetchall()
    assert next(line["detail"] for line in lines if line["action"] == "retention:applied") == {
        "withdrawn_bytes": 2, "unreadable_bytes": 1, "row_issues": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "- {rule: audit, days: 3, since: x, what: y}",
        "- {rule: everything, days: 3, since: x, what: y}",
        "- {rule: rates, days: 0, since: x, what: y}",
        "- {rule: rates, since: x, what: y}",
        "rules: [",
    ],
)
def test_wrong_rules_are_refused(tmp_path, content):
    path = tmp_path / "rules.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"rules\.yaml"):
        load_rules(path)


def test_a_rule_without_days_keeps_for_ever(sender, lived):
    rule = Rule(rule="withdrawn_bytes", days=None, since="x", what="y")
    assert _apply(sender, days=100_000, rules=[rule]) == {}
