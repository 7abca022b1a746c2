"""What the marts must show of register, resources and timetable, worked out from the rows in force."""

from __future__ import annotations

import pandas as pd

from demo.rounding import CHRONIC_ABSENCE_BELOW, round_half_up, show, show_flag

_TERM_OF_THE_REGISTER = "Third Term"
_SHARED = {
    "Classrooms": "classroom", "Laboratories": "laboratory", "Computers": "computer", "Toilets": "toilet",
}  # fmt: skip
_TEACHER_TERM = ["school_id", "teacher_id", "school_year", "term"]


def attendance_figures(register: pd.DataFrame) -> pd.DataFrame:
    """One row per student, school year and term. The register is that of a third term."""
    days = register.assign(
        day=pd.to_datetime(register["attendance_date"]),
        present=register["attendance_status"].isin(["Present", "Late"]),
        late=register["attendance_status"] == "Late",
        absent=register["attendance_status"] == "Absent",
        excused=register["attendance_status"] == "Excused",
        attended=register["minutes_present"].astype(int),
        expected=register["minutes_expected"].astype(int),
    )
    days["school_year"] = [f"{day.year - 1}/{day.year}" for day in days["day"]]
    found = days.groupby(["school_id", "student_id", "school_year"], as_index=False).agg(
        day_count=("present", "size"),
        present_day_count=("present", "sum"),
        late_day_count=("late", "sum"),
        absent_day_count=("absent", "sum"),
        excused_day_count=("excused", "sum"),
        minutes_present=("attended", "sum"),
        minutes_expected=("expected", "sum"),
    )
    is_absent = 100 * found["present_day_count"] < CHRONIC_ABSENCE_BELOW * found["day_count"]
    return found.assign(
        term=_TERM_OF_THE_REGISTER,
        is_chronically_absent=show_flag(is_absent),
        attendance_pct=show(round_half_up(100 * found["present_day_count"], found["day_count"], 2), 2),
        minutes_pct=show(round_half_up(100 * found["minutes_present"], found["minutes_expected"], 2), 2),
    )


def resource_figures(resources: pd.DataFrame, history: pd.DataFrame, loads: pd.DataFrame) -> pd.DataFrame:
    """One row per school and school year, with the students and teachers who share what there is."""
    keys = ["school_id", "school_year"]
    told = resources.rename(columns={"academic_year": "school_year"})
    told["quantity"] = told["quantity"].astype(float)
    found = told.pivot(index=keys, columns="resource", values="quantity").reset_index()
    found = found.merge(history.groupby(keys)["student_id"].nunique().rename("student_count").reset_index())
    found = found.merge(loads.groupby(keys)["teacher_id"].nunique().rename("teacher_count").reset_index())
    shown = found[[*keys, "student_count", "teacher_count"]].copy()
    shown["students_per_teacher"] = show(round_half_up(found["student_count"], found["teacher_count"], 2), 2)
    for resource, name in _SHARED.items():
        has_it = found[resource].notna()
        count = found[resource].where(has_it, 1).astype(int)
        shown[f"{name}_count"] = [
            str(each) if there else "" for each, there in zip(count, has_it, strict=True)
        ]
        shown[f"students_per_{name}"] = show(round_half_up(found["student_count"], count, 2).where(has_it), 2)
    return shown


def timetable_loads(timetables: pd.DataFrame) -> pd.DataFrame:
    """Lessons and minutes a week by teacher and term; a lesson of several classes together is one."""
    rows = timetables.rename(columns={"academic_year": "school_year"})
    rows["minutes"] = rows["minutes"].astype(int)
    lessons = rows.groupby([*_TEACHER_TERM, "weekday", "period"], as_index=False)["minutes"].max()
    found = lessons.groupby(_TEACHER_TERM, as_index=False).agg(
        periods_per_week=("minutes", "size"), minutes_per_week=("minutes", "sum")
    )
    school = found.groupby(["school_id", "school_year", "term"])["minutes_per_week"]
    total, teachers = school.transform("sum"), school.transform("size")
    found["timetable_load_ratio"] = show(round_half_up(found["minutes_per_week"] * teachers, total, 4), 4)
    return found.astype({"periods_per_week": str, "minutes_per_week": str})
