"""Training and scoring on a real database, with a feature mart made by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from elt.errors import Conflict, NotFound
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection
from ml import registry
from ml.errors import FeatureMismatch, NotEnoughHistory
from ml.scoring import score
from ml.target import load_target
from ml.training import retrain, train

SEEDS = """
create schema if not exists staging; create schema if not exists marts;
create table staging.pass_marks (measure text, pass_mark int);
insert into staging.pass_marks values ('subject', 40), ('term_average', 50);
create table staging.attendance_rules (rule text, minimum_pct int);
insert into staging.attendance_rules values ('chronic_absence', 90);
"""

# Students × terms. Absence in a term (a quarter of the students) costs 11 points in the next one where there
# is a signal; without, averages are noise. The last term's outcome has not come yet.
MART = """
create table marts.mart_student_features as
with drawn as (
    select
        student, term, 6 * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) as luck,
        (random() < 0.25)::int * (0.5 + random()) as strain
    from generate_series(1, %(students)s) student cross join generate_series(1, %(terms)s) term
), marks as (
    select
        student, term, strain,
        58 + (student %% 11) - 5 + luck
            - case when %(signal)s then 12 * coalesce(lag(strain) over by_term, 0) else 0 end as average
    from drawn window by_term as (partition by student order by term)
), followed as (
    select
        *, date '2023-12-20' + 120 * (term - 1) as as_of_date,
        lag(average) over by_term as previous, lead(average) over by_term as next_average
    from marks window by_term as (partition by student order by term)
)
select
    case when student %% 2 = 0 then 'north' else 'south' end as school_id,
    'STU' || lpad(student::text, 4, '0') as student_id,
    as_of_date, as_of_date + 14 as known_at,
    case when next_average is not null then as_of_date + 134 end as next_known_at,
    round(next_average::numeric, 2) as next_term_average,
    'First Term' as term, 'JSS' || (1 + student %% 3) as grade_level, (1 + student %% 3) as grade_order,
    round(average::numeric, 2) as term_average,
    round((average - previous)::numeric, 2) as score_change,
    round((average - previous)::numeric / 2, 2) as score_slope,
    round(average::numeric, 2) as average_to_date, 4.0::numeric as average_deviation,
    round(average::numeric - 9) as lowest_score, 6.0::numeric as score_deviation,
    greatest(0, (55 - average) / 4)::int as failure_count, 0.1::numeric as failure_rate_to_date,
    round((96 - 13 * strain)::numeric, 2) as term_attendance,
    null::numeric as attendance_change, 94.0::numeric as attendance_to_date,
    null::numeric as attendance_deviation, strain > 0.5 as is_chronically_absent,
    term::int as terms_seen, 9 as subject_count, 12.5::numeric as teacher_experience_mean,
    (student %% 3)::int as activities_count,
    (array['Low', 'Medium', 'High'])[1 + student %% 3] as guardian_engagement,
    'Tertiary' as guardian_education, null::text as guardian_financial_status, 'Good' as health_status,
    round(previous::numeric, 2) as previous_average, null::numeric as previous_attendance,
    round((-9 * strain)::numeric, 2) as test_exam_gap, 0 as core_failure_count,
    null::numeric as teacher_periods_mean, 'Daily' as study_habits, 3 as weekly_reading_hours,
    0 as offence_count, 0 as offences_to_date, 12::numeric as students_per_computer,
    false as is_before_certificate,
    null::boolean as next_has_core_credits, 'Lagos' as state_of_origin,
    case when student %% 4 < 2 then 'Boarding' else 'Day' end as living_arrangement,
    false as has_disorder, student %% 2 = 0 as is_boarding, 'General' as stream, 'Female' as gender
from followed
"""


def _make_mart(connection: Connection, *, students: int = 300, terms: int = 6, signal: bool = True) -> None:
    connection.execute(SEEDS)
    connection.execute("select setseed(0.3)")
    bound = psycopg.ClientCursor(connection).mogrify(
        MART, {"students": students, "terms": terms, "signal": signal}
    )
    connection.execute(bound.encode())


@pytest.fixture(autouse=True)
def _quick_target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real target with one candidate and fewer draws, but for the test of the command line."""
    if "command_line" in request.node.name:
        return
    target = load_target("at_risk")
    quick = target.model_copy(
        update={
            "candidates": target.candidates[:1],
            "gate": target.gate.model_copy(update={"draws": 200}),
            "validation": target.validation.model_copy(update={"student_folds": 2, "backtest_cohorts": 0}),
        }
    )
    monkeypatch.setattr("ml.scoring.load_target", lambda _name: quick)
    monkeypatch.setattr("ml.training.load_target", lambda _name: quick)


