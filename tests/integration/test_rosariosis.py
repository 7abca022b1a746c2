"""A school whose records are in RosarioSIS appears in the warehouse as one that hands files in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from elt.serving.provenance import provenance
from elt.settings import Settings
from elt.store.base import open_store
from elt.transforming.transform import transform
from elt.uploads.lifecycle import withdraw_upload
from elt.warehouse import Connection, connect
from tests.conftest import MakeTemplate, Sender, settings_of
from tests.integration.test_transform import contents
from tests.rosariosis_school import EXAM_RESULTS, TABLES, upload_of

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def rosariosis_template(
    make_template: MakeTemplate, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A database with the school in it and the marts built, and the home of its store."""
    home = tmp_path_factory.mktemp("rosariosis")
    return make_template("rosariosis_template", home, _hand_in_tables), home


def _hand_in_tables(url: str, home: Path) -> None:
    settings = settings_of(url, home)
    with connect(url) as connection:
        sender = Sender(settings, connection, open_store(settings.resolved_store_url))
        for table, content in TABLES.items():
            accepted = sender.send(**upload_of(table, content))
            outcome = sender.load(accepted.upload_id)
            assert outcome.status == "loaded", (table, outcome)
        sender.hand_in(EXAM_RESULTS, "exam_results")
    transform(settings, uuid4())


@pytest.fixture
def template(rosariosis_template: tuple[str, Path]) -> str:
    return rosariosis_template[0]


@pytest.fixture
def rows(connection: Connection) -> Rows:
    """The rows of a query, as tuples."""
    return lambda query, *values: [tuple(row.values()) for row in connection.execute(query, values)]


@pytest.fixture
def change(sender: Sender, settings: Settings) -> Callable[..., None]:
    """Hand in rows of tables, and build."""

    def hand_in(**tables: str) -> None:
        for table, content in tables.items():
            sender.hand_in(**upload_of(table, content))
        transform(settings, uuid4())

    return hand_in


def test_students_teachers_and_parents_stand_among_those_of_files(rows: Rows):
    assert rows(
        """
        select student_id, full_name, gender, health_status, grade_level, stream, extracurricular_activities,
               activities_count, leaving_year, has_bus_pickup, has_bus_dropoff
        from core.dim_students order by student_id
        """
    ) == [
        ("10", "Ngozi Eze", "Female", "Very Good", "SS1", "Science", "Chess Club", 1, None, True, False),
        ("11", "Tunde Bello", "Male", "Poor", "SS3", "General", "None", 0, 2020, False, False),
        ("12", "Chidi Okeke", "Male", "Average", "SS3", "Art", None, None, 2021, False, True),
        ("13", "Sade Cole", "Female", None, None, "General", None, None, None, False, False),
    ]
    assert rows("select teacher_id, full_name from core.dim_teachers order by 1") == [
        ("1", "Ada Obi"),
        ("2", "Musa Bala"),
    ]
    assert rows(
        "select guardian_id, student_id, full_name, education_level from core.dim_guardians order by 2"
    ) == [
        ("1", "10", "Grace Eze", "Tertiary"),
        ("2", "11", "Ahmed Bello", "Secondary"),
        ("2", "12", "Ahmed Bello", "Secondary"),
    ]


def test_points_become_results_by_the_names_of_the_marking_periods(rows: Rows):
    """A term counts once its examination is marked; the year follows from the student's class."""
    assert rows(
        """
        select student_id, school_year, grade_level, subject, term, teacher_id, test_score::float,
               exam_score::float, total_score::float, attendance_pct::float, is_pass
        from core.fct_assessments order by student_id, school_year, subject, term
        """
    ) == [
        ("10", "2020/2021", "JSS3", "Mathematics", "First Term", "2", None, 30, 30, None, False),
        ("10", "2021/2022", "SS1", "Mathematics", "First Term", "1", 23, 40.5, 63.5, 90, True),
        ("11", "2019/2020", "SS3", "English Studies", "First Term", "2", None, 20, 20, 100, False),
        ("11", "2019/2020", "SS3", "Mathematics", "First Term", "1", 15, 35, 50, 66.67, True),
        ("11", "2019/2020", "SS3", "Mathematics", "Second Term", "1", None, 60, 60, 66.67, True),
        ("12", "2020/2021", "SS3", "Mathematics", "First Term", "1", None, 50, 50, None, True),
    ]


