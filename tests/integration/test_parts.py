"""A large file that is loaded in parts becomes what it would become as a whole."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from elt import pipeline
from elt.backup.take import take_backup
from elt.backup.verify import verify_backup
from elt.errors import DatabaseUnavailable, StoreUnavailable
from elt.loading import parts
from elt.loading.parts import discard_outdated, discard_unfinished, load_part, split_version
from elt.loading.raw_tables import part_table
from elt.migrate import downgrade, migrate
from elt.privacy.tombstones import tombstones_of
from elt.reading.dialect import ReadOptions
from elt.settings import Settings
from elt.store.base import open_store
from elt.transforming.transform import prepare_raw
from elt.uploads.lifecycle import approve_upload, withdraw_upload
from elt.uploads.replay import replay
from elt.warehouse import connect
from tests.conftest import Sender
from tests.faults.oracle import other_sessions
from tests.faults.world import wait_until

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.csv"))


def cut(sender: Sender, size: int) -> Settings:
    """The settings under which files of more bytes than this are cut."""
    return sender.settings.model_copy(update={"split_bytes": size})


def load_in_parts(sender: Sender, upload_id: UUID, size: int, version: int = 1) -> int:
    """Cut, load the parts in any order, and end the load; returns how many parts there were."""
    small = cut(sender, size)
    parts = split_version(small, sender.store, upload_id, version)
    random.Random(size).shuffle(parts)
    ready = [load_part(small, sender.store, upload_id, version, part) for part in parts]
    assert not any(ready[:-1]) or not waiting(sender)
    sender.load(upload_id, version)
    return len(parts)


def waiting(sender: Sender) -> list[Any]:
    """What there is of parts that are not shown."""
    return sender.connection.execute(
        """
        select split_id::text from ops.splits
        union all select oid::regclass::text from pg_class where relnamespace = 'parts'::regnamespace
        union all select split_id::text from ops.split_findings
        """
    ).fetchall()


def outcome(sender: Sender, upload_id: UUID, dataset: str) -> dict[str, Any]:
    """All that a load leaves, but ids and times."""
    version = sender.connection.execute(
        """
        select status, reason, issues, detected, rows_read, rows_accepted, rows_rejected, rows_repeated,
            rows_loaded, rows_erased, warnings
        from ops.upload_versions where upload_id = %s
        """,
        (upload_id,),
    ).fetchall()
    issues = sender.connection.execute(
        "select line, column_name, rule, severity from ops.row_issues where upload_id = %s order by 1, 2, 3",
        (upload_id,),
    ).fetchall()
    rows = [row[:-2] + row[-1:] for row in sender.raw(dataset) if row[-2] == upload_id]
    loads = sender.connection.execute(
        "select version, dataset, kind, rows from ops.loads where upload_id = %s", (upload_id,)
    ).fetchall()
    return {"version": version, "issues": issues, "rows": rows, "loads": loads}


def whole_and_in_parts(
    sender: Sender, content: bytes, dataset: str, size: int, **request: Any
) -> tuple[Any, Any, int]:
    whole = sender.hand_in(content, dataset, **request)
    expected = outcome(sender, whole, dataset)
    other = sender.send(content, dataset, principal=sender.admin, **request).upload_id
    parts = load_in_parts(sender, other, size)
    assert waiting(sender) == []
    return expected, outcome(sender, other, dataset), parts


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_become_the_same(sender: Sender, sample: Path) -> None:
    for dataset in ("academic_history", "students"):
        expected, found, _ = whole_and_in_parts(sender, sample.read_bytes(), dataset, 100)
        assert found == expected


CELL = st.one_of(
    st.sampled_from(
        ["1", "20", "60", "101", "", "x", '"a\nb"', '"a\r\nb"', '"a""b"', '","', '"\n"', "é", "\0"]
    ),
    st.integers(0, 100).map(str),
)
ROW = st.one_of(
    st.tuples(st.sampled_from(["S1", "S2", '"S\n3"']), st.sampled_from(["JSS1", "JSS2", "X"]), CELL).map(
        lambda cells: f"{cells[0]},{cells[1]},Mathematics,First Term,{cells[2]}"
    ),
    st.just("S1,JSS1,Mathematics,First Term,50"),
    st.sampled_from(["", "S1,JSS1", "S1,JSS1,a,b,c,d", 'S1,JSS1,5" pipe,First Term,1']),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROW, min_size=1, max_size=40),
    sound=st.integers(0, 60),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
    last=st.booleans(),
    size=st.integers(60, 500),
)
def test_any_file_becomes_the_same(
    sender: Sender, rows: list[str], sound: int, end: str, mark: bool, last: bool, size: int
) -> None:
    header = "Student ID,Grade Level,Subject,Term,Total Score"
    lines = [f"T{number},JSS1,Mathematics,First Term,50" for number in range(sound)]
    mixed = [header, *rows, *lines, *rows[:2]]
    content = ("\ufeff" if mark else "") + end.join(mixed) + (end if last else "")
    expected, found, _ = whole_and_in_parts(sender, content.encode(), "academic_history", size)
    assert found == expected
    with sender.connection.transaction():
        sender.connection.execute("delete from raw.academic_history; update ops.loads set built_at = now()")


def test_rows_lie_in_a_table_of_their_own_and_are_not_read_before_all_are_there(sender, history):
    upload_id = sender.send(history(range(300))).upload_id
    small = cut(sender, 4000)
    parts = split_version(small, sender.store, upload_id, 1)
    assert parts == [0, 1, 2, 3]
    assert split_version(small, sender.store, upload_id, 1) == parts

    assert not load_part(small, sender.store, upload_id, 1, 2)
    assert not load_part(small, sender.store, upload_id, 1, 2)
    assert not any(load_part(small, sender.store, upload_id, 1, part) for part in (0, 3))
    assert sender.raw() == []
    assert split_version(small, sender.store, upload_id, 1) == [1]
    assert load_part(small, sender.store, upload_id, 1, 1)
    assert sender.raw() == []
    sender.load(upload_id)

    assert len(sender.raw()) == 300
    only = sender.connection.execute("select count(*) as rows from only raw.academic_history").fetchone()
    assert only == {"rows": 0}
    [times] = sender.connection.execute(
        "select count(distinct r._loaded_at) as loads, bool_and(r._loaded_at = v.loaded_at) as is_end "
        "from raw.academic_history r join ops.upload_versions v on v.upload_id = r._upload_id"
    ).fetchall()
    assert times == {"loads": 1, "is_end": True}


AWKWARD = (
    "\ufeffStudent ID,Grade Level,Subject,Term,Total Score\r\n"
    + "".join(f'S{n},JSS1,"Mathe\nmatics",First Term,{n % 90}\r\n' for n in range(40))
    + "\r\n"
    + "".join(f"S{n},JSS9,Mathematics,First Term,5\r\n" for n in range(2))
    + "".join(f'T{n},JSS1,"a, ""b""",First Term,{n}\r\n' for n in range(40))
    + "T1,JSS1\r\n"
    + 'S0,JSS1,"Mathe\nmatics",First Term,0\r\n' * 2
    + "é,JSS1,Mathematics,First Term,7"
)