@pytest.fixture
def mart(connection: Connection) -> Connection:
    """A mart with a planted signal."""
    _make_mart(connection)
    return connection


def _count(connection: Connection) -> int:
    return connection.execute("select count(*) as n from ml.predictions").fetchone()["n"]


def test_the_first_scoring_trains_publishes_and_predicts_every_current_student(settings: Settings, mart):
    run_id = uuid4()
    report = score(settings, run_id)
    assert (report.trained, report.model_version, report.reasons) == (True, 1, [])
    assert (report.students, report.by_model, report.by_rule, report.written) == (300, 300, 0, 300)
    lines = mart.execute("select * from ml.predictions order by score desc").fetchall()
    assert {line["run_id"] for line in lines} == {run_id}
    assert {line["method"] for line in lines} == {"model"}
    assert all(line["probability"] == line["score"] for line in lines)
    flagged = [line for line in lines if line["is_at_risk"]]
    assert len(flagged) == report.at_risk > 0
    assert all(line["reasons"] and line["recommendations"] for line in flagged)
    # Absence is the planted cause: who heads the list was absent.
    assert any("Attendance" in reason["text"] for reason in lines[0]["reasons"])


def test_scoring_again_changes_nothing(settings: Settings, mart):
    score(settings)
    report = score(settings)
    assert (report.trained, report.written, report.students) == (False, 0, 300)
    assert report.at_risk > 0
    assert _count(mart) == 300
    assert len(registry.list_models(mart)) == 1


def test_one_changed_student_gets_one_new_line_and_the_old_one_stays(settings: Settings, mart):
    score(settings)
    before = mart.execute("select * from ml.predictions order by prediction_id").fetchall()
    mart.execute(
        "update marts.mart_student_features set term_attendance = 41 where next_term_average is null"
        " and (school_id, student_id) ="
        " (select school_id, student_id from ml.predictions order by score limit 1)"
    )
    report = score(settings)
    lines = mart.execute("select * from ml.predictions order by prediction_id").fetchall()
    assert lines[: len(before)] == before
    mine = [line for line in lines if line["student_id"] == lines[-1]["student_id"]]
    assert mine[-1]["score"] > mine[0]["score"]
    assert mine[-1]["data_version"] != mine[0]["data_version"]
    # Others get a new line only where the list moved: its capacity is shared.
    others = [line for line in lines[len(before) :] if line["student_id"] != mine[-1]["student_id"]]
    assert report.written == 1 + len(others)
    latest = {line["student_id"]: line for line in before}
    assert all(line["is_at_risk"] != latest[line["student_id"]]["is_at_risk"] for line in others)


def test_the_ledger_refuses_changes(settings: Settings, mart):
    score(settings)
    with pytest.raises(psycopg.errors.RaiseException, match="append only"):
        mart.execute("update ml.predictions set score = 0")


def test_two_scorers_at_once_write_each_line_once(settings: Settings, mart):
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: score(settings), range(2)))
    assert sorted(report.written for report in reports) == [0, 300]
    assert _count(mart) == 300
    assert len(registry.list_models(mart)) == 1


def test_a_scoring_that_dies_leaves_no_line(settings: Settings, mart, monkeypatch):
    from ml import ledger

    def die(*_args: object) -> dict[str, object]:
        raise ConnectionError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "count_current", die)
        with pytest.raises(ConnectionError):
            score(settings)
    assert _count(mart) == 0
    assert score(settings).written == 300


def test_without_a_signal_the_rule_speaks_and_says_why(settings: Settings, connection: Connection):
    _make_mart(connection, signal=False)
    report = score(settings)
    assert (report.by_model, report.by_rule, report.model_version) == (0, 300, None)
    assert any("AUC" in reason for reason in report.reasons)
    methods = connection.execute("select distinct method, probability from ml.predictions").fetchall()
    assert methods == [{"method": "rule", "probability": None}]
    (attempt,) = registry.list_models(connection)
    assert (attempt.is_published, attempt.object_key) == (False, None)
    assert {c["name"]: c["passed"] for c in attempt.gate["conditions"]}["auc"] is False
    # Nothing new was learnt about: the refused attempt is not repeated.
    assert score(settings).trained is False