def test_polls_that_ask_for_the_best_rate_good(rows: Rows):
    assert rows("select teacher_id, rating, votes from staging.stg_rosariosis_polls order by poll_id") == [
        ("1", "Good", 40),
        ("1", "Bad", 5),
        ("2", "Bad", 30),
    ]


def test_exactly_ninety_percent_is_not_chronic_absence(rows: Rows):
    assert rows(
        """
        select student_id, is_chronically_absent from marts.mart_student_terms
        where attendance_pct is not null and term = 'First Term' order by 1
        """
    ) == [("10", False), ("11", True)]


def test_offences_and_activities_stand_among_those_of_files(rows: Rows):
    assert rows(
        """
        select incident_id, student_id, teacher_id, incident_date::text, school_year, offence, action_taken
        from core.fct_discipline order by 1
        """
    ) == [
        ("1", "11", "2", "2020-02-03", "2019/2020", "Class disruption", "Detention"),
        ("2", "11", "1", "2020-03-03", "2019/2020", "Test misconduct", None),
        ("3", "11", "1", "2020-04-03", "2019/2020", "Class disruption", "Warning"),
    ]
    assert rows(
        "select student_id, school_year, activity, is_active from core.fct_activities order by 1"
    ) == [
        ("10", "2021/2022", "Chess Club", True),
        ("11", "2019/2020", "Choir", False),
    ]


def test_what_is_left_out_is_counted(rows: Rows):
    """A student in no known class, and a number that nobody had in its year."""
    assert rows("select dataset, rule, row_count from marts.mart_data_quality order by 1, 2") == [
        ("exam_results", "no_student", 1),
        ("rosariosis_students", "unknown_class", 1),
    ]


def test_a_number_used_in_two_years_leads_to_two_students(rows: Rows):
    """And one that nobody had in its year to nobody."""
    assert rows(
        "select student_id, exam_year, exam_number, score::int from core.fct_exam_results"
        " where exam = 'SAT' order by 2"
    ) == [("11", 2020, "4123456001", 900), ("12", 2021, "4123456001", 1250)]
    assert rows(
        "select exam_year, exam_number, mismatch from intermediate.int_exam_results_matched"
        " where mismatch is not null"
    ) == [(2019, "4123456001", "no_student")]


def test_offences_do_not_multiply_a_sat_result(rows: Rows):
    assert rows(
        """
        select student_id, sat_exam_year, registration_number, sat_score::int, sat_performance, student_name,
               student_class, student_status, department, health_condition, student_parent, parent_education,
               student_activity_status, student_extracurricular_activity,
               average_student_minutes_attendance::float, average_expected_student_attendance::float,
               average_student_score::float, student_school_performance, offence_count, student_offence,
               disciplinary_action_taken, disciplinary_teacher
        from marts.mart_sat_performance order by sat_exam_year
        """
    ) == [
        (
            "11", 2020, "4123456001", 900, "Pass", "Tunde Bello", "Alumni", "2020 Alumni", "General", "Poor",
            "Ahmed Bello", "Secondary", "Not active", "None", 800, 960, 43.3, "Fail", 3,
            "Class disruption; Test misconduct; Class disruption", "Detention; None; Warning",
            "Musa Bala; Ada Obi; Ada Obi",
        ),
        (
            "12", 2021, "4123456001", 1250, "Pass", "Chidi Okeke", "Alumni", "2021 Alumni", "Art", "Average",
            "Ahmed Bello", "Secondary", None, None, 0, 0, 50, "Pass", 0, "None", "None", "None",
        ),
    ]  # fmt: skip