def test_lines_repeats_and_rejects_are_those_of_the_whole_file(sender: Sender) -> None:
    expected, found, parts = whole_and_in_parts(sender, AWKWARD.encode(), "academic_history", 400)
    assert parts == 5
    assert found == expected
    [version] = found["version"]
    counts = {name: version[f"rows_{name}"] for name in ("read", "accepted", "rejected", "repeated")}
    assert counts == {"read": 86, "accepted": 81, "rejected": 3, "repeated": 2}
    assert [issue["line"] for issue in found["issues"]] == [83, 84, 125]
    assert found["version"][0]["detected"]["has_bom"]


def test_the_limit_of_rejects_is_that_of_the_whole_file(sender: Sender) -> None:
    sound = "".join(f"S{n},JSS1,Mathematics,First Term,5\n" for n in range(100))
    unsound = "".join(f"S{n},JSS9,Mathematics,First Term,5\n" for n in range(8))
    header = "Student ID,Grade Level,Subject,Term,Total Score\n"
    for content, status in ((sound + unsound, "rejected"), (sound * 2 + unsound, "loaded")):
        expected, found, parts = whole_and_in_parts(
            sender, (header + content).encode(), "academic_history", 1000
        )
        assert parts > 2
        assert found == expected
        assert found["version"][0]["status"] == status


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("quotes that stand anywhere", '5" pipe,JSS1,Mathematics,First Term,1\n', {}),
        ("a quote that never ends", '"5,JSS1,Mathematics,First Term,1\n', {}),
        ("cp1252 that is not stated", "é,JSS1,Mathematics,First Term,1\n", {}),
        ("line ends that are not of Unix", "S,JSS1,Mathematics,First Term,1\r" * 90, {}),
    ],
)
def test_a_file_that_cannot_be_cut_is_loaded_as_a_whole(
    sender: Sender, history: Any, name: str, content: str, options: dict[str, str]
) -> None:
    del name
    text = history(range(50)).replace(",Test Score,Exam Score", "").replace(",20,40", "")
    expected, found, parts = whole_and_in_parts(
        sender, (text + content).encode("cp1252"), "academic_history", 500
    )
    assert parts == 0
    assert found == expected


