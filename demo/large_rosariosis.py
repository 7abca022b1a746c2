"""RosarioSIS's two largest tables in any number of rows, for benchmarks: made inside MariaDB, in seconds."""

from __future__ import annotations

import pymysql

from demo.rosariosis_lessons import ASSESSMENTS, FIRST_MARKING_PERIOD
from demo.vocabulary import GRADES, TERMS

PERIODS = len(TERMS) * len(ASSESSMENTS)
_COURSES_PER_STUDENT = 60
_COURSES = 100


def fill_large_school(connection: pymysql.Connection, rows: int) -> int:
    """Fill `students_courses` and `student_assessment_grades`; returns the rows of the latter.

    The tables are there (`demo.rosariosis.create_tables`) and lose what they hold. Each student's course gets
    points in all marking periods of a year, so there are a few rows more where `rows` is no multiple of them.
    The same number gives the same rows. Needs MariaDB: its tables `seq_1_to_n` hold the numbers.

    Args:
        connection: a connection to their database; what is written is committed.
        rows: how many rows of points, at least.
    """
    student_courses = -(-rows // PERIODS)
    last_period = FIRST_MARKING_PERIOD + PERIODS - 1
    with connection.cursor() as cursor:
        cursor.execute("truncate table students_courses")
        cursor.execute("truncate table student_assessment_grades")
        cursor.execute(
            f"""
            insert into students_courses
                (student_course_id, student_id, course_id, grade_level_id, created_at, updated_at)
            select
                seq, seq div {_COURSES_PER_STUDENT} + 1, seq mod {_COURSES} + 1, seq mod {len(GRADES)} + 1,
                '2020-09-01 08:00:00', timestamp('2021-07-31 12:00:00') - interval seq mod 100000 second
            from seq_1_to_{student_courses}
            """  # noqa: S608
        )
        cursor.execute(
            f"""
            insert into student_assessment_grades (student_course_id, marking_period_id, points)
            select
                courses.seq, periods.seq,
                -- Half points between 0 and the most that the period gives: 10, 20 or 70.
                (courses.seq * 7919 + periods.seq * 104729) mod
                (2 * elt(1 + (periods.seq - {FIRST_MARKING_PERIOD}) mod {len(ASSESSMENTS)},
                    {", ".join(str(points) for _, points in ASSESSMENTS)}) + 1) / 2
            from seq_1_to_{student_courses} as courses
            cross join seq_{FIRST_MARKING_PERIOD}_to_{last_period} as periods
            """  # noqa: S608
        )
        connection.commit()
    return student_courses * PERIODS
