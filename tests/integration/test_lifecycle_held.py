"""Uploads that would remove or change much wait for a second person."""

from __future__ import annotations

import pytest
from psycopg import sql

from elt.errors import Conflict
from elt.people.keys import create_key
from elt.people.principals import Principal
from elt.people.users import create_user
from elt.serving.database_roles import let_dbt_build
from elt.uploads.lifecycle import approve_upload

SECOND = Principal("key:second", "admin")


@pytest.fixture
def stage(sender):
    """Rebuilds a staging table as dbt does: the newest row per key, some values shaped."""

    def build():
        let_dbt_build(sender.connection)
        sender.connection.execute("drop table if exists staging.stg_academic_history")
        sender.connection.execute(
            """
            create table staging.stg_academic_history as
            select distinct on (row_key) * from (
                select ops.row_key(r.school_id, student_id, academic_year, grade_level, subject, term)
                           as row_key,
                       r.school_id, student_id, academic_year, grade_level, upper(subject) as subject, term,
                       test_score, exam_score, total_score,
                       passed_core_subjects = 'Yes' as passed_core_subjects,
                       r._upload_id, _line, v.ranked_at
                from raw.academic_history r
                join ops.uploads u on u.upload_id = r._upload_id
                join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
            ) ranked
            order by row_key, ranked_at desc, _line desc
            """
        )
        sender.connection.execute("create unique index on staging.stg_academic_history (row_key)")
        sender.connection.execute("grant select on staging.stg_academic_history to laurel_loader")

    return build


def test_an_upload_that_changes_much_of_a_cohort_is_held(sender, history, stage):
    sender.hand_in(history(range(200)))
    stage()
    upload_id = sender.hand_in(history(range(70), exam=41))

    upload = sender.upload(upload_id)
    assert upload.status == "held"
    assert "change 70 of the 200 existing rows of school main" in upload.reason
    assert (upload.counts.read, upload.counts.accepted, upload.counts.loaded) == (70, 70, 0)
    assert len(sender.raw()) == 200
    kinds = sender.connection.execute("select kind from ops.events order by event_id").fetchall()
    assert kinds[-1]["kind"] == "held"


@pytest.mark.parametrize("has_staging", [False, True])
def test_rows_that_are_not_built_yet_count_as_existing(sender, history, stage, has_staging):
    if has_staging:
        stage()
    sender.hand_in(history(range(200)))
    sender.hand_in(history(range(300, 310)), principal=SECOND)

    assert sender.upload(sender.hand_in(history(range(60), exam=41))).status == "loaded"
    assert sender.upload(sender.hand_in(history(range(200), exam=45), school_id="north")).status == "loaded"
    upload = sender.upload(sender.hand_in(history(range(70), exam=42)))
    assert upload.status == "held"
    assert "change 70 of the 210 existing rows of school main" in upload.reason


@pytest.mark.parametrize(
    ("existing", "students", "exam"),
    [(200, range(60), 41), (90, range(90), 41), (200, range(200), 40), (200, range(500, 900), 41)],
    ids=["a small share", "a small cohort", "the same values", "other rows"],
)
def test_what_changes_little_is_not_held(sender, history, stage, existing, students, exam):
    sender.hand_in(history(range(existing)))
    stage()
    upload_id = sender.send(history(students, exam=exam), filename="again.csv", title="x").upload_id
    sender.load(upload_id)

    assert sender.upload(upload_id).status == "loaded"


def test_an_identical_file_of_somebody_else_is_not_held(sender, history, stage):
    sender.hand_in(history(range(200)))
    stage()
    upload_id = sender.hand_in(history(range(200)), principal=SECOND)

    assert sender.upload(upload_id).status == "loaded"


def test_another_school_is_another_cohort(sender, history, stage):
    sender.hand_in(history(range(200)))
    stage()

    assert sender.upload(sender.hand_in(history(range(200), exam=45), school_id="north")).status == "loaded"


def test_a_replacement_that_removes_much_is_held_while_the_old_version_stays_live(sender, history):
    upload_id = sender.hand_in(history(range(200)))
    sender.replace(upload_id, history(range(100)))
    assert sender.load(upload_id, 2).status == "held"

    upload = sender.upload(upload_id)
    assert "remove 100 and change 0 of the 200 rows" in upload.reason
    assert (upload.live_version, len(sender.raw())) == (1, 200)


def test_a_replacement_that_changes_little_is_not_held(sender, history):
    upload_id = sender.hand_in(history(range(200)))
    sender.replace(upload_id, history(range(20, 220)))

    assert sender.load(upload_id, 2).status == "loaded"


def test_a_keyless_replacement_is_compared_by_whole_rows(sender):
    head = (
        "gender,race/ethnicity,parental level of education,lunch,test preparation course,"
        "math score,reading score,writing score\n"
    )
    row = "female,group B,high school,standard,none,{},70,70\n"
    upload_id = sender.hand_in(head + row.format(50) * 150, "student_performance")
    sender.replace(upload_id, head + row.format(51) * 5 + row.format(50) * 150)
    assert sender.load(upload_id, 2).status == "loaded"
    sender.replace(upload_id, head + row.format(51) * 5 + row.format(50) * 100)
    assert sender.load(upload_id, 3).status == "held"


