"""What the model may know: each feature by hand on a small school, and nothing of what came later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from elt.settings import Settings
from elt.store.base import open_store
from elt.transforming.transform import transform
from elt.uploads.lifecycle import withdraw_upload
from elt.warehouse import Connection, connect
from ml.features import read_labelled, read_thresholds
from ml.target import load_target
from tests.conftest import PostgresServer, Sender, settings_of

Row = dict[str, Any]
Rows = dict[tuple[Any, ...], Row]

STUDENTS = """\
Student ID,First Name,Last Name,Gender,Date of Birth,State of Origin,Living Arrangement,Health Status,\
Grade Level,Stream,Extracurricular Activities
S1,Ngozi,Okafor,Female,2006-03-04,Lagos,Boarding,Good,SS3,Art,"Drama, Choir"
S2,Bola,Ade,Male,2011-05-06,Ogun,Day,Poor,JSS1,General,Football
S3,Chi,Eze,Female,2006-07-08,Lagos,,Good,SS3,Pure Science,
S4,Dayo,Ojo,Male,2011-09-10,Ogun,Day,Good,JSS1,General,None
S5,Dayo,Ojo,Male,2011-09-10,Ogun,Day,Good,JSS1,General,None
"""
TEACHERS = "Teacher ID,First Name,Last Name,Years of Experience\nT1,Ada,Obi,4\nT2,Eno,Udo,10\n"
HISTORY_HEADER = (
    "Student ID,Academic Year,Grade Level,Subject,Term,Teacher ID,Test Score,Exam Score,Total Score,"
    "Attendance,JAMB Score,Passed Core Subjects\n"
)
# S1 in SS2 and SS3, S2 in JSS1, S3 in SS3 with what the school itself wrote down of the exams.
HISTORY = HISTORY_HEADER + (
    "S1,2022/2023,SS2,English Language,First Term,T1,20,30,50,90,,\n"
    "S1,2022/2023,SS2,Mathematics,First Term,T1,10,30,40,80,,\n"
    "S1,2022/2023,SS2,CRK,First Term,T2,30,45,75,100,,\n"
    "S1,2022/2023,SS2,English Language,Second Term,T1,10,30,40,70,,\n"
    "S1,2022/2023,SS2,Mathematics,Second Term,T1,8,30,38,80,,\n"
    "S1,2022/2023,SS2,Mathematics,Third Term,T2,20,40,60,90,,\n"
    "S1,2022/2023,SS2,CRK,Third Term,T2,28,42,70,80,,\n"
    "S1,2023/2024,SS3,Mathematics,First Term,T2,20,30,50,90,,\n"
    "S1,2023/2024,SS3,CRK,First Term,T2,20,20,40,90,,\n"
    "S1,2023/2024,SS3,Mathematics,Second Term,T2,20,36,56,90,,\n"
    "S1,2023/2024,SS3,Mathematics,Third Term,T2,20,36,56,90,,\n"
    "S2,2023/2024,JSS1,English Studies,First Term,T1,20,25,45,90,,\n"
    "S2,2023/2024,JSS1,Mathematics,First Term,T1,20,40,60,90,,\n"
    "S2,2023/2024,JSS1,Art,Second Term,T1,20,20,40,90,,\n"
    "S3,2023/2024,SS3,Mathematics,Second Term,T2,20,20,40,90,180,No\n"
    "S3,2023/2024,SS3,Mathematics,Third Term,T2,20,20,40,90,180,No\n"
    "S4,2023/2024,JSS1,Mathematics,First Term,T1,20,20,40,90,,\n"
)
SURVEY_HEADER = "Last Name,First Name,Date of Birth,Study Habits,Weekly Hours Spent Reading\n"
FILES = {
    "students": STUDENTS,
    "teachers": TEACHERS,
    "academic_history": HISTORY,
    "survey_responses": SURVEY_HEADER + (
        "OKAFOR ,ngozi,2006-03-04,Rarely,3 hours\n"  # fits S1, however it is written
        "Okafor,Ngozi,2007-03-04,Daily,9 hours\n"  # another birth date: another person
        "Ade,Bola,2011-05-06,Daily,5 hours\n"  # answered twice: which one is S2's?
        "Ade,Bola,2011-05-06,Rarely,1 hour\n"
        "Ojo,Dayo,2011-09-10,Daily,5 hours\n"  # S4 or S5?
    ),
    "discipline": (
        "Incident ID,Student ID,Incident Date,Offence\n"
        "I1,S1,2022-10-05,Lateness\nI2,S1,2023-02-01,Lateness\nI3,S1,2023-08-20,Lateness\n"
        "I4,S1,2023-10-10,Lateness\n"
    ),
    "activities": (
        "Student ID,Academic Year,Activity,Activity Status\n"
        "S1,2022/2023,Debate,Active\nS1,2022/2023,Chess,Not active\n"
        "S3,2023/2024,Debate,Not active\n"
    ),
    "school_resources": (
        "Academic Year,Resource,Quantity,Condition\n2022/2023,Computers,2,Good\n2022/2023,Toilets,3,Good\n"
        "2023/2024,Computers,0,Poor\n"
    ),
    "timetables": (
        "Academic Year,Term,Class Name,Weekday,Period,Subject,Teacher ID,Minutes\n"
        "2022/2023,First Term,SS2 A,Monday,1,English Language,T1,40\n"
        "2022/2023,First Term,SS2 B,Monday,1,English Language,T1,40\n"  # together: one lesson
        "2022/2023,First Term,SS2 A,Monday,2,Mathematics,T1,40\n"
        "2022/2023,First Term,SS2 A,Monday,3,CRK,T2,40\n"
    ),
    "exam_results": (
        "Exam,Exam Year,Exam Number,Subject,Grade,Score,Student ID\n"
        "WASSCE,2024,001,English Language,B3,,S1\nWASSCE,2024,001,Mathematics,C6,,S1\n"
        "WASSCE,2024,001,Christian Religious Studies,D7,,S1\nWASSCE,2024,001,Biology,A1,,S1\n"
        "WASSCE,2024,001,Physics,C4,,S1\nWASSCE,2024,001,Chemistry,C5,,S1\n"
        "JAMB,2024,77,Overall,,254,S1\nSAT,2024,88,Overall,,1010,S1\n"
    ),
}  # fmt: skip
# All of it dated after the last term above.
LATER = {
    "academic_history": HISTORY_HEADER + (
        "S2,2024/2025,JSS2,Mathematics,First Term,T1,4,6,10,20,,\n"
        "S9,2024/2025,SS1,Mathematics,First Term,T1,4,6,10,20,,\n"
        "S1,2024/2025,SS3,Mathematics,First Term,T1,4,6,10,20,300,Yes\n"
        "S3,2024/2025,SS3,Mathematics,First Term,T1,4,6,10,20,300,Yes\n"
    ),
    "discipline": (
        "Incident ID,Student ID,Incident Date,Offence\nI5,S1,2024-10-10,Theft\nI6,S2,2024-10-10,Theft\n"
    ),
    "activities": (
        "Student ID,Academic Year,Activity,Activity Status\n"
        "S1,2024/2025,Choir,Active\nS1,2024/2025,Drama,Active\nS2,2024/2025,Chess,Active\n"
        "S2,2024/2025,Drama,Active\n"
    ),
    "school_resources": "Academic Year,Resource,Quantity,Condition\n2024/2025,Computers,50,Good\n",
    "timetables": (
        "Academic Year,Term,Class Name,Weekday,Period,Subject,Teacher ID,Minutes\n"
        "2024/2025,First Term,SS2 A,Monday,1,Mathematics,T1,40\n"
    ),
    "exam_results": (
        "Exam,Exam Year,Exam Number,Subject,Grade,Score,Student ID\n"
        "JAMB,2025,79,Overall,,390,S1\nSAT,2025,89,Overall,,1600,S1\nWASSCE,2025,002,Mathematics,F9,,S1\n"
        "JAMB,2025,80,Overall,,200,S2\n"
    ),
}  # fmt: skip
FIRST, SECOND, THIRD = "First Term", "Second Term", "Third Term"


class School:
    """A school whose files came through the loader, and whose marts dbt built."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self.settings = settings
        self.sender = Sender(settings, connection, open_store(settings.resolved_store_url))

    def hand_in(self, files: dict[str, str]) -> dict[str, UUID]:
        """Load the files and build; the uploads by dataset."""
        uploads = {}
        for dataset, content in files.items():
            uploads[dataset] = self.sender.send(content, dataset).upload_id
            outcome = self.sender.load(uploads[dataset])
            assert (outcome.status, outcome.counts.rejected) == ("loaded", 0), (dataset, outcome)
        transform(self.settings, uuid4())
        return uploads

    def students(self) -> Rows:
        """Rows of mart_student_features by student, school year and term."""
        found = self.sender.connection.execute("select * from marts.mart_student_features").fetchall()
        return {(row["student_id"], row["school_year"], row["term"]): row for row in found}

    def subjects(self) -> Rows:
        """Rows of mart_exam_features by student, school year, term and subject."""
        found = self.sender.connection.execute("select * from marts.mart_exam_features").fetchall()
        return {(row["student_id"], row["school_year"], row["term"], row["subject"]): row for row in found}