def test_too_little_history_is_the_rule_and_a_named_error_when_asked_to_train(
    settings: Settings, connection: Connection
):
    _make_mart(connection, terms=2)
    report = score(settings)
    assert report.by_rule == 300
    assert report.reasons == [
        "Too little history: found 1 past cohorts whose outcome is known; "
        "3 are needed: 2 to learn from and 1 to judge by"
    ]
    with pytest.raises(NotEnoughHistory, match="3 are needed"):
        train(settings)


def test_before_the_marts_are_built_nothing_happens(settings: Settings, connection: Connection):
    report = score(settings)
    assert (report.students, report.written) == (0, 0)
    assert "not built yet" in report.reasons[0]
    with pytest.raises(NotEnoughHistory, match="not built yet"):
        train(settings)


def test_missing_and_mistyped_columns_are_all_named_and_nothing_is_written(settings: Settings, mart):
    mart.execute(
        "alter table marts.mart_student_features drop column stream,"
        " alter column term_average type text using term_average::text"
    )
    for action in (score, train):
        with pytest.raises(FeatureMismatch, match="term_average is text, expected number; stream is absent"):
            action(settings)
    assert _count(mart) == 0
    assert registry.list_models(mart) == []


def test_a_missing_threshold_is_named(settings: Settings, mart):
    mart.execute("delete from staging.pass_marks where measure = 'term_average'")
    with pytest.raises(FeatureMismatch, match=r"threshold pass_mark .* found 0"):
        score(settings)


def test_the_pass_mark_of_the_seed_decides(settings: Settings, mart):
    score(settings)
    before = registry.list_models(mart)[0].data_window["positives"]
    mart.execute("update staging.pass_marks set pass_mark = 55 where measure = 'term_average'")
    report = score(settings)
    assert report.trained
    assert registry.list_models(mart)[0].data_window["positives"] > before


def test_a_new_terms_results_start_a_new_training(settings: Settings, mart):
    mart.execute("create table later as select * from marts.mart_student_features where terms_seen = 6")
    mart.execute("delete from marts.mart_student_features where terms_seen = 6")
    mart.execute(
        "create table kept as select school_id, student_id, next_term_average"
        " from marts.mart_student_features where terms_seen = 5"
    )
    mart.execute(
        "update marts.mart_student_features set next_term_average = null, next_known_at = null"
        " where terms_seen = 5"
    )
    assert score(settings).model_version == 1
    mart.execute("insert into marts.mart_student_features select * from later")
    mart.execute(
        "update marts.mart_student_features f set next_term_average = k.next_term_average,"
        " next_known_at = f.known_at + 120 from kept k"
        " where (k.school_id, k.student_id, 5) = (f.school_id, f.student_id, f.terms_seen)"
    )
    report = score(settings)
    assert (report.trained, report.model_version, report.written) == (True, 2, 300)


def _take_back(connection: Connection, condition: str) -> None:
    """As if the last term of some students had not been handed in: what the fifth led to is not known."""
    connection.execute(
        "create table handed_in_later as select * from marts.mart_student_features"
        f" where terms_seen >= 5 and ({condition});"
        f" delete from marts.mart_student_features where terms_seen = 6 and ({condition});"
        " update marts.mart_student_features set next_term_average = null, next_known_at = null"
        f" where terms_seen = 5 and ({condition})"
    )


def _hand_in_later(connection: Connection, condition: str) -> None:
    """Hand in the last term of students of whom it was taken back."""
    connection.execute(
        "delete from marts.mart_student_features f using handed_in_later l"
        " where (f.school_id, f.student_id, f.terms_seen) = (l.school_id, l.student_id, l.terms_seen)"
        f" and ({condition.replace('school_id', 'l.school_id')});"
        " insert into marts.mart_student_features"
        f" select * from handed_in_later where {condition}"
    )