def test_cp1252_that_is_stated_is_cut(sender: Sender, history: Any) -> None:
    content = history(range(50)).replace("Mathematics", "Mathématiques").encode("cp1252")
    expected, found, parts = whole_and_in_parts(
        sender, content, "academic_history", 900, options=ReadOptions(encoding="cp1252")
    )
    assert parts > 2
    assert found == expected
    assert all("Mathématiques" in row for row in found["rows"])


def test_a_new_version_in_parts_takes_the_place_of_the_one_before(sender: Sender, history: Any) -> None:
    upload_id = sender.send(history(range(100))).upload_id
    assert load_in_parts(sender, upload_id, 1500) > 2
    sender.replace(upload_id, history(range(10, 110)))
    assert load_in_parts(sender, upload_id, 1500, version=2) > 2

    students = {(f"STU{number:05}",) for number in range(10, 110)}
    assert set(sender.raw("academic_history", "student_id")) == students
    assert discard_outdated(sender.connection) == 1
    assert set(sender.raw("academic_history", "student_id")) == students


def test_a_version_that_is_replaced_or_withdrawn_meanwhile_leaves_nothing(
    sender: Sender, history: Any
) -> None:
    small = cut(sender, 1500)
    replaced = sender.send(history(range(100))).upload_id
    withdrawn = sender.send(history(range(100, 200))).upload_id
    for upload_id in (replaced, withdrawn):
        assert not load_part(
            small, sender.store, upload_id, 1, split_version(small, sender.store, upload_id, 1)[0]
        )
    withdraw_upload(sender.connection, sender.store, withdrawn, sender.researcher)
    assert not load_part(small, sender.store, withdrawn, 1, 1)
    sender.replace(replaced, history(range(80)))
    assert load_in_parts(sender, replaced, 1500, version=2) > 2
    assert not load_part(small, sender.store, replaced, 1, 1)

    discard_outdated(sender.connection)
    assert waiting(sender) == []
    assert {row[-2] for row in sender.raw()} == {replaced}
    assert len(sender.raw()) == 80


def test_what_is_withdrawn_leaves_raw_and_then_its_table_goes(sender: Sender, history: Any) -> None:
    upload_id = sender.send(history(range(100))).upload_id
    load_in_parts(sender, upload_id, 1500)
    assert discard_outdated(sender.connection) == 0
    withdraw_upload(sender.connection, sender.store, upload_id, sender.researcher)
    assert sender.raw() == []
    assert discard_outdated(sender.connection) == 1
    tables = "select from pg_inherits where inhparent = 'raw.academic_history'::regclass"
    assert sender.connection.execute(tables).rowcount == 0


def test_a_table_of_live_rows_stays_though_its_comment_is_lost(sender: Sender, history: Any) -> None:
    upload_id = sender.send(history(range(100))).upload_id
    load_in_parts(sender, upload_id, 1500)
    [child] = sender.connection.execute(
        "select inhrelid::regclass::text as name from pg_inherits "
        "where inhparent = 'raw.academic_history'::regclass"
    ).fetchall()
    sender.connection.execute(f"comment on table {child['name']} is 'looked at'")
    assert discard_outdated(sender.connection) == 0
    assert len(sender.raw()) == 100
    withdraw_upload(sender.connection, sender.store, upload_id, sender.researcher)
    assert discard_outdated(sender.connection) == 1


def test_a_held_version_leaves_no_rows_aside_and_loads_when_it_is_approved(
    sender: Sender, history: Any
) -> None:
    upload_id = sender.send(history(range(300))).upload_id
    load_in_parts(sender, upload_id, 4000)
    sender.replace(upload_id, history(range(100)))
    assert load_in_parts(sender, upload_id, 2000, version=2) > 1
    assert sender.load(upload_id, 2).status == "held"
    assert waiting(sender) == []
    assert len(sender.raw()) == 300

    approve_upload(sender.connection, sender.store, upload_id, sender.admin)
    assert load_in_parts(sender, upload_id, 2000, version=2) > 1
    assert len(sender.raw()) == 100


