"""RosarioSIS's tables of the school, its classes and people, and what people do outside lessons."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from demo.exams import school_exam_id
from demo.rosariosis_school import NO_DAY, SCHOOL_NUMBER, Cells, OneSchool, Rows
from demo.roster import STREAMS, school_name
from demo.vocabulary import GRADES, JUNIOR_GRADES, LATIN1_MIDDLE_NAMES, MIDDLE_NAMES

_HEALTH = {"Good": 2, "Average": 3, "Poor": 4}  # 1 would be very good
_MIDDLE_NAME_SHARE = 0.4
_UNKNOWN_ENTRY_SHARE = 0.05


def school_rows(school: OneSchool) -> Rows:
    """The school."""
    name, head = school_name(school.position), school.bios("teachers")[0]
    columns = (
        "id", "syear", "title", "address", "city", "state", "zipcode", "phone", "principal", "www_address",
        "school_number", "short_name", "reporting_gp_scale", "grading_scale", "sort_order", "created_at",
    )  # fmt: skip
    cells: Cells = (
        SCHOOL_NUMBER, school.year, f"{name} High School", f"1, School Road, {name}", name, "Lagos", "100001",
        "+2340000000000", f"{head['First Name']} {head['Last Name']}", f"https://{school.school_id}.example",
        str(school_exam_id(school.position)), name[:3].upper(), 4, "A1 to F9", 1, "2010-09-01 08:00:00",
    )  # fmt: skip
    return Rows("schools", columns, [cells])


def class_rows(school: OneSchool) -> Rows:
    """JSS1 to SS3, then a class of former students for each year in which some left."""
    cells: list[Cells] = []
    for place, grade in enumerate(GRADES, 1):
        stage = "Junior" if grade in JUNIOR_GRADES else "Senior"
        title = f"{stage} Secondary {grade[-1]}"
        cells.append((place, SCHOOL_NUMBER, grade, title, place + 1, place, "2010-09-01 08:00:00"))
    for place in range(len(GRADES) + 1, max(map(school.class_of, school.students)) + 1):
        left = school.leaving_year(place)
        short, title = f"A{left % 100:02}", f"Alumni {left}"
        cells.append((place, SCHOOL_NUMBER, short, title, None, place, f"{left}-08-01 08:00:00"))
    columns = ("id", "school_id", "short_name", "title", "next_grade_id", "sort_order", "created_at")
    return Rows("school_gradelevels", columns, cells)


def teacher_rows(school: OneSchool) -> Rows:
    """Teachers; the row was written when they were employed."""
    cells: list[Cells] = []
    for bio in school.bios("teachers"):
        employed = school.drawn.today.year - int(bio["Years of Experience"])
        cells.append((
            _digits(bio["Teacher ID"]), bio["Last Name"], bio["First Name"],
            _middle_name(school, MIDDLE_NAMES), f"{employed}-09-01 08:00:00",
        ))  # fmt: skip
    return Rows("teachers", ("id", "last_name", "first_name", "middle_name", "created_at"), cells)


def parent_rows(school: OneSchool) -> Rows:
    """Guardians, once each. Some were copied from paper, and nobody knows when."""
    people = {_digits(bio["Parent ID"]): bio for bio in school.bios("guardians")}
    cells: list[Cells] = []
    for number, bio in people.items():
        schooling = bio["Education Level"]
        is_unknown = school.rng.random() < _UNKNOWN_ENTRY_SHARE
        cells.append((
            number, bio["Last Name"], bio["First Name"], _middle_name(school, LATIN1_MIDDLE_NAMES),
            "Higher" if schooling == "Tertiary" else schooling,
            f"{NO_DAY} 00:00:00" if is_unknown else f"{school.year - 1}-09-01 08:00:00",
        ))  # fmt: skip
    columns = ("parent_id", "last_name", "first_name", "middle_name", "education_level", "created_at")
    return Rows("parent", columns, cells)


def student_rows(school: OneSchool) -> Rows:
    """Present and former students. RosarioSIS knows one parent of each."""
    parent: dict[str, int] = {}
    for bio in school.bios("guardians"):
        parent.setdefault(bio["Student ID"], _digits(bio["Parent ID"]))
    cells: list[Cells] = []
    for student, bio in zip(school.students, school.bios("students"), strict=True):
        number, place = school.number_of(student), school.class_of(student)
        stream = STREAMS[school.drawn.roster.stream[student]]
        cells.append((
            number, parent[bio["Student ID"]], bio["First Name"], bio["Last Name"],
            _middle_name(school, MIDDLE_NAMES), place, *_bus(school, bio["Living Arrangement"]),
            None if place <= len(JUNIOR_GRADES) else stream, bio["Gender"][0], _HEALTH[bio["Health Status"]],
            f"https://{school.school_id}.example/images/{number}.jpg", f"{bio['Admission Date']} 08:00:00",
        ))  # fmt: skip
    columns = (
        "student_id", "parent_id", "first_name", "last_name", "middle_name", "grade_level_id", "bus_pickup",
        "bus_dropoff", "departments", "gender", "health_status", "profile_image", "created_at",
    )  # fmt: skip
    return Rows("students", columns, cells)


def activity_rows(school: OneSchool) -> Rows:
    """Activities outside lessons."""
    cells: list[Cells] = [
        (
            number, school.year, SCHOOL_NUMBER, title, date(school.year, 9, 1), date(school.year + 1, 7, 31),
            f"{title} after lessons.", f"{school.year}-08-20 08:00:00",
        )
        for number, title in enumerate(_offered(school), 1)
    ]  # fmt: skip
    columns = ("id", "syear", "school_id", "title", "start_date", "end_date", "comment", "created_at")
    return Rows("eligibility_activities", columns, cells)


def eligibility_rows(school: OneSchool) -> Rows:
    """One per student; who takes part in nothing is signed up for something and not active."""
    offered = _offered(school)
    cells: list[Cells] = []
    for student, bio in zip(school.students, school.bios("students"), strict=True):
        place = school.class_of(student)
        year = school.year if place <= len(GRADES) else school.leaving_year(place) - 1
        named = _activities(bio)
        activity = named[0] if named else school.pick(offered)
        cells.append((
            school.number_of(student), year, date(year, 9, 15), offered.index(activity) + 1, int(bool(named)),
            f"{year}-09-15 08:00:00",
        ))  # fmt: skip
    columns = ("student_id", "syear", "school_date", "activity_id", "is_active", "created_at")
    return Rows("eligibility", columns, cells)


def poll_rows(school: OneSchool) -> Rows:
    """Teachers are voted best or worst, some of them both."""
    cells: list[Cells] = []
    for bio in school.bios("teachers"):
        titles = [title for title in ("Best", "Worst") if school.rng.random() < 0.5] or ["Best"]
        for title in titles:
            number = len(cells) + 1
            cells.append((
                number, SCHOOL_NUMBER, school.year - 1, title, int(school.rng.integers(1, 60)), "Y", number,
                1, f"{school.year}-06-01 09:00:00", date(school.year, 5, 1), date(school.year, 5, 31),
                "admin,teacher", _digits(bio["Teacher ID"]),
            ))  # fmt: skip
    columns = (
        "id", "school_id", "syear", "title", "votes_number", "display_votes", "sort_order", "published_user",
        "published_date", "start_date", "end_date", "published_profiles", "students_teacher_id",
    )  # fmt: skip
    return Rows("portal_polls", columns, cells)


def sat_number_rows(school: OneSchool) -> Rows:
    """Registration numbers of former students who took the SAT."""
    cells: list[Cells] = [
        (school.number_of(each.student), each.sat_number) for each in school.candidates if each.sat_number
    ]
    return Rows("student_sat_reg_numbers", ("student_id", "sat_registration_number"), cells)


def waec_number_rows(school: OneSchool) -> Rows:
    """Examination numbers of all former students."""
    cells: list[Cells] = [(school.number_of(each.student), each.waec_number) for each in school.candidates]
    return Rows("student_waec_reg_numbers", ("student_id", "waec_registration_number"), cells)


def _offered(school: OneSchool) -> list[str]:
    return sorted({word for bio in school.bios("students") for word in _activities(bio)})


def _activities(bio: dict[str, str]) -> list[str]:
    return [word for word in bio["Extracurricular Activities"].split(", ") if word != "None"]


def _bus(school: OneSchool, living: str) -> tuple[str | None, str | None]:
    """Whether a bus brings the student, and takes them home. What is no Y means no."""
    if living == "Boarding":
        return "N", "N"
    pickup, dropoff = (("Y" if school.rng.random() < share else None) for share in (0.6, 0.5))
    return pickup, dropoff


def _middle_name(school: OneSchool, names: Sequence[str]) -> str | None:
    return school.pick(names) if school.rng.random() < _MIDDLE_NAME_SHARE else None


def _digits(person_id: str) -> int:
    """RosarioSIS numbers people; the files' numbers have three letters before them."""
    return int(person_id[3:])