def test_the_first_results_of_a_term_train_nothing_and_take_the_model_from_nobody(settings: Settings, mart):
    """A third of the students: most of the term is still to come. With all of one school, half has."""
    early = "school_id = 'north' and student_id::text like any (array['%0', '%2', '%4'])"
    _take_back(mart, f"not ({early})")
    assert score(settings).model_version == 1
    (first,) = registry.list_models(mart)
    assert first.data_window["last_as_of"] == "2024-12-14"
    assert first.covered_schools == ["north", "south"]

    _hand_in_later(mart, "school_id = 'north'")
    report = score(settings)
    assert (report.trained, report.model_version, report.by_model) == (True, 2, 300)
    second = registry.list_models(mart)[0]
    # South is judged by the term before, together with it; north alone has fewer than 200 students anyway.
    assert (second.data_window["last_as_of"], second.data_window["held_out_from"]) == (
        "2025-04-13", "2024-12-14",
    )  # fmt: skip
    assert second.covered_schools == ["north", "south"]

    _hand_in_later(mart, "school_id = 'south'")
    report = train(settings)
    assert report.data_window["held_out_from"] == "2025-04-13"
    assert report.published


def test_a_school_that_joins_starts_a_training(settings: Settings, connection: Connection):
    _make_mart(connection, students=420)
    connection.execute(
        "update marts.mart_student_features set school_id = 'joins'"
        " where student_id like '%5' and student_id < 'STU0330';"
        " create table joining as select * from marts.mart_student_features where school_id = 'joins';"
        " delete from marts.mart_student_features where school_id = 'joins'"
    )
    assert score(settings).trained
    assert score(settings).trained is False
    # Fewer rows than are worth a training by themselves.
    connection.execute("insert into marts.mart_student_features select * from joining")
    report = score(settings)
    assert (report.trained, report.by_rule) == (True, 0)
    assert registry.list_models(connection)[0].covered_schools == ["joins", "north", "south"]
    assert score(settings).trained is False


def test_who_left_or_leaves_gets_no_prediction(settings: Settings, mart):
    mart.execute(
        "delete from marts.mart_student_features where student_id = 'STU0001' and terms_seen = 6;"
        " update marts.mart_student_features set grade_level = 'SS3', term = 'Third Term'"
        " where student_id = 'STU0002' and terms_seen = 6"
    )
    report = score(settings)
    assert report.students == 298
    found = mart.execute(
        "select count(*) as n from ml.predictions where student_id in ('STU0001', 'STU0002')"
    ).fetchone()
    assert found["n"] == 0


def test_grades_whose_term_is_not_handed_in_yet_stay_current(settings: Settings, mart):
    """Of the sixth term only JSS1 is there, and one of JSS2 who is now in SS1, where nobody else is yet."""
    mart.execute(
        "delete from marts.mart_student_features where terms_seen = 6"
        " and not (grade_level = 'JSS1' or student_id = 'STU0001');"
        " update marts.mart_student_features set grade_level = 'SS1'"
        " where student_id = 'STU0001' and terms_seen = 6;"
        # The results of the others have not come: of them the fifth term's row is the newest.
        " update marts.mart_student_features set next_term_average = null, next_known_at = null"
        " where terms_seen = 5 and grade_level <> 'JSS1' and student_id <> 'STU0001'"
    )
    assert score(settings).students == 300
    lines = mart.execute(
        "select f.grade_level, f.terms_seen, count(*) as n from ml.predictions p"
        " join marts.mart_student_features f using (school_id, student_id, as_of_date)"
        " group by f.grade_level, f.terms_seen order by f.grade_level"
    ).fetchall()
    assert [tuple(line.values()) for line in lines] == [
        ("JSS1", 6, 100), ("JSS2", 5, 99), ("JSS3", 5, 100), ("SS1", 6, 1),
    ]  # fmt: skip


def test_who_is_missing_from_the_newer_grade_left_although_the_older_one_waits(settings: Settings, mart):
    """Two went on to SS1 in the fifth term; in the sixth one of them is gone, and JSS2 has nothing newer."""
    mart.execute(
        "delete from marts.mart_student_features where grade_level = 'JSS2' and terms_seen > 4"
        " and student_id not in ('STU0001', 'STU0007');"
        " delete from marts.mart_student_features where student_id = 'STU0001' and terms_seen = 6;"
        " update marts.mart_student_features set grade_level = 'SS1'"
        " where student_id in ('STU0001', 'STU0007') and terms_seen > 4;"
        " update marts.mart_student_features set next_term_average = null, next_known_at = null"
        " where grade_level = 'JSS2' and terms_seen = 4"
    )
    assert score(settings).students == 299
    gone = mart.execute("select 1 from ml.predictions where student_id = 'STU0001'").fetchall()
    assert gone == []