def test_a_wassce_grade_belongs_to_the_course_of_its_subject(rows: Rows):
    """Where boards name it differently the seed tells; votes are about the teacher of the course."""
    assert rows(
        """
        select student_id, waec_exam_year, course, course_class, student_course_id, waec_course, waec_grade,
               waec_performance, average_student_score::float, student_evaluation, teacher, rating_type,
               number_of_votes, offence_count, average_student_minutes_attendance
        from marts.mart_waec_performance order by student_id, waec_course
        """
    ) == [
        ("11", 2020, "Biology", "", None, "Biology", "F9", "Fail", None, None, None, None, None, 3, None),
        (
            "11", 2020, "English Studies", "SS3", 111, "English Language", "D7", "Fail", 20, "Fail",
            "Musa Bala", "Bad", 30, 3, 960,
        ),
        (
            "11", 2020, "Mathematics", "SS3", 110, "Mathematics", "C6", "Pass", 55, "Pass",
            "Ada Obi", "Good", 40, 3, 640,
        ),
        (
            "12", 2021, "Mathematics", "SS3", 120, "Mathematics", "A1", "Pass", 50, "Pass",
            "Ada Obi", "Good", 40, 0, 0,
        ),
    ]  # fmt: skip


def test_jamb_results_of_files_and_academic_histories_stand_in_one_mart(
    rows: Rows, connection: Connection, sender: Sender, settings: Settings
):
    """A school that hands in files: one row per student and year, and the WASSCE by subject."""
    sender.hand_in(
        "Student ID,Academic Year,Grade Level,Subject,Term,Test Score,Exam Score,Total Score,JAMB Score\n"
        "A,2022/2023,SS2,English,First Term,20,20,40,\n"
        "A,2023/2024,SS3,English,First Term,20,40,60,199\n"
        "A,2023/2024,SS3,Mathematics,First Term,20,40,60,199\n"
        "B,2023/2024,SS3,Mathematics,First Term,20,30,50,300\n"
    )
    sender.hand_in(
        "Student ID,Exam,Exam Year,Exam Number,Subject,Grade,Score\n"
        "B,JAMB,2024,77,Overall,,200\n"
        "A,WASSCE,2024,5,English Language,B2,\n",
        "exam_results",
    )
    transform(settings, uuid4())

    assert rows(
        """
        select student_id, jamb_exam_year, registration_number, jamb_score::int, jamb_performance,
               average_student_score::float
        from marts.mart_jamb_performance order by 1
        """
    ) == [("A", 2024, "", 199, "Fail", 53.3), ("B", 2024, "77", 200, "Pass", 50)]
    assert rows(
        """
        select course, course_class, waec_grade, average_student_score::float, student_evaluation
        from marts.mart_waec_performance where student_id = 'A'
        """
    ) == [("English", "SS3", "B2", 50, "Pass")]
    for student, year, number, dataset in (
        ("A", 2024, "", "academic_history"),
        ("B", 2024, "77", "exam_results"),
    ):
        key = {
            "school_id": "main", "student_id": student, "jamb_exam_year": year, "registration_number": number
        }  # fmt: skip
        found = provenance(connection, "mart_jamb_performance", key, "jamb_score")
        assert {line.dataset for line in found.lines} == {dataset}


def test_a_figure_leads_to_the_lines_of_the_tables(connection: Connection):
    key = {"school_id": "main", "student_id": "10", "school_year": "2021/2022", "term": "First Term"}

    average = provenance(connection, "mart_student_terms", key, "average_score")
    attendance = provenance(connection, "mart_student_terms", key, "attendance_pct")

    assert [(line.dataset, line.line, line.values) for line in average.lines] == [
        ("rosariosis_student_assessment_grades", line, {"points": points})
        for line, points in ((2, 8), (3, 15), (4, 40.5))
    ]
    assert average.total == 3
    assert [(line.dataset, line.line, line.values) for line in attendance.lines] == [
        ("rosariosis_attendance_day", 2, {"minutes_present": 900, "total_minutes": 1000})
    ]