def test_somebody_erased_meanwhile_does_not_come_in(sender: Sender, history: Any) -> None:
    small = cut(sender, 1500)
    upload_id = sender.send(history(range(100))).upload_id
    first, *others = split_version(small, sender.store, upload_id, 1)
    assert not load_part(small, sender.store, upload_id, 1, first)
    sender.connection.execute(
        "insert into ops.erasures (erasure_id, kind, school_id, tombstone, reason, requested_by) "
        "values (gen_random_uuid(), 'student', 'main', %s, 'asked', 'user:1')",
        tombstones_of(sender.settings, "student", "main", "STU00005")[:1],
    )
    assert load_part(small, sender.store, upload_id, 1, others[0])  # what it rested on has changed
    load_in_parts(sender, upload_id, 1500)

    assert waiting(sender) == []
    assert len(sender.raw()) == 99
    assert "STU00005" not in {row[0] for row in sender.raw("academic_history", "student_id")}


def test_an_erasure_throws_away_what_waits(sender: Sender, history: Any) -> None:
    small = cut(sender, 1500)
    upload_id = sender.send(history(range(100))).upload_id
    load_part(small, sender.store, upload_id, 1, split_version(small, sender.store, upload_id, 1)[0])
    discard_unfinished(sender.connection)
    assert waiting(sender) == []


def test_an_erasure_throws_away_what_could_not_be_dropped_with_its_split(
    sender: Sender, history: Any
) -> None:
    upload_id = sender.send(history(range(100))).upload_id
    split_version(cut(sender, 1500), sender.store, upload_id, 1)
    sender.connection.execute("delete from ops.splits")
    assert len(waiting(sender)) == 2  # the table and its index
    discard_unfinished(sender.connection)
    assert waiting(sender) == []