def test_a_grade_of_which_nothing_came_for_a_year_has_nobody_to_help(settings: Settings, mart):
    mart.execute(
        "delete from marts.mart_student_features where grade_level = 'JSS2' and terms_seen > 2;"
        " update marts.mart_student_features set next_term_average = null, next_known_at = null"
        " where grade_level = 'JSS2' and terms_seen = 2"
    )
    assert score(settings).students == 200


def test_a_tampered_model_is_not_loaded_and_the_rule_speaks(settings: Settings, mart, store: Store):
    score(settings)
    store.put("models/at_risk/1.skops", [b"something else"], replace=True)
    mart.execute("update marts.mart_student_features set activities_count = 0")
    report = score(settings)
    assert report.by_rule == 300
    assert "Somebody changed it" in report.reasons[0]


def test_a_refused_retraining_leaves_the_last_good_model_in_place(settings: Settings, mart):
    score(settings)
    mart.execute(
        "update marts.mart_student_features set next_term_average = 30 + 40 * random()"
        " where next_term_average is not null"
    )
    report = train(settings)
    assert (report.version, report.published) == (2, False)
    assert report.reasons
    published = registry.find_published(
        mart, load_target("at_risk"), {"pass_mark": 50.0, "chronic_absence": 90.0}
    )
    assert published is not None
    assert published.version == 1
    assert score(settings).by_model == 300


def test_the_same_data_gives_the_same_model_file(settings: Settings, mart):
    first, second = train(settings), train(settings)
    assert first.metrics["object"] == second.metrics["object"]
    assert first.metrics["held_out"] == second.metrics["held_out"]


def test_the_command_line_tells_what_the_gate_found(settings: Settings, mart, monkeypatch, tmp_path: Path):
    import json

    from click.testing import CliRunner

    from cli.main import cli

    monkeypatch.setenv("LAUREL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAUREL_SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", settings.pseudonym_key.get_secret_value())
    monkeypatch.setenv("LAUREL_STORE_URL", settings.store_url)
    run = CliRunner().invoke
    trained = run(cli, ["train"], catch_exceptions=False)
    assert "at_risk version 1 (logistic" in trained.output or "at_risk version 1 (boosting" in trained.output
    assert "passed  The later cohort has 300 students" in trained.output
    scored = json.loads(run(cli, ["score", "--json"], catch_exceptions=False).stdout)
    assert (scored["written"], scored["model_version"]) == (300, 1)
    listed = json.loads(run(cli, ["models", "at_risk", "--json"], catch_exceptions=False).stdout)
    assert [model["is_published"] for model in listed] == [True]
    assert "yes" in run(cli, ["models"], catch_exceptions=False).output


def _bring_results(connection: Connection) -> None:
    """The next term's results of the students who were scored."""
    connection.execute(
        "update marts.mart_student_features set next_term_average = 40 + (terms_seen * 7 + length(student_id)"
        " + substr(student_id, 4)::int) % 25, next_known_at = known_at + 120 where terms_seen = 6"
    )


def test_predictions_are_scored_by_themselves_when_the_results_come(settings: Settings, mart):
    score(settings)
    before = mart.execute("select * from ml.predictions order by prediction_id").fetchall()
    assert score(settings).outcomes == 0
    _bring_results(mart)
    assert score(settings).outcomes == 300
    assert score(settings).outcomes == 0
    lines = mart.execute("select * from ml.predictions order by prediction_id").fetchall()
    assert lines[: len(before)] == before
    wrong = mart.execute(
        "select count(*) as n from ml.outcomes o join marts.mart_student_features f"
        " using (school_id, student_id, as_of_date)"
        " where o.came is distinct from (f.next_term_average < 50) or o.value <> f.next_term_average"
        " or o.known_at <> f.next_known_at"
    ).fetchone()
    assert wrong["n"] == 0


def test_a_corrected_result_is_a_later_line(settings: Settings, mart):
    score(settings)
    _bring_results(mart)
    score(settings)
    mart.execute(
        "update marts.mart_student_features set next_term_average = 99"
        " where terms_seen = 6 and student_id = 'STU0007'"
    )
    assert score(settings).outcomes == 1
    came = mart.execute(
        "select value from ml.outcomes where student_id = 'STU0007' order by outcome_id"
    ).fetchall()
    assert len(came) == 2
    assert came[-1]["value"] == 99
    with pytest.raises(psycopg.errors.RaiseException, match=r"ml\.outcomes is append only"):
        mart.execute("update ml.outcomes set came = false")


