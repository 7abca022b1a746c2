"""What people do to uploads, from handing in to withdrawing."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from uuid6 import uuid7

from elt.errors import Conflict, NotFound, UnknownDataset
from elt.people.principals import Principal
from elt.uploads.apply import adopt_event
from elt.uploads.events import Event
from elt.uploads.lifecycle import amend_upload, approve_upload, withdraw_upload

OTHER = Principal("key:other", "researcher")


def _objects(store, prefix):
    return [item.key for item in store.list(prefix)]


def test_an_accepted_upload_is_an_object_and_an_event_before_it_is_a_row(sender, history):
    accepted = sender.send(history([1]), title="Term one", note="from the registrar")

    assert accepted.created
    upload = sender.upload(accepted.upload_id)
    assert (upload.status, upload.title, upload.note) == ("stored", "Term one", "from the registrar")
    assert _objects(sender.store, "uploads/") == [upload.current.object_key]
    [event] = sender.connection.execute("select event_id, kind from ops.events").fetchall()
    assert _objects(sender.store, "events/")[0].endswith(f"{event['event_id']}.json")


def test_a_refused_upload_leaves_nothing(sender, history):
    with pytest.raises(UnknownDataset, match="expected one of"):
        sender.send(history([1]), "pupils")
    with pytest.raises(NotFound):
        sender.send(history([1]), fixes=uuid4())

    assert _objects(sender.store, "") == []


def test_the_same_bytes_again_are_the_first_upload(sender, history):
    first = sender.hand_in(history(range(3)))
    again = sender.send(history(range(3)))

    assert (again.upload_id, again.created) == (first, False)
    assert len(_objects(sender.store, "uploads/")) == 1


@pytest.mark.parametrize(
    "other",
    [{"school_id": "north"}, {"principal": OTHER}, {"dataset": "guardians"}, {"options": {"delimiter": ","}}],
)
def test_the_same_bytes_for_something_else_are_a_new_upload(sender, history, other):
    from elt.reading.reader import ReadOptions

    if "options" in other:
        other = {"options": ReadOptions.from_dict(other["options"])}
    sender.hand_in(history([1]))

    assert sender.send(history([1]), **other).created


@pytest.mark.parametrize("state", ["withdrawn", "rejected"])
def test_the_same_bytes_as_an_upload_that_is_gone_are_a_new_one(sender, history, state):
    content = history([1]) if state == "withdrawn" else history([])
    first = sender.hand_in(content)
    if state == "withdrawn":
        withdraw_upload(sender.connection, sender.store, first, sender.researcher)
    assert sender.upload(first).status == state

    assert sender.send(content).created


def test_the_same_bytes_are_new_once_a_later_upload_overrides_a_row(sender, history):
    sender.hand_in(history([1, 2, 3]))
    sender.hand_in(history([3, 4], exam=50))

    assert sender.send(history([1, 2, 3])).created


def test_the_same_bytes_are_not_new_because_of_later_uploads_of_other_rows(sender, history):
    first = sender.hand_in(history([1, 2, 3]))
    sender.hand_in(history([4, 5]))
    sender.hand_in(history([1, 2, 3], exam=50), school_id="north")

    assert sender.send(history([1, 2, 3])).upload_id == first


def test_an_upload_that_still_waits_overrides_only_in_its_school(sender, history):
    first = sender.hand_in(history([1, 2, 3]))
    sender.send(history([9]), school_id="north")
    assert sender.send(history([1, 2, 3])).upload_id == first

    sender.send(history([9]))
    assert sender.send(history([1, 2, 3])).created


def test_rows_of_a_keyless_dataset_are_never_overridden(sender):
    rows = (
        "gender,race/ethnicity,parental level of education,lunch,test preparation course,"
        "math score,reading score,writing score\nfemale,group B,high school,standard,none,{},70,70\n"
    )
    first = sender.hand_in(rows.format(50), "student_performance")
    sender.hand_in(rows.format(60), "student_performance")

    assert sender.send(rows.format(50), "student_performance").upload_id == first


def test_a_live_version_overrides_also_when_a_later_one_was_rejected(sender, history):
    sender.hand_in(history([1, 2, 3]))
    later = sender.hand_in(history([3, 4], exam=50))
    sender.replace(later, history([]))
    assert sender.load(later, 2).status == "rejected"

    assert sender.send(history([1, 2, 3])).created


@pytest.mark.parametrize(("newest", "created"), [("rejected", False), ("stored", True)])
def test_the_bytes_of_an_older_version_are_known_while_nothing_is_to_replace_it(sender, newest, created):
    head = (
        "gender,race/ethnicity,parental level of education,lunch,test preparation course,"
        "math score,reading score,writing score\n"
    )
    row = "female,group B,high school,standard,none,{},70,70\n"
    first = sender.hand_in(head + row.format(50), "student_performance")
    sender.replace(first, head if newest == "rejected" else head + row.format(60))
    if newest == "rejected":
        sender.load(first, 2)
    assert sender.upload(first).status == newest

    assert sender.send(head + row.format(50), "student_performance").created == created


def test_an_idempotency_key_names_one_request(sender, history):
    first = sender.send(history([1]), idempotency_key="abc")
    assert sender.send(history([1]), idempotency_key="abc").upload_id == first.upload_id
    withdraw_upload(sender.connection, sender.store, first.upload_id, sender.researcher)
    assert sender.send(history([1]), idempotency_key="abc").upload_id == first.upload_id
    assert sender.send(history([1]), idempotency_key="abc", principal=OTHER).created

    with pytest.raises(Conflict, match="Idempotency-Key"):
        sender.send(history([2]), idempotency_key="abc")


def test_a_new_version_replaces_the_old_one_only_when_it_has_loaded(sender, history):
    upload_id = sender.hand_in(history([1, 2]))
    version = sender.replace(upload_id, history([2, 3], exam=41))
    assert version == 2
    assert [row[0] for row in sender.raw("academic_history", "student_id")] == ["STU00001", "STU00002"]

    sender.load(upload_id, 2)

    assert sender.raw("academic_history", "student_id", "exam_score") == [("STU00002", 41), ("STU00003", 41)]
    upload = sender.upload(upload_id)
    assert (upload.live_version, upload.status) == (2, "loaded")
    assert [(item.version, item.status, item.counts.loaded) for item in upload.versions] == [
        (2, "loaded", 2), (1, "withdrawn", 0)
    ]  # fmt: skip


def test_a_replacement_lists_the_keys_of_the_rows_it_took_out(sender, history):
    upload_id = sender.hand_in(history([1, 2]))
    sender.replace(upload_id, history([2, 3]))
    sender.load(upload_id, 2)

    rows = sender.connection.execute(
        """
        select c.row_key = ops.row_key('main', s, '', 'JSS1', 'Mathematics', 'First Term') as known,
               l.kind, l.version
        from raw.academic_history__changed c join ops.loads l using (load_id)
        left join unnest(array['STU00001', 'STU00002']) s
          on c.row_key = ops.row_key('main', s, '', 'JSS1', 'Mathematics', 'First Term')
        """
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [(True, "load", 2)] * 2


def test_a_rejected_replacement_leaves_the_old_version_live(sender, history):
    upload_id = sender.hand_in(history([1, 2]))
    sender.replace(upload_id, "Student ID\nSTU1\n")
    assert sender.load(upload_id, 2).status == "rejected"

    upload = sender.upload(upload_id)
    assert (upload.live_version, upload.version, upload.versions[1].status) == (1, 2, "loaded")
    assert len(sender.raw()) == 2


def test_the_same_bytes_as_a_replacement_change_nothing(sender, history):
    upload_id = sender.hand_in(history([1, 2]))

    assert sender.replace(upload_id, history([1, 2])) == 1
    assert len(_objects(sender.store, "uploads/")) == 1


def test_replacements_wait_for_those_before_them(sender, history):
    upload_id = sender.hand_in(history([1]))
    sender.replace(upload_id, history([2]))
    sender.replace(upload_id, history([3]))
    sender.load(upload_id, 3)

    assert [item.status for item in sender.upload(upload_id).versions] == ["loaded", "withdrawn", "withdrawn"]
    kinds = sender.connection.execute("select version, kind from ops.loads order by load_id").fetchall()
    assert [(row["version"], row["kind"]) for row in kinds] == [(1, "load"), (2, "load"), (3, "load")]


def test_withdrawing_takes_the_rows_out_and_lists_their_keys(sender, history):
    kept = sender.hand_in(history([1, 2]))
    gone = sender.hand_in(history([2, 3], exam=50))
    withdraw_upload(sender.connection, sender.store, gone, sender.researcher, reason="wrong term")

    assert {row[0] for row in sender.raw("academic_history", "_upload_id")} == {kept}
    upload = sender.upload(gone)
    assert (upload.status, upload.live_version, upload.reason) == ("withdrawn", None, "wrong term")
    assert upload.counts.loaded == 0
    [changed] = sender.connection.execute(
        "select count(*) as keys, min(kind) as kind, min(rows) as rows "
        "from raw.academic_history__changed join ops.loads using (load_id)"
    ).fetchall()
    assert tuple(changed.values()) == (2, "withdraw", 2)


def test_withdrawing_twice_is_a_conflict(sender, history):
    upload_id = sender.hand_in(history([1]))
    withdraw_upload(sender.connection, sender.store, upload_id, sender.researcher)

    with pytest.raises(Conflict, match="withdrawn"):
        withdraw_upload(sender.connection, sender.store, upload_id, sender.researcher)
    with pytest.raises(Conflict, match="withdrawn"):
        sender.replace(upload_id, history([2]))


def test_an_upload_withdrawn_before_it_was_loaded_never_loads(sender, history):
    upload_id = sender.send(history([1])).upload_id
    withdraw_upload(sender.connection, sender.store, upload_id, sender.researcher)

    assert sender.load(upload_id).status == "withdrawn"
    assert sender.raw() == []
    assert sender.connection.execute("select * from ops.loads").fetchall() == []


def test_an_upload_is_found_by_its_uploader_and_by_administrators_only(sender, history):
    upload_id = sender.hand_in(history([1]))
    with pytest.raises(NotFound):
        withdraw_upload(sender.connection, sender.store, upload_id, OTHER)
    with pytest.raises(NotFound):
        sender.replace(upload_id, history([2]), OTHER)
    with pytest.raises(NotFound):
        withdraw_upload(sender.connection, sender.store, UUID(int=uuid7().int), sender.admin)

    withdraw_upload(sender.connection, sender.store, upload_id, sender.admin)


def test_title_and_note_can_be_amended(sender, history):
    upload_id = sender.hand_in(history([1]))
    amend_upload(sender.connection, sender.store, upload_id, sender.researcher, "New", None)

    upload = sender.upload(upload_id)
    assert (upload.title, upload.note) == ("New", None)


def test_only_a_held_upload_can_be_approved(sender, history):
    upload_id = sender.hand_in(history([1]))

    with pytest.raises(Conflict, match="not held"):
        approve_upload(sender.connection, sender.store, upload_id, sender.admin)


def test_ranks_never_run_backwards_when_the_clock_does(sender, history):
    first = sender.hand_in(history([1]))
    sender.connection.execute("update ops.events set occurred_at = now() + interval '1 day'")
    second = sender.hand_in(history([1], exam=50))

    later = sender.upload(second).current.ranked_at
    [known] = sender.connection.execute("select min(occurred_at) as at from ops.events").fetchall()
    assert later >= known["at"]
    assert later > sender.upload(first).current.ranked_at


def test_what_is_adopted_after_its_upload_was_withdrawn_stays_withdrawn(sender, history):
    """Requests that died between event and database; a later run finds their events in the store."""
    bad = {1: "STU00001,JSS1,Mathematics,First Term,20,40,61"}
    parent = sender.hand_in(history(range(100), faults=bad))
    fix = sender.send(history([1]), fixes=parent).upload_id
    sender.replace(parent, history(range(50)))
    lost = [_forgotten(sender, fix, "fixed"), _forgotten(sender, parent, "replaced")]
    withdraw_upload(sender.connection, sender.store, parent, sender.researcher)

    assert [adopt_event(sender.connection, event) for event in lost] == [True, True]
    sender.load(fix)
    sender.load(parent, 2)
    assert [sender.upload(fix).status, sender.upload(parent).status] == ["withdrawn", "withdrawn"]
    assert sender.upload(fix).withdrawn_at == sender.upload(parent).withdrawn_at
    assert sender.raw() == []


def _forgotten(sender, upload_id, kind):
    """The event, of which the database no longer knows anything."""
    row = sender.connection.execute(
        "delete from ops.events where upload_id = %s and kind = %s returning *", (upload_id, kind)
    ).fetchone()
    version = row["body"].get("version", 1)
    sender.connection.execute(
        "delete from ops.upload_versions where upload_id = %s and version = %s", (upload_id, version)
    )
    if version == 1:
        sender.connection.execute("delete from ops.uploads where upload_id = %s", (upload_id,))
    else:
        sender.connection.execute("update ops.uploads set version = 1 where upload_id = %s", (upload_id,))
    return Event(**row)
