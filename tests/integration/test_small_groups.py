"""An analyst's attack: every sum and difference that the served marts allow, to find groups under ten.

The attacker knows the views and, from elsewhere, how many students a school has and how many assessments each
class that is shown wrote. What is hidden then is a system of linear equations; an unknown that can have one
value only is found.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from scipy.optimize import linprog

from elt.people.principals import Principal
from elt.serving.sessions import reader
from elt.settings import Settings
from elt.warehouse import Connection, connect

SMALL = 10
TERMS = ("First Term", "Second Term", "Third Term")
GRADES = ("JSS1", "JSS2", "JSS3", "SS1", "SS2", "SS3")
SUBJECTS = ("Civics", "English", "Mathematics", "Music", "Yoruba")

Cell = tuple[str, ...]
Figures = dict[Cell, dict[str, Any]]


def read_cells(connection: Connection, schema: str) -> tuple[Figures, Figures]:
    """The figures of classes and of their subjects, by school, grade, term (and subject)."""
    classes = {
        (row["school_id"], row["grade_level"], row["term"]): row
        for row in connection.execute(f"select * from {schema}.mart_class_summary")
    }
    subjects = {
        (row["school_id"], row["grade_level"], row["term"], row["subject"]): row
        for row in connection.execute(f"select * from {schema}.mart_subject_performance")
    }
    return classes, subjects


class Attack:
    """Linear equations and bounds on numbers of students; unknowns are the cells."""

    def __init__(self) -> None:
        self._place: dict[Cell, int] = {}
        self._equal: list[tuple[list[Cell], float]] = []
        self._at_most: list[tuple[Cell, Cell]] = []

    def know(self, cells: list[Cell], total: float) -> None:
        """These cells add up to this."""
        for cell in cells:
            self._place.setdefault(cell, len(self._place))
        self._equal.append((cells, total))

    def is_part(self, part: Cell, whole: Cell) -> None:
        """The students of one cell are students of the other."""
        for cell in (part, whole):
            self._place.setdefault(cell, len(self._place))
        self._at_most.append((part, whole))

    def bounds(self, cell: Cell) -> tuple[float, float]:
        """Least and most students that the cell can have."""
        wanted = np.zeros(len(self._place))
        wanted[self._place[cell]] = 1
        found = []
        for sign in (1, -1):
            solved = linprog(sign * wanted, bounds=(1, 1000), method="highs", **self._system())
            assert solved.success, solved.message
            found.append(sign * solved.fun)
        return found[0], found[1]

    def _system(self) -> dict[str, Any]:
        equations = np.zeros((len(self._equal), len(self._place)))
        for line, (cells, _) in enumerate(self._equal):
            equations[line, [self._place[cell] for cell in cells]] = 1
        parts = np.zeros((len(self._at_most), len(self._place)))
        for line, (part, whole) in enumerate(self._at_most):
            parts[line, self._place[part]] += 1
            parts[line, self._place[whole]] -= 1
        return {
            "A_eq": equations, "b_eq": [total for _, total in self._equal],
            "A_ub": parts, "b_ub": np.zeros(len(self._at_most)),
        }  # fmt: skip


def attack(served: tuple[Figures, Figures], true: tuple[Figures, Figures]) -> tuple[list[Cell], list[str]]:
    """The small cells, and those of them that the served figures and totals from elsewhere give away."""
    classes, subjects = served
    system = Attack()
    of_school, of_class = defaultdict(list), defaultdict(list)
    for cell, figures in {**classes, **subjects}.items():
        if figures["student_count"] is not None:
            system.know([cell], figures["student_count"])
    for cell in classes:
        of_school[cell[0], cell[2]].append(cell)
    for cell in subjects:
        of_class[cell[:3]].append(cell)
        system.is_part(cell, cell[:3])
    for cell, parts in of_class.items():
        if classes[cell]["assessment_count"] is not None:
            system.know(parts, classes[cell]["assessment_count"])
    # From elsewhere. Where there is one group only, whoever knows the total knows the group.
    for parts in of_school.values():
        if len(parts) > 1:
            system.know(parts, sum(true[0][part]["student_count"] for part in parts))
    for cell, parts in of_class.items():
        if len(parts) > 1 and classes[cell]["student_count"] is not None:
            system.know(parts, sum(true[1][part]["student_count"] for part in parts))
    small = [cell for cell, figures in {**true[0], **true[1]}.items() if figures["student_count"] < SMALL]
    found = []
    for cell in small:
        low, high = system.bounds(cell)
        if high - low < 0.5:
            found.append(f"{cell}: {low}")
    return small, found


def check_shown_figures(served: tuple[Figures, Figures], true: tuple[Figures, Figures]) -> None:
    """Nothing shown is about fewer than ten students: directly, as the rest of a group, by another term."""
    for shown, real in zip(served, true, strict=True):
        for cell, figures in shown.items():
            size = real[cell]["student_count"]
            figure = {name: value for name, value in figures.items() if value is not None}
            told = set(figure) - {"school_id", "school_year", "grade_level", "term", "subject", "term_order"}
            assert not told or size >= SMALL, (cell, told)
            assert not {"lowest_average", "highest_average", "teacher_count"} & told
            for part in (
                "passed_count",
                "failure_count",
                "failing_student_count",
                "chronically_absent_count",
            ):
                whole = (
                    figures.get("assessment_count") if len(cell) == 3 and part == "failure_count" else size
                )
                if part in told:
                    assert min(figure[part], whole - figure[part]) >= SMALL, (cell, part)
            if "pass_rate" in told:
                assert "failure_count" in told, cell
            if "score_change" in told:
                before = {**figures, "term": TERMS[figures["term_order"] - 2]}
                earlier = (cell[0], cell[1], before["term"], cell[3])
                assert shown[earlier]["average_score"] is not None, cell


def check_totals(served: tuple[Figures, Figures]) -> None:
    """A total stands only beside all its parts."""
    classes, subjects = served
    for cell, figures in classes.items():
        parts = [subjects[part] for part in subjects if part[:3] == cell]
        if figures["assessment_count"] is not None:
            assert all(part["student_count"] is not None for part in parts), cell
        if figures["failure_count"] is not None or figures["pass_rate"] is not None:
            assert all(part["failure_count"] is not None for part in parts), cell


@pytest.fixture
def sight(uneven_settings: Settings) -> Iterator[tuple[Connection, Connection]]:
    """A session of an analyst and the owner's."""
    with (
        reader(uneven_settings, Principal("user:test", "analyst")) as session,
        connect(uneven_settings.database_url.get_secret_value()) as owner,
    ):
        yield session, owner