def test_a_prediction_keeps_what_the_model_looked_at(settings: Settings, mart):
    score(settings)
    differ = mart.execute(
        "select count(*) as n from ml.predictions p join marts.mart_student_features f"
        " using (school_id, student_id, as_of_date)"
        " where (p.features ->> 'term_average')::numeric <> f.term_average"
        " or p.features -> 'attendance_change' <> 'null' or p.features ->> 'stream' <> f.stream"
    ).fetchone()
    assert differ["n"] == 0
    names = mart.execute("select distinct jsonb_object_keys(features) as name from ml.predictions").fetchall()
    assert {row["name"] for row in names} == {feature.name for feature in load_target("at_risk").features}


def test_weekly_training_skips_what_is_known_and_learns_what_is_new(settings: Settings, mart):
    assert retrain(settings, "at_risk").published
    assert retrain(settings, "at_risk") is None
    mart.execute("delete from marts.mart_student_features where student_id = 'STU0009'")
    # Too little for a run to train by itself, enough for the weekly training.
    assert score(settings).trained is False
    assert retrain(settings, "at_risk").version == 2
    marts = mart.execute("select mart from ops.unpublished_marts").fetchall()
    assert [row["mart"] for row in marts] == ["mart_student_risk"]


def test_the_api_shows_models_and_the_card_as_a_page_of_its_own(
    settings: Settings, mart, researcher, client_of
):
    train(settings)
    shown = researcher.get("/api/v1/models/at_risk").json
    assert (shown["published_version"], shown["versions"][0]["accepted_by"]) == (1, None)
    analyst = client_of("analyst")
    card = analyst.get("/api/v1/models/at_risk/card")
    assert (card.status_code, card.mimetype) == (200, "text/html")
    assert "Falls below the pass mark next term" in card.text
    assert "STU0" not in card.text
    assert "script" not in card.headers["Content-Security-Policy"]
    assert analyst.get("/api/v1/models/at_risk/card?version=2").status_code == 404
    assert analyst.get("/api/v1/models/nothing/card").status_code == 404


def test_gaps_between_groups_stop_a_model_until_a_person_accepts_them(
    settings: Settings, mart, store: Store, monkeypatch
):
    # Who boards is absent without it showing in the marks: the model finds far fewer of them.
    mart.execute(
        "update marts.mart_student_features set term_attendance = 96, test_exam_gap = 0,"
        " is_chronically_absent = false where living_arrangement = 'Boarding'"
    )
    target = load_target("at_risk")
    strict = target.model_copy(
        update={
            "candidates": target.candidates[:1],
            "fairness": target.fairness.model_copy(
                update={"columns": ["living_arrangement"], "recall_gap": 0.05, "minimum_positives": 5}
            ),
            "gate": target.gate.model_copy(update={"draws": 200, "auc_low": 0.5, "brier_skill_low": -1.0}),
        }
    )
    for module in ("scoring", "training"):
        monkeypatch.setattr(f"ml.{module}.load_target", lambda _name: strict)
    report = score(settings)
    assert (report.by_model, report.by_rule) == (0, 300)
    (attempt,) = registry.list_models(mart)
    failed = [each["name"] for each in attempt.gate["conditions"] if not each["passed"]]
    assert failed == ["fairness:living_arrangement:recall"]
    assert attempt.gate["awaits_acceptance"]

    accepted = registry.accept(mart, store, "at_risk", 1, by="user:head", reason="looked at by hand")
    assert (accepted.is_published, accepted.accepted_by) == (True, "user:head")
    assert score(settings).by_model == 300
    with pytest.raises(Conflict, match="published already"):
        registry.accept(mart, store, "at_risk", 1, by="user:head", reason="again")


def test_nothing_but_gaps_can_be_accepted(settings: Settings, connection: Connection, store: Store):
    _make_mart(connection, signal=False)
    score(settings)
    with pytest.raises(Conflict, match="not refused for gaps between groups alone"):
        registry.accept(connection, store, "at_risk", 1, by="user:head", reason="please")
    with pytest.raises(NotFound, match="no version 7"):
        registry.accept(connection, store, "at_risk", 7, by="user:head", reason="please")
