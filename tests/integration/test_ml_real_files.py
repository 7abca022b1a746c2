"""The first real files are random by construction: nothing may be learnt from them."""

from __future__ import annotations

from pathlib import Path

from elt.pipeline import run
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection
from ml import registry
from ml.scoring import score, score_all


def test_on_the_six_real_files_the_model_declines_and_the_rule_speaks(
    settings: Settings, store: Store, connection: Connection, shared_data: Path
):
    files = [*(shared_data / "laurel_high").glob("*.csv")]
    for file in [*files, shared_data / "student_performance" / "StudentsPerformance.csv"]:
        store.put(file.name, [file.read_bytes()])
    report = run(settings, trigger="cli", score=score_all)
    assert report.loads == {"loaded": 6}
    assert (report.scored["by_model"], report.scored["model_version"]) == (0, None)
    assert report.scored["by_rule"] == report.scored["students"] > 400
    assert "nothing can be learnt" in report.scored["reasons"][-1]
    shown = connection.execute(
        "select method, count(*) filter (where probability is not null) as claims"
        " from marts.mart_student_risk group by method"
    ).fetchall()
    assert shown == [{"method": "rule", "claims": 0}]

    # Nobody falls below 50 there. At 72 half of them do, by chance alone: still nothing to publish.
    connection.execute("update staging.pass_marks set pass_mark = 72 where measure = 'term_average'")
    assert score(settings).by_model == 0
    attempt = registry.list_models(connection)[0]
    conditions = {condition["name"]: condition["passed"] for condition in attempt.gate["conditions"]}
    assert conditions["rows"]
    assert conditions["each_class"]
    assert not conditions["auc"]
    assert not conditions["brier_skill"]
    assert not attempt.is_published