def test_the_attack_finds_what_is_not_hidden_well(sight: tuple[Connection, Connection]) -> None:
    """The attack is worth something: with the small cells only hidden, and totals shown, it finds them."""
    true = read_cells(sight[1], "marts")
    naive = tuple(
        {
            cell: {**figures, "student_count": None} if figures["student_count"] < SMALL else figures
            for cell, figures in level.items()
        }
        for level in true
    )
    small, found = attack(naive, true)  # type: ignore[arg-type]
    assert {text.split("):")[0] for text in found} == {
        *(f"('main', 'JSS3', '{term}'" for term in TERMS),
        *(f"('main', 'JSS1', '{term}', 'Yoruba'" for term in TERMS),
        *(f"('south', 'JSS1', '{term}', 'Yoruba'" for term in TERMS[1:]),
    }
    assert len(small) > len(found)


def test_no_small_group_of_the_schools_is_found(sight: tuple[Connection, Connection]) -> None:
    served, true = read_cells(sight[0], "served"), read_cells(sight[1], "marts")
    small, found = attack(served, true)
    assert len(small) > 30
    assert found == []
    check_shown_figures(served, true)
    check_totals(served)
    # And it is not hidden because all is.
    assert served[0]["main", "JSS1", "First Term"]["student_count"] == 34
    assert served[1]["main", "SS2", "First Term", "Physics"]["average_score"] is not None
    assert served[0]["south", "JSS2", "First Term"]["assessment_count"] == 19 + 19 + 12
    assert served[1]["south", "JSS1", "First Term", "Yoruba"]["student_count"] is None  # 7 later in the year


@pytest.mark.parametrize("seed", range(25))
def test_no_small_group_of_any_school_is_found(sight: tuple[Connection, Connection], seed: int) -> None:
    """Schools of all shapes, written where the marts' views and the rules read."""
    _, owner = sight
    dice = random.Random(seed)
    with owner.transaction(force_rollback=True):
        _write_schools(owner, dice)
        # What an analyst sees in this transaction: the same views, the scope put where they look.
        served = _as_analyst(owner)
        true = read_cells(owner, "marts")
    small, found = attack(served, true)
    assert found == []
    check_shown_figures(served, true)
    check_totals(served)
    assert small or seed not in range(5)


