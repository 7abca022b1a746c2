"""Who is bound to a school brings that school's rows only, today and in a replay."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from flask.testing import FlaskClient

from elt.loading.loader import load_version
from elt.migrate import migrate
from elt.people.principals import Principal
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.replay import replay
from elt.warehouse import Connection, connect
from tests.conftest import PostgresServer, Sender

BASE = "/api/v1"
HEADER = "School ID,Student ID,Grade Level,Subject,Term,Test Score,Exam Score,Total Score\n"
BOUND = Principal("key:bound", "researcher", "north")


def rows(school: str, first: int, count: int) -> str:
    return "".join(
        f"{school},STU{number:04},JSS1,Mathematics,First Term,20,40,60\n"
        for number in range(first, first + count)
    )


MIXED = HEADER + rows("north", 0, 60) + rows("", 100, 40) + rows("south", 200, 2)


def test_rows_of_another_school_are_rejected_with_the_rule(sender: Sender) -> None:
    upload_id = sender.hand_in(MIXED, school_id="north", principal=BOUND)
    found = sender.upload(upload_id)
    assert (found.status, found.counts.accepted, found.counts.rejected) == ("loaded", 100, 2)
    assert {school for (school,) in sender.raw("academic_history", "school_id")} == {"north"}
    issues = sender.connection.execute("select distinct column_name, rule, severity from ops.row_issues")
    assert [tuple(row.values()) for row in issues] == [("school_id", "other_school", "error")]


def test_who_is_bound_to_none_brings_rows_of_any(sender: Sender) -> None:
    sender.hand_in(MIXED, school_id="north")
    assert {school for (school,) in sender.raw("academic_history", "school_id")} == {"north", "south"}


def test_a_file_for_another_school_loads_nothing(sender: Sender) -> None:
    """However it came there: the loader does not rely on the API alone."""
    upload_id = sender.hand_in(HEADER + rows("", 0, 10), school_id="south", principal=BOUND)
    assert sender.upload(upload_id).status == "rejected"
    assert sender.raw() == []


def test_a_new_version_is_bound_as_its_sender_is(sender: Sender) -> None:
    upload_id = sender.hand_in(HEADER + rows("", 0, 10), school_id="north", principal=BOUND)
    version = sender.replace(upload_id, MIXED, BOUND)
    load_version(sender.settings, sender.store, upload_id, version)
    assert sender.upload(upload_id).counts.rejected == 2
    assert [each.bound_school_id for each in sender.upload(upload_id).versions] == ["north", "north"]


def test_a_replay_refuses_the_same_rows(
    sender: Sender, settings: Settings, store: Store, postgres_server: PostgresServer, empty_database_url: str
) -> None:
    upload_id = sender.hand_in(MIXED, school_id="north", principal=BOUND)
    before = sender.raw()
    migrate(empty_database_url)
    elsewhere = settings.model_copy(update={"database_url": type(settings.database_url)(empty_database_url)})
    replay(elsewhere, store, progress=lambda _: None)
    with connect(empty_database_url) as fresh:
        again = Sender(elsewhere, fresh, store)
        assert again.raw() == before
        assert again.upload(upload_id).counts.rejected == 2


def test_a_check_says_it_beforehand(client_of: Callable[..., FlaskClient]) -> None:
    form = {"file": (io.BytesIO(MIXED.encode()), "scores.csv")}
    address = f"{BASE}/datasets/academic_history/check"
    report = client_of("researcher", "north").post(address, data=form).json
    assert report["counts"]["rejected"] == 2
    [issue, _] = [issue for issue in report["issues"] if issue["rule"] == "other_school"]
    assert (issue["line"], issue["column"], issue["found"]) == (102, "school_id", "south")
    free = client_of("researcher").post(address, data={"file": (io.BytesIO(MIXED.encode()), "scores.csv")})
    assert free.json["counts"]["rejected"] == 0


def test_the_rejected_rows_go_back_with_a_hint(
    client_of: Callable[..., FlaskClient], settings: Settings, store: Store
) -> None:
    researcher = client_of("researcher", "north")
    sent = researcher.post(f"{BASE}/uploads?dataset=academic_history", data=MIXED.encode())
    load_version(settings, store, sent.json["id"], 1)
    found = researcher.get(f"{BASE}/uploads/{sent.json['id']}/rejects.csv").text
    assert [row["rule"] for row in csv.DictReader(io.StringIO(found))] == ["other_school"] * 2
    assert "another school" in found


def test_an_admin_of_one_school_gets_no_file_that_may_hold_rows_of_another(
    client_of: Callable[..., FlaskClient], settings: Settings, store: Store, connection: Connection
) -> None:
    """A file of somebody who is not bound may name any school, if it has the column."""
    free, admin = client_of("researcher"), client_of("admin", "north")
    address = f"{BASE}/uploads?dataset=academic_history&school_id=north"
    plain = HEADER.replace("School ID,", "") + rows("", 0, 3).replace("\n,", "\n").removeprefix(",")
    for content, status in ((MIXED, 404), (plain, 200)):
        upload_id = free.post(address, data=content.encode()).json["id"]
        assert admin.get(f"{BASE}/uploads/{upload_id}/content").status_code == 404  # not read yet
        load_version(settings, store, upload_id, 1)
        assert admin.get(f"{BASE}/uploads/{upload_id}").status_code == 200
        for part in ("content", "rejects.csv", "issues"):
            assert admin.get(f"{BASE}/uploads/{upload_id}/{part}").status_code == status, part
        assert admin.delete(f"{BASE}/uploads/{upload_id}").status_code == status


def test_whose_upload_an_admin_replaced_gets_no_rows_of_another_school(
    client_of: Callable[..., FlaskClient], settings: Settings, store: Store
) -> None:
    sender, admin = client_of("researcher", "north"), client_of("admin")
    made = sender.post(f"{BASE}/uploads?dataset=academic_history", data=(HEADER + rows("", 0, 3)).encode())
    address = f"{BASE}/uploads/{made.json['id']}"
    load_version(settings, store, made.json["id"], 1)
    assert admin.put(f"{address}?filename=all.csv", data=MIXED.encode()).status_code == 200
    load_version(settings, store, made.json["id"], 2)
    assert sender.get(address).json["version"] == 2
    for part in ("content", "content?version=2", "rejects.csv", "issues"):
        assert sender.get(f"{address}/{part}").status_code == 404, part