def test_a_second_person_releases_it_with_its_original_rank(sender, history, stage):
    sender.hand_in(history(range(200)))
    stage()
    held = sender.hand_in(history(range(100), exam=41))
    rank = sender.upload(held).current.ranked_at
    later = sender.hand_in(history(range(3), exam=42))
    with pytest.raises(Conflict, match="second person"):
        approve_upload(sender.connection, sender.store, held, sender.researcher)

    approve_upload(sender.connection, sender.store, held, SECOND)
    assert sender.upload(held).status == "stored"
    sender.load(held)

    upload = sender.upload(held)
    assert (upload.status, upload.current.approved_by) == ("loaded", "key:second")
    assert upload.current.ranked_at == rank < sender.upload(later).current.ranked_at


def test_no_other_key_of_the_sender_makes_a_second_person(sender, history):
    create_user(sender.connection, "other@school.example", "Other", "admin", "test")
    account = create_user(sender.connection, "ada@school.example", "Ada", "admin", "test")
    one, two, of_another = (
        Principal(f"key:{create_key(sender.connection, 'x', 'admin', None, made_by)[0]}", "admin")
        for made_by in (f"user:{account}", f"user:{account}", "cli:test")
    )
    made_by_two, _ = create_key(sender.connection, "x", "admin", None, two.id)
    upload_id = sender.hand_in(history(range(200)), principal=one)
    sender.replace(upload_id, history(range(100)), principal=one)
    assert sender.load(upload_id, 2).status == "held"

    for own in (one.id, two.id, f"key:{made_by_two}", f"user:{account}"):
        with pytest.raises(Conflict, match="second person"):
            approve_upload(sender.connection, sender.store, upload_id, Principal(own, "admin"))
    approve_upload(sender.connection, sender.store, upload_id, of_another)
    assert sender.upload(upload_id).status == "stored"


def test_keys_of_the_command_line_are_persons_with_the_keys_they_made(sender, history):
    own, other = (create_key(sender.connection, "x", "admin", None, "cli:test")[0] for _ in range(2))
    made, _ = create_key(sender.connection, "x", "admin", None, f"key:{own}")
    one = Principal(f"key:{own}", "admin")
    upload_id = sender.hand_in(history(range(200)), principal=one)
    sender.replace(upload_id, history(range(100)), principal=one)
    assert sender.load(upload_id, 2).status == "held"

    with pytest.raises(Conflict, match="second person"):
        approve_upload(sender.connection, sender.store, upload_id, Principal(f"key:{made}", "admin"))
    approve_upload(sender.connection, sender.store, upload_id, Principal(f"key:{other}", "admin"))
    assert sender.upload(upload_id).status == "stored"


def test_a_held_decision_stands_until_it_is_approved(sender, history, stage):
    sender.hand_in(history(range(200)))
    stage()
    held = sender.hand_in(history(range(100), exam=41))
    # The database was restored to a moment before the decision, and staging has not been built since.
    sender.connection.execute(
        "update ops.upload_versions set status = 'stored', reason = null where upload_id = %s", (held,)
    )
    sender.connection.execute("drop table staging.stg_academic_history")

    assert sender.load(held).status == "held"
    assert len(sender.connection.execute("select * from ops.events where kind = 'held'").fetchall()) == 1


def test_a_held_version_is_over_when_a_later_one_has_loaded(sender, history):
    upload_id = sender.hand_in(history(range(200)))
    sender.replace(upload_id, history(range(100)))
    sender.load(upload_id, 2)
    sender.replace(upload_id, history(range(190)))
    assert sender.load(upload_id, 3).status == "loaded"

    assert [item.status for item in sender.upload(upload_id).versions] == ["loaded", "withdrawn", "withdrawn"]
    with pytest.raises(Conflict, match="not held"):
        approve_upload(sender.connection, sender.store, upload_id, SECOND)


def test_a_fix_that_changes_much_of_other_uploads_is_held(sender, history, stage):
    sender.hand_in(history(range(200)))
    bad = {n: f"STU{n:05},JSS1,Mathematics,First Term,20,40,61" for n in range(500, 570)}
    parent = sender.hand_in(history(range(500, 570), faults=bad))
    stage()
    fix = sender.hand_in(history(range(70), exam=41), fixes=parent)

    assert sender.upload(fix).status == "held"
    approve_upload(sender.connection, sender.store, fix, SECOND)
    assert sender.load(fix).status == "loaded"


def test_a_fix_that_adds_rows_is_not_held(sender, history, stage):
    bad = {number: f"STU{number:05},JSS1,Mathematics,First Term,20,40,61" for number in range(3)}
    parent = sender.hand_in(history(range(100), faults=bad))
    stage()
    sender.connection.execute(
        sql.SQL("update staging.stg_academic_history set exam_score = 1, row_key = row_key")
    )
    header = "Student ID,Grade Level,Subject,Term,Test Score,Exam Score,Total Score,line,column,rule,hint\n"
    fix = sender.hand_in(header + "STU00000,JSS1,Mathematics,First Term,20,40,60,2,,,\n", fixes=parent)

    assert sender.upload(fix).status == "loaded"