def _as_analyst(owner: Connection) -> tuple[Figures, Figures]:
    owner.execute(
        """
        insert into ops.scopes (token_sha256, backend_pid, principal, role, expires_at)
        values (sha256('t'), pg_backend_pid(), 'user:test', 'analyst', now() + interval '1 hour');
        select set_config('laurel.scope', 't', true);
        """
    )
    return read_cells(owner, "served")


def _write_schools(owner: Connection, dice: random.Random) -> None:
    owner.execute("truncate intermediate.int_class_scores, intermediate.int_assessment_totals")
    for school in ("a", "b", "c")[: dice.randint(1, 3)]:
        for grade in GRADES[: dice.randint(1, 6)]:
            size = dice.choice([dice.randint(1, 12), dice.randint(8, 20), dice.randint(20, 60)])
            taken = {subject: dice.randint(1, size) for subject in SUBJECTS[: dice.randint(1, 5)]}
            taken[SUBJECTS[0]] = size
            for term in TERMS[: dice.randint(1, 3)]:
                leavers = dice.choice([0, 0, 1, 3])
                _write_class(owner, dice, (school, grade, term), taken, leavers)


def _write_class(
    owner: Connection, dice: random.Random, place: Cell, taken: dict[str, int], leavers: int
) -> None:
    """The first students of a class take each subject, and the first of those fail it."""
    sizes = {subject: max(1, size - leavers) for subject, size in taken.items()}
    failed = {subject: dice.choice([0, 1, size, dice.randint(0, size)]) for subject, size in sizes.items()}
    attended = dice.randint(0, max(sizes.values()))
    with owner.cursor() as cursor:
        cursor.executemany(
            """
            insert into intermediate.int_class_scores
                (school_id, school_year, grade_level, term, average_score, students, subjects, failures,
                 failing_students, attendance_count, attendance_sum, chronically_absent_students)
            values (%s, '2024/2025', %s, %s, %s, 1, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    *place, number, sum(number < size for size in sizes.values()),
                    sum(number < count for count in failed.values()), int(number < max(failed.values())),
                    int(number < attended), 90 * int(number < attended), int(number < attended // 2),
                )
                for number in range(max(sizes.values()))
            ],
        )  # fmt: skip
        cursor.executemany(
            """
            insert into intermediate.int_assessment_totals
                (school_id, school_year, grade_level, term, subject, teacher_id, students, teacher_students,
                 passes, total_sum, total_square_sum, test_count, test_sum, exam_count, exam_sum,
                 attendance_count, attendance_sum)
            values (%s, '2024/2025', %s, %s, %s, 'T1', %s, 0, %s, %s, %s, %s, 1, %s, 1, %s, 1)
            """,
            [
                (
                    *place, subject, size, size - failed[subject], 50 * size, 2600 * size,
                    *[dice.randint(0, size)] * 3,
                )
                for subject, size in sizes.items()
            ],
        )  # fmt: skip


def test_means_are_over_ten_students_at_least(sight: tuple[Connection, Connection]) -> None:
    """A class of thirty of whom three have their attendance noted must not show the attendance of three."""
    served, _ = read_cells(sight[0], "served")
    counts = {
        (row["school_id"], row["grade_level"], row["term"]): row["students"]
        for row in sight[1].execute(
            "select school_id, grade_level, term, count(attendance_pct) as students "
            "from marts.mart_student_terms group by 1, 2, 3"
        )
    }
    assert min(counts.values()) < SMALL
    for cell, figures in served.items():
        assert figures["attendance_pct"] is None or counts[cell] >= SMALL, cell


def test_insights_of_small_groups_are_hidden(sight: tuple[Connection, Connection]) -> None:
    real = {
        (row["factor"], row["outcome"]): row for row in sight[1].execute("select * from marts.mart_insights")
    }
    shown = {
        (row["factor"], row["outcome"]): row for row in sight[0].execute("select * from served.mart_insights")
    }
    small = [key for key, row in real.items() if (row["smallest_group"] or SMALL) < SMALL]
    assert ("disorder", "average_score") in small
    assert set(shown) == set(real)
    for key, row in shown.items():
        if key in small:
            for figure in ("sample_size", "group_means", "effect", "low", "high", "adjusted_low", "strength"):
                assert row[figure] is None, (key, figure)
            assert not any(sign.isdigit() for sign in row["verdict"])
        else:
            assert row["verdict"] == real[key]["verdict"]


def test_students_of_a_subject_are_told_only_where_those_of_each_of_its_classes_are(
    sight: tuple[Connection, Connection],
) -> None:
    session, _ = sight
    parts: dict[Cell, list[int | None]] = defaultdict(list)
    for row in session.execute("select * from served.mart_subject_performance"):
        parts[row["school_id"], row["school_year"], row["term"], row["subject"]].append(row["student_count"])
    kinds = set()
    for row in session.execute("select * from served.mart_subject_staffing"):
        classes = parts.pop((row["school_id"], row["school_year"], row["term"], row["subject"]))
        are_shown = None not in classes
        assert row["student_count"] == (sum(filter(None, classes)) if are_shown else None)
        assert (row["students_per_class"] is None) is not are_shown
        assert (row["teacher_count"], row["students_per_teacher"]) == (None, None)
        kinds.add(are_shown)
    assert parts == {}
    assert kinds == {True, False}


def test_a_total_of_everything_is_told_nowhere(sight: tuple[Connection, Connection]) -> None:
    rows = sight[0].execute("select live_row_count from served.mart_freshness").fetchall()
    assert {row["live_row_count"] for row in rows} == {None}
    counts = sight[0].execute("select row_count from served.mart_data_quality").fetchall()
    assert all(row["row_count"] is None or row["row_count"] >= SMALL for row in counts)


def test_sums_over_all_combinations_of_filters_are_sums_of_what_is_shown(
    sight: tuple[Connection, Connection],
) -> None:
    """Grouping by any of the columns, in SQL, adds nothing hidden to a sum."""
    session, _ = sight
    for mart, dimensions, figures in (
        ("mart_class_summary", ("school_id", "grade_level", "term"), ("student_count", "assessment_count")),
        ("mart_subject_performance", ("school_id", "grade_level", "term", "subject"), ("student_count",)),
    ):
        rows = session.execute(f"select * from served.{mart}").fetchall()
        for count in range(len(dimensions) + 1):
            for chosen in itertools.combinations(dimensions, count):
                for figure in figures:
                    expected: dict[Cell, int] = defaultdict(int)
                    for row in rows:
                        expected[tuple(row[name] for name in chosen)] += row[figure] or 0
                    keys = "".join(f"{name}, " for name in chosen)
                    grouped = session.execute(
                        f"select {keys} coalesce(sum({figure}), 0) as total from served.{mart}"
                        + (f" group by {keys.rstrip(', ')}" if chosen else "")
                    )
                    found = {tuple(row[name] for name in chosen): int(row["total"]) for row in grouped}
                    assert found == dict(expected)


@pytest.mark.usefixtures("uneven_school")
def test_the_api_and_its_exports_show_analysts_the_same(client_of: Callable[..., FlaskClient]) -> None:
    analyst = client_of("analyst")
    address = "/api/v1/marts/mart_class_summary"
    hidden = {"school_id": "main", "grade_level": "JSS3", "term": "First Term"}
    [row] = analyst.get(address, query_string=hidden).json
    assert {name for name, value in row.items() if value is not None} == {
        "school_id", "school_year", "grade_level", "term", "term_order",
    }  # fmt: skip
    table = analyst.get(address, query_string={**hidden, "format": "csv"}).text
    assert table.splitlines()[1] == "main,2024/2025,JSS3,First Term,1,,,,,,,,,,,,"
    for name, value in (("student_count__lt", "10"), ("average_score__gte", "0"), ("student_count", "6")):
        assert analyst.get(address, query_string={**hidden, name: value}).json == []
    assert analyst.get(address, query_string={"student_count__lt": "10"}).json == []
    for mart in ("mart_student_overview", "mart_teacher_load", "mart_student_scores", "mart_students"):
        assert analyst.get(f"/api/v1/marts/{mart}").json == [], mart
    listed = {mart["name"]: mart for mart in analyst.get("/api/v1/marts").json["items"]}
    assert {mart["rows"] for mart in listed.values()} == {None}
    assert Decimal(analyst.get(address, query_string={"student_count": "34"}).json[0]["student_count"]) == 34