def test_whatever_changes_at_the_source_the_marts_end_as_if_built_from_scratch(
    connection: Connection, settings: Settings, sender: Sender, rows: Rows, change: Callable[..., None]
):
    results = "select student_id, school_year, subject, term, total_score::float from core.fct_assessments "

    # Points change, come and go; a course of one student becomes another's; a student goes.
    change(
        student_assessment_grades="student_course_id,marking_period_id,points,is_deleted\n"
        "100,1,50,\n100,5,44,false\n111,1,,true\n",
        students_courses="student_course_id,student_id,course_id,grade_level_id\n120,11,4,3\n",
        students="student_id,is_deleted\n13,true\n12,true\n",
        attendance_day="student_course_id,total_minutes,minutes_present\n110,960,960\n",
    )
    assert rows(results + "order by 1, 2, 3, 4") == [
        ("10", "2020/2021", "Mathematics", "First Term", 30),
        ("10", "2021/2022", "Mathematics", "First Term", 73),
        ("10", "2021/2022", "Mathematics", "Second Term", 53),
        ("11", "2016/2017", "Mathematics", "First Term", 50),
        ("11", "2019/2020", "Mathematics", "First Term", 50),
        ("11", "2019/2020", "Mathematics", "Second Term", 60),
    ]
    assert rows("select student_id from core.dim_students order by 1") == [("10",), ("11",)]
    assert rows("select student_id from marts.mart_student_overview order by 1") == [("10",), ("11",)]
    assert rows(
        "select attendance_pct::float from core.fct_assessments where subject = 'Mathematics'"
        " and student_id = '11' and school_year = '2019/2020' and term = 'First Term'"
    ) == [(100,)]

    # What was deleted comes back; a course is renamed; a parent, an activity.
    change(
        student_assessment_grades="student_course_id,marking_period_id,points\n111,1,25\n",
        students="student_id,first_name,last_name,grade_level_id\n12,Chidi,Okeke,7\n",
        courses="course_id,title,grade_level,teacher_id\n3,Literature,6,2\n",
        parent="parent_id,first_name,last_name,education_level\n1,Grace,Eze,Primary\n",
        eligibility="student_id,activity_id,is_active\n10,1,false\n",
    )
    assert ("11", "2019/2020", "Literature", "First Term", 25) in rows(results)
    overview = "select guardian_education, activities_count from marts.mart_student_overview "
    assert rows(overview + "where student_id = '10'") == [("Primary", 0)]

    # The school year moves on; a term and a class of former students get another name.
    change(
        schools="id,syear\n1,2022\n",
        marking_periods="marking_period_id,mp_type,title,points\n5,Third Term,Exams,70\n",
        school_gradelevels="id,short_name,title\n8,A19,Alumni 2019\n",
    )
    assert ("10", "2022/2023", "Mathematics", "First Term", 73) in rows(results)
    assert ("11", "2018/2019", "Mathematics", "Third Term", 60) in rows(results)
    assert_as_from_scratch(connection, settings)


def test_a_withdrawn_table_takes_its_rows_along(
    connection: Connection, settings: Settings, sender: Sender, rows: Rows
):
    """Also of a small table, whose rows no longer say whom they concerned."""
    uploads = {row[1]: row[0] for row in rows("select upload_id, dataset from ops.uploads")}
    for table in ("courses", "student_assessment_grades"):
        withdraw_upload(connection, sender.store, uploads[f"rosariosis_{table}"], sender.admin)
        sender.load(uploads[f"rosariosis_{table}"])
    transform(settings, uuid4())

    assert rows("select count(*) from core.fct_assessments") == [(0,)]
    assert rows("select count(*) from marts.mart_student_overview") == [(4,)]
    assert_as_from_scratch(connection, settings)


def test_what_a_file_says_stands_before_rosariosis(rows: Rows, sender: Sender, settings: Settings):
    sender.hand_in(
        "Student ID,Academic Year,Grade Level,Subject,Term,Test Score,Exam Score,Total Score\n"
        "10,2021/2022,SS1,Mathematics,First Term,20,50,70\n"
    )
    sender.hand_in(
        "Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level\n"
        "10,Ngozi,Eze-Obi,Female,2006-05-04,SS1\n",
        "students",
    )
    transform(settings, uuid4())

    assert rows(
        "select school_year, total_score::float from core.fct_assessments where student_id = '10' order by 1"
    ) == [("2020/2021", 30), ("2021/2022", 70)]
    assert rows("select last_name from core.dim_students where student_id = '10'") == [("Eze-Obi",)]


def assert_as_from_scratch(connection: Connection, settings: Settings) -> None:
    """What the builds of changes made is what a build of everything makes."""
    found = contents(connection)
    transform(settings, uuid4(), full=True)
    expected = contents(connection)
    assert {name for name in expected if found[name] != expected[name]} == set()