def test_parts_that_were_hashed_otherwise_are_not_put_together(
    sender: Sender, history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = cut(sender, 1500)
    upload_id = sender.send(history([*range(100), 1])).upload_id
    for part in split_version(small, sender.store, upload_id, 1):
        monkeypatch.setattr(parts, "way_of_hashing", lambda part=part: str(part))
        load_part(small, sender.store, upload_id, 1, part)
    assert sender.load(upload_id).counts.repeated == 1
    assert waiting(sender) == []
    assert len(sender.raw()) == 100


@pytest.mark.parametrize(
    "meanwhile",
    [
        "drop table {table}",
        "alter table raw.academic_history add constraint scores check (total_score >= 0)",
        "alter table {table} drop column total_score",
        "alter table {table} add column _loaded_at timestamptz",
    ],
)
def test_parts_that_do_not_suit_raw_any_more_are_read_as_a_whole(
    sender: Sender, history: Any, meanwhile: str
) -> None:
    small = cut(sender, 1500)
    upload_id = sender.send(history([*range(100), 1], faults={7: "STU00007,X"})).upload_id
    for part in split_version(small, sender.store, upload_id, 1):
        load_part(small, sender.store, upload_id, 1, part)
    [split] = sender.connection.execute("select split_id from ops.splits").fetchall()
    sender.connection.execute(sql.SQL(meanwhile).format(table=part_table(split["split_id"])))

    counts = sender.load(upload_id).counts
    assert (counts.accepted, counts.rejected, counts.repeated) == (99, 1, 1)
    assert len(sender.raw()) == 99
    assert sender.connection.execute("select from ops.row_issues").rowcount == 1
    assert waiting(sender) == []


def test_bytes_that_have_changed_since_the_file_was_cut_are_not_loaded(sender: Sender, history: Any) -> None:
    small = cut(sender, 1500)
    upload_id = sender.send(history(range(100))).upload_id
    [found] = sender.connection.execute("select object_key from ops.upload_versions").fetchall()
    ready = split_version(small, sender.store, upload_id, 1)
    path = sender.settings.home / "store" / found["object_key"]
    path.write_bytes(path.read_bytes().replace(b"STU00099", b"STU00098"))

    assert load_part(small, sender.store, upload_id, 1, ready[-1])
    outcome = sender.load(upload_id)
    assert (outcome.status, sender.raw(), waiting(sender)) == ("stored", [], [])
    assert "do not have the digest" in (outcome.reason or "")


def test_a_run_loads_parts_in_groups_of_their_own_and_the_last_ends_the_load(
    sender: Sender, history: Any
) -> None:
    small = cut(sender, 4000)
    large = sender.send(history(range(300))).upload_id
    other = sender.send(history(range(1000, 1010))).upload_id

    plan = pipeline.begin(small, trigger="api", in_parts=True)
    assert plan.groups == [[f"{other}:1"], *([f"{large}:1:{part}"] for part in range(4))]
    assert pipeline.load(small, plan.run_id, plan.groups[1]) == {}
    again = pipeline.begin(small, trigger="api", in_parts=True)  # the first one died
    assert again.groups == [[f"{other}:1"], *([f"{large}:1:{part}"] for part in range(1, 4))]
    outcomes = [pipeline.load(small, again.run_id, group) for group in again.groups]
    assert outcomes == [{"loaded": 1}, {}, {}, {"loaded": 1}]
    assert pipeline.load(small, plan.run_id, plan.groups[2]) == {}  # delivered twice
    assert len(sender.raw()) == 310


@pytest.mark.parametrize(
    "error", [ValueError("a mistake of ours"), StoreUnavailable("The object cannot be read.")], ids=repr
)
def test_a_file_that_cannot_be_cut_now_stops_no_other(
    sender: Sender, history: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    broken = sender.send(history(range(300))).upload_id
    sound = sender.send(history(range(300, 600))).upload_id
    original = parts._cut

    def cut_one(store: Any, source: Any, split_bytes: int) -> Any:
        if source.upload_id == broken:
            raise error
        return original(store, source, split_bytes)

    monkeypatch.setattr(parts, "_cut", cut_one)
    small = cut(sender, 4000)
    plan = pipeline.begin(small, trigger="api", in_parts=True)
    assert plan.groups == [[f"{broken}:1"], *([f"{sound}:1:{part}"] for part in range(4))]
    assert pipeline.load(small, plan.run_id, plan.groups[0]) == {"loaded": 1}


def test_a_run_that_does_not_begin_leaves_no_line(
    sender: Sender, history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_connection: Any) -> int:
        raise psycopg.OperationalError("away")

    sender.send(history(range(3)))
    monkeypatch.setattr(pipeline, "discard_outdated", away)
    with pytest.raises(DatabaseUnavailable, match="away"):
        pipeline.begin(sender.settings, trigger="api", in_parts=True)
    assert sender.connection.execute("select from ops.runs").rowcount == 0


def test_no_run_has_more_tasks_than_airflow_maps(
    sender: Sender, history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipeline.MAX_PARTS + parts.MOST_PARTS + pipeline.MAX_LOAD_GROUPS < 1024
    monkeypatch.setattr(pipeline, "MAX_PARTS", 5)
    files = [sender.send(history(range(start, start + 300))).upload_id for start in range(0, 1200, 300)]
    plan = pipeline.begin(cut(sender, 4000), trigger="api", in_parts=True)
    cut_, whole = files[:2], files[2:]
    assert plan.groups == [
        *([f"{upload_id}:1"] for upload_id in whole),
        *([f"{upload_id}:1:{part}"] for upload_id in cut_ for part in range(4)),
    ]


def test_a_file_whose_parts_are_all_there_is_loaded_by_any_run(sender: Sender, history: Any) -> None:
    small = cut(sender, 4000)
    upload_id = sender.send(history(range(300))).upload_id
    for part in split_version(small, sender.store, upload_id, 1):
        load_part(small, sender.store, upload_id, 1, part)
    plan = pipeline.begin(small, trigger="api", in_parts=True)
    assert plan.groups == [[f"{upload_id}:1"]]
    assert pipeline.load(small, plan.run_id, plan.groups[0]) == {"loaded": 1}
    only = sender.connection.execute("select from only raw.academic_history")
    assert (only.rowcount, len(sender.raw())) == (0, 300)


def test_the_block_index_of_its_table_knows_all_rows_before_a_build(sender: Sender, history: Any) -> None:
    upload_id = sender.send(history(range(300))).upload_id
    load_in_parts(sender, upload_id, 4000)
    prepare_raw(sender.connection, "academic_history")
    [index] = sender.connection.execute(
        "select indexrelid from pg_index join pg_inherits on inhrelid = indrelid "
        "where inhparent = 'raw.academic_history'::regclass"
    ).fetchall()
    left = sender.connection.execute("select brin_summarize_new_values(%s) as left", (index["indexrelid"],))
    assert left.fetchone() == {"left": 0}


def test_its_table_has_statistics_before_a_build_be_it_a_small_share_or_not(
    sender: Sender, history: Any
) -> None:
    def prepare() -> set[str]:
        # A session tells what it has written in the end, when its client has gone already.
        wait_until(lambda: not other_sessions(sender.connection), "loaders live on")
        sender.connection.execute("select pg_stat_force_next_flush()")
        prepare_raw(sender.connection, "academic_history")
        known = sender.connection.execute("select distinct tablename from pg_stats where schemaname = 'raw'")
        return {row["tablename"] for row in known}

    def children() -> set[str]:
        tables = sender.connection.execute(
            "select relname from pg_inherits join pg_class on oid = inhrelid "
            "where inhparent = 'raw.academic_history'::regclass"
        )
        return {row["relname"] for row in tables}

    load_in_parts(sender, sender.send(history(range(3000))).upload_id, 40000)
    assert prepare() == {"academic_history", *children()}
    load_in_parts(sender, sender.send(history(range(3000, 3100))).upload_id, 1500)
    assert len(children()) == 2
    assert prepare() == {"academic_history", *children()}


def test_a_replay_begins_without_such_tables(sender: Sender, history: Any) -> None:
    upload_id = sender.send(history(range(300))).upload_id
    load_in_parts(sender, upload_id, 4000)
    before = sender.raw()
    replay(sender.settings, sender.store, wipe=True)
    assert sender.raw() == before
    assert (
        sender.connection.execute("select from pg_inherits where inhparent::regclass::text ~ 'raw'").rowcount
        == 0
    )


def test_going_back_a_revision_keeps_the_rows(sender: Sender, history: Any) -> None:
    upload_id = sender.send(history(range(300))).upload_id
    load_in_parts(sender, upload_id, 4000)
    before = sender.raw()
    downgrade(sender.settings.database_url.get_secret_value(), "0014")
    assert sender.raw() == before
    assert sender.connection.execute("select to_regnamespace('parts') as schema").fetchone() == {
        "schema": None
    }
    migrate(sender.settings.database_url.get_secret_value())
    assert sender.raw() == before


def test_a_part_that_is_loaded_twice_at_the_same_moment_is_there_once(
    sender: Sender, history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = cut(sender, 4000)
    upload_id = sender.send(history(range(300))).upload_id
    first, *others = split_version(small, sender.store, upload_id, 1)
    original = parts._Split._range_that_waits

    def overtaken(split: Any, part: int) -> Any:
        waits = original(split, part)
        if waits is not None:
            with monkeypatch.context() as patch:
                patch.setattr(parts._Split, "_range_that_waits", original)
                load_part(small, sender.store, upload_id, 1, part)
        return waits

    with monkeypatch.context() as patch:
        patch.setattr(parts._Split, "_range_that_waits", overtaken)
        assert not load_part(small, sender.store, upload_id, 1, first)
    assert split_version(small, sender.store, upload_id, 1) == others
    load_in_parts(sender, upload_id, 4000)
    assert len(sender.raw()) == 300


def test_who_reads_the_table_that_is_to_be_shown_is_not_waited_for_long(
    sender: Sender, history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_PATIENCE_TO_SHOW", "50ms")
    small = cut(sender, 4000)
    upload_id = sender.send(history(range(300))).upload_id
    for part in split_version(small, sender.store, upload_id, 1):
        load_part(small, sender.store, upload_id, 1, part)
    [split] = sender.connection.execute("select split_id from ops.splits").fetchall()
    table = part_table(split["split_id"])
    with connect(sender.settings.database_url.get_secret_value()) as backup, backup.transaction():
        backup.execute(sql.SQL("lock table {} in access share mode").format(table))
        assert sender.load(upload_id).status == "loaded"
    assert len(sender.raw()) == 300
    assert discard_outdated(sender.connection) == 1
    assert waiting(sender) == []
    assert len(sender.raw()) == 300


def test_a_backup_holds_shown_and_waiting_parts(sender: Sender, history: Any) -> None:
    load_in_parts(sender, sender.send(history(range(300))).upload_id, 4000)
    waits = sender.send(history(range(300, 600))).upload_id
    small = cut(sender, 4000)
    load_part(small, sender.store, waits, 1, split_version(small, sender.store, waits, 1)[0])

    take_backup(sender.settings, sender.store)
    verify_backup(sender.settings, sender.store)


def test_parts_are_read_from_a_bucket_by_ranges(sender: Sender, history: Any, bucket: str) -> None:
    in_bucket = Sender(sender.settings, sender.connection, open_store(f"{bucket}/school"))
    expected, found, number = whole_and_in_parts(
        in_bucket, history([*range(300), 7]).encode(), "academic_history", 4000
    )
    assert number == 4
    assert found == expected