@pytest.fixture(scope="module")
def school(
    postgres_server: PostgresServer, built_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[School]:
    """The school before anything later came; the marts stood before, so that all of it came by increments."""
    url = postgres_server.create_database("feature_marts", built_template)
    with connect(url) as connection:
        yield School(settings_of(url, tmp_path_factory.mktemp("home")), connection)
    postgres_server.drop_database("feature_marts")


@pytest.fixture(scope="module")
def uploads(school: School) -> dict[str, UUID]:
    """The files of the school, loaded and built; by dataset."""
    return school.hand_in(FILES)


@pytest.fixture(scope="module")
def students(school: School, uploads: dict[str, UUID]) -> Rows:
    """What was known of the students before anything later came."""
    return school.students()


@pytest.fixture(scope="module")
def subjects(school: School, uploads: dict[str, UUID], students: Rows) -> Rows:
    """What was known of them in each subject before anything later came."""
    return school.subjects()


def values(rows: Rows, column: str, student: str) -> list[Any]:
    """A column of a student's rows in the order of time."""
    own = [row for key, row in rows.items() if key[0] == student]
    return [row[column] for row in sorted(own, key=lambda row: row["as_of_date"])]


def test_tests_and_exams_are_compared_as_shares(students: Rows) -> None:
    # English 20 of 40 and 30 of 60: no gap. Mathematics 25 - 50, CRK 75 - 75: together -25 / 3.
    assert values(students, "test_exam_gap", "S1")[:2] == [Decimal("-8.33"), Decimal("-27.50")]


def test_core_failures_are_those_in_english_and_mathematics_by_whatever_name(students: Rows) -> None:
    assert values(students, "core_failure_count", "S1") == [1, 2, 0, 0, 0, 0]
    # English Studies is English; a term with Art alone says nothing about either.
    assert values(students, "core_failure_count", "S2") == [1, None]


def test_the_term_before_stands_beside_the_term(students: Rows) -> None:
    assert values(students, "previous_average", "S1")[:3] == [None, Decimal("55.00"), Decimal("39.00")]
    assert values(students, "previous_attendance", "S1")[:3] == [None, Decimal("90.00"), Decimal("75.00")]


def test_teachers_lessons_count_in_the_term_of_their_timetable(students: Rows) -> None:
    # T1 has two lessons, one of two classes together, and teaches two of the three subjects; T2 has one.
    assert values(students, "teacher_periods_mean", "S1") == [Decimal("1.67"), *[None] * 5]
    assert values(students, "teacher_experience_mean", "S1")[0] == Decimal("6.00")


def test_incidents_count_from_their_day_on(students: Rows) -> None:
    """The one in the long holidays is of the school year that ended, after its last as-of date."""
    assert values(students, "offence_count", "S1") == [1, 2, 2, 1, 1, 1]
    assert values(students, "offences_to_date", "S1") == [1, 2, 2, 4, 4, 4]
    assert values(students, "offence_count", "S2") == [0, 0]


def test_activities_are_those_of_the_latest_year_with_lines_else_of_the_record(students: Rows) -> None:
    assert values(students, "activities_count", "S1") == [1] * 6
    assert values(students, "activities_count", "S2") == [1, 1]
    assert values(students, "activities_count", "S3") == [0, 0]
    assert values(students, "activities_count", "S4") == [0]


def test_answers_are_a_students_only_where_nobody_else_fits(students: Rows) -> None:
    assert set(values(students, "study_habits", "S1")) == {"Rarely"}
    assert set(values(students, "weekly_reading_hours", "S1")) == {Decimal(3)}
    assert {row["study_habits"] for key, row in students.items() if key[0] != "S1"} == {None}


def test_computers_are_shared_by_who_has_results_in_the_term(students: Rows) -> None:
    """In the second school year there are none to share."""
    assert values(students, "students_per_computer", "S1") == [*[Decimal("0.50")] * 3, *[None] * 3]


def test_groups_to_compare_stand_in_words(students: Rows) -> None:
    found = {
        key[0]: (row["gender"], row["state_of_origin"], row["living_arrangement"], row["health_status"])
        for key, row in students.items()
    }
    assert found == {
        "S1": ("Female", "Lagos", "Boarding", "Good"),
        "S2": ("Male", "Ogun", "Day", "Poor"),
        "S3": ("Female", "Lagos", None, "Good"),
        "S4": ("Male", "Ogun", "Day", "Good"),
    }


def test_a_score_is_ahead_until_it_is_known(students: Rows) -> None:
    """JAMB of May 2024 is known in mid-June, before the third term's end; a SAT of 2024 by January."""
    assert values(students, "next_jamb_score", "S1") == [*[Decimal(254)] * 5, None]
    assert values(students, "next_jamb_known_at", "S1") == [*[date(2024, 6, 14)] * 5, None]
    assert values(students, "next_sat_score", "S1") == [Decimal(1010)] * 6
    assert values(students, "next_sat_known_at", "S1") == [date(2025, 1, 14)] * 6


def test_the_certificate_is_known_at_the_end_of_august(students: Rows) -> None:
    """Five credits with English and Mathematics, religious studies failed; the row of July lies before it."""
    assert values(students, "next_core_credits", "S1") == [True] * 6
    assert values(students, "next_wassce_known_at", "S1") == [date(2024, 8, 31)] * 6


def test_what_the_school_wrote_down_counts_where_no_board_says_anything(students: Rows) -> None:
    assert values(students, "next_jamb_score", "S3") == [Decimal(180), None]
    assert values(students, "next_core_credits", "S3") == [False, False]
    assert values(students, "next_has_core_credits", "S3") == [False, None]


def test_the_certificate_is_a_label_of_the_term_before_the_last_and_is_waited_for(students: Rows) -> None:
    assert values(students, "next_has_core_credits", "S1") == [None, None, None, None, True, None]
    assert values(students, "next_known_at", "S1") == [
        date(2023, 4, 24), date(2023, 8, 14), date(2024, 1, 3), date(2024, 4, 24), date(2024, 8, 31), None
    ]  # fmt: skip


def test_who_waits_for_the_certificate_is_not_yet_one_who_has_it(
    school: School, students: Rows, subjects: Rows
) -> None:
    """S1's third term of SS3 was passed; without the certificate that says half of what is asked."""
    connection, target = school.sender.connection, load_target("at_risk")
    last = date(2024, 4, 10)
    assert students["S1", "2023/2024", SECOND]["as_of_date"] == last

    def labelled() -> dict[date, float]:
        rows = read_labelled(connection, target, read_thresholds(connection, target))
        own = rows[rows["student_id"] == "S1"]
        return dict(zip(own["as_of_date"].dt.date, own["label"], strict=True))

    before = labelled()
    assert before[last] == 0
    with connection.transaction(force_rollback=True):
        connection.execute(
            "update intermediate.int_student_registers"
            " set has_core_credits = null, wassce_year = null, wassce_known_at = null where student_id = 'S1'"
        )
        row = school.students()["S1", "2023/2024", SECOND]
        assert (row["next_term_average"], row["next_known_at"]) == (56, None)
        assert labelled() == {day: label for day, label in before.items() if day != last}


def test_no_junior_has_labels_of_exams(students: Rows) -> None:
    labels = ["next_jamb_score", "next_sat_score", "next_core_credits", "next_has_core_credits"]
    assert {row[label] for key, row in students.items() if key[0] in ("S2", "S4") for label in labels} == {
        None
    }


def test_a_subject_is_followed_term_by_term(subjects: Rows) -> None:
    mathematics = {key: row for key, row in subjects.items() if key[0] == "S1" and key[3] == "Mathematics"}
    followed = {
        "subject_score": [40, 38, 60, 50, 56, 56],
        "subject_change": [None, -2, 22, -10, 6, 0],
        "subject_average_to_date": [Decimal(n) for n in ("40", "39", "46", "47", "48.80", "50")],
        "subject_failures": [1, 2, 2, 2, 2, 2],
        "subject_attendance": [80, 80, 90, 90, 90, 90],
        "subject_teacher_experience": [4, 4, 10, 10, 10, 10],
    }
    for column, expected in followed.items():
        assert values(mathematics, column, "S1") == expected, column
    assert subjects["S1", "2022/2023", THIRD, "CRK"]["subject_change"] == -5  # it was not assessed in between
    assert {key[0] for key in subjects} == {"S1", "S3"}


def test_a_subject_has_the_grade_of_its_own_exam(subjects: Rows) -> None:
    """The board calls CRK otherwise; S3 has no result of it."""
    found = {key[3]: row["next_subject_passed"] for key, row in subjects.items() if key[0] == "S1"}
    assert found == {"English Language": True, "Mathematics": True, "CRK": False}
    assert {row["next_wassce_known_at"] for key, row in subjects.items() if key[0] == "S1"} == {
        date(2024, 8, 31)
    }
    assert {row["next_subject_passed"] for key, row in subjects.items() if key[0] == "S3"} == {None}


def test_a_subject_stands_beside_what_is_known_of_the_student(students: Rows, subjects: Rows) -> None:
    shared = set(next(iter(subjects.values()))) & set(next(iter(students.values())))
    shared.remove("next_wassce_known_at")  # of a subject without a result it is null
    assert {"term_average", "known_at", "offence_count", "study_habits", "living_arrangement"} <= shared
    for (student, year, term, subject), row in subjects.items():
        own = students[student, year, term]
        assert {name: row[name] for name in shared} == {name: own[name] for name in shared}, subject


@pytest.fixture(scope="module")
def later(school: School, students: Rows, subjects: Rows) -> tuple[Rows, Rows, dict[str, UUID]]:
    """Both marts after facts of a later time came, and the uploads that brought them."""
    uploads = school.hand_in(LATER)
    return school.students(), school.subjects(), uploads


def features(row: Row) -> Row:
    """A row without its labels."""
    return {name: value for name, value in row.items() if not name.startswith("next_")}


def test_nothing_that_comes_later_changes_what_was_known(
    students: Rows, subjects: Rows, later: tuple[Rows, Rows, dict[str, UUID]]
) -> None:
    now = later[0] | later[1]
    assert set(now) > set(students) | set(subjects)
    for key, row in (students | subjects).items():
        assert features(now[key]) == features(row), key


def test_what_came_later_is_known_later(later: tuple[Rows, Rows, dict[str, UUID]]) -> None:
    row = later[0]["S2", "2024/2025", FIRST]
    found = {name: row[name] for name in (
        "term_average", "offence_count", "activities_count", "teacher_periods_mean", "students_per_computer",
    )}  # fmt: skip
    assert found == {
        "term_average": 10, "offence_count": 1, "activities_count": 2, "teacher_periods_mean": 1,
        "students_per_computer": Decimal("0.08"),
    }  # fmt: skip


def test_a_second_sitting_changes_no_label(
    students: Rows, subjects: Rows, later: tuple[Rows, Rows, dict[str, UUID]]
) -> None:
    for key, row in students.items():
        if key[0] in ("S1", "S3"):
            names = [
                name for name in row if "jamb" in name or "sat_" in name or "wassce" in name or "core" in name
            ]
            assert {name: later[0][key][name] for name in names} == {name: row[name] for name in names}, key
    for key, row in subjects.items():
        assert later[1][key]["next_subject_passed"] == row["next_subject_passed"], key


def test_a_label_comes_with_the_term_that_it_is_about(
    students: Rows, later: tuple[Rows, Rows, dict[str, UUID]]
) -> None:
    assert students["S1", "2023/2024", THIRD]["next_term_average"] is None
    assert later[0]["S1", "2023/2024", THIRD]["next_term_average"] == 10
    assert later[0]["S1", "2023/2024", THIRD]["next_known_at"] == date(2025, 1, 3)


def test_corrections_and_withdrawals_reach_the_marts_as_if_all_were_built_anew(
    school: School, later: tuple[Rows, Rows, dict[str, UUID]], uploads: dict[str, UUID]
) -> None:
    """A run rebuilds some students only: those of each file that says something else now."""
    sender = school.sender
    for dataset in ("timetables", "discipline", "exam_results", "survey_responses"):
        withdraw_upload(sender.connection, sender.store, uploads[dataset], sender.researcher)
    transform(school.settings, uuid4())
    school.hand_in({
        "students": STUDENTS.replace("Female,2006-03-04,Lagos", "Female,2006-03-04,Kano"),
        "activities": "Student ID,Academic Year,Activity,Activity Status\nS1,2022/2023,Chess,Active\n",
        "teachers": TEACHERS.replace("10", "12"),
        "timetables": (
            "Academic Year,Term,Class Name,Weekday,Period,Subject,Teacher ID,Minutes\n"
            "2023/2024,Second Term,SS3 A,Monday,1,Mathematics,T2,40\n"
        ),
    })  # fmt: skip
    by_increments = school.students(), school.subjects()

    row = by_increments[0]["S1", "2022/2023", FIRST]
    assert (row["teacher_periods_mean"], row["study_habits"], row["offence_count"]) == (None, None, 0)
    assert (row["state_of_origin"], row["activities_count"]) == ("Kano", 2)
    # What is left of the exams: sat a year later, one grade of one subject.
    assert (row["next_jamb_score"], row["next_core_credits"]) == (390, False)
    assert by_increments[0]["S1", "2023/2024", SECOND]["teacher_periods_mean"] == 1
    assert by_increments[1]["S1", "2023/2024", SECOND, "Mathematics"]["subject_teacher_experience"] == 12

    transform(school.settings, uuid4(), full=True)
    assert (school.students(), school.subjects()) == by_increments


def test_predictions_about_a_subject_go_with_the_subject(school: School, uploads: dict[str, UUID]) -> None:
    connection = school.sender.connection
    last_day = max(row["as_of_date"] for row in school.students().values())
    (student, subject), *_ = sorted(
        (key[0], key[3]) for key, row in school.subjects().items() if row["as_of_date"] == last_day
    )
    for written in (subject, f"{subject} as it was written before", ""):
        connection.execute(
            "insert into ml.predictions (target, method, school_id, student_id, subject, as_of_date,"
            " probability, score, is_at_risk, reasons, recommendations, data_version)"
            " values ('wassce_subject_pass', 'rule', 'main', %s, %s, %s, .5, .5, true, '[]', '[]', 'v')",
            (student, written, last_day),
        )
    shown = connection.execute(
        "select subject from marts.mart_student_predictions where student_id = %s order by subject",
        (student,),
    ).fetchall()
    assert [row["subject"] for row in shown] == ["", subject]


def test_names_link_a_respondent_and_go_no_further(school: School, students: Rows) -> None:
    for relation in ("int_student_registers", "int_student_features", "int_subject_features"):
        rows = school.sender.connection.execute(f"select * from intermediate.{relation}").fetchall()
        assert rows
        written = repr(rows).lower()
        assert not [word for word in ("ngozi", "okafor", "date(2006, 3, 4)") if word in written]
