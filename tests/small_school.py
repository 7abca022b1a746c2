"""A database with two small schools in it, built by dbt once per session and then copied for each test.

`main` and `north` both have a student STU001. STU/4 has a number with a slash. STU001 of `main` was flagged
at first and is not any more.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

from uuid6 import uuid7

from elt.loading.loader import load_version
from elt.people.principals import Principal
from elt.settings import Settings
from elt.store.base import open_store
from elt.store.object_keys import new_object_key
from elt.transforming.transform import transform
from elt.uploads.accept import NewUpload, accept_upload
from elt.warehouse import Connection, connect
from tests.conftest import settings_of

STUDENTS = """\
School ID,Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level,Email,Home Address,Admission Date
main,STU001,Ngozi,Okafor,Female,2012-03-04,JSS1,ngozi@example.org,"1, Palm Street",2023-09-01
main,STU002,Bola,Ade,Male,2011-05-06,JSS2,bola@example.org,"2, Palm Street",2022-09-01
main,STU003,=Chi,Eze,Female,2012-07-08,JSS1,,"3, Palm Street",2023-09-01
main,STU/4,Dayo,Ojo,Male,2012-09-10,JSS1,,"4, Palm Street",2023-09-01
north,STU001,Efe,Bello,Male,2012-01-02,JSS1,efe@example.org,"5, Hill Road",2023-09-01
"""
GUARDIANS = """\
School ID,Parent ID,Student ID,First Name,Last Name,Title,Gender,Email,Phone Number
main,PAR001,STU001,Amara,Okafor,Mrs,Female,amara@example.org,+2348020000001
main,PAR002,STU002,Kemi,Ade,Mrs,Female,kemi@example.org,+2348020000002
north,PAR001,STU001,Uche,Bello,Mr,Male,uche@example.org,+2348020000003
"""
_PREDICTIONS = """
insert into ml.predictions (target, method, school_id, student_id, as_of_date, score, is_at_risk, reasons,
                            recommendations, data_version)
select 'at_risk', 'rule', school_id, student_id, as_of_date, term_order, term_order = 1,
       '[{"feature": "term_average", "value": 45, "effect": 1, "text": "Average of 45"}]',
       '[{"code": "talk", "text": "Talk to the student"}]', 'test'
from marts.mart_student_features
"""


def build_small_school(database_url: str, home: Path) -> None:
    """Hand the files in, load them, build the marts, predict something."""
    files = {"students": STUDENTS, "guardians": GUARDIANS, "academic_history": _history()}
    build_school(database_url, home, files)
    with connect(database_url) as connection:
        connection.execute(_PREDICTIONS)


def build_school(database_url: str, home: Path, files: dict[str, str]) -> None:
    """Hand in one file per dataset, load them, build the marts."""
    settings = settings_of(database_url, home)
    with connect(database_url) as connection:
        for dataset, content in files.items():
            _hand_in(settings, connection, dataset, content)
    transform(settings, uuid4())


def _history() -> str:
    lines = ["School ID,Student ID,Academic Year,Grade Level,Subject,Term,Test Score,Exam Score,Total Score"]
    taught = {"JSS1": ("Mathematics", "English Language"), "JSS2": ("Mathematics",)}
    for school, student, grade in (
        ("main", "STU001", "JSS1"), ("main", "STU002", "JSS2"), ("main", "STU003", "JSS1"),
        ("main", "STU/4", "JSS1"), ("north", "STU001", "JSS1"),
    ):  # fmt: skip
        for term, exam in (("First Term", 25), ("Second Term", 45)):
            lines += [
                f"{school},{student},2024/2025,{grade},{subject},{term},20,{exam},{20 + exam}"
                for subject in taught[grade]
            ]
    return "\n".join(lines) + "\n"


def _hand_in(settings: Settings, connection: Connection, dataset: str, content: str) -> None:
    store = open_store(settings.resolved_store_url)
    upload_id = UUID(int=uuid7().int)
    stored = store.put(new_object_key(upload_id, 1, f"{dataset}.csv"), [content.encode()])
    new = NewUpload(dataset=dataset, filename=f"{dataset}.csv", school_id="main")
    accept_upload(
        connection, store, upload_id, new, stored, Principal("key:registrar", "researcher", name="Registrar")
    )
    outcome = load_version(settings, store, upload_id, 1)
    assert outcome.status == "loaded", outcome
