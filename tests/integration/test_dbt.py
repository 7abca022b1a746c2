"""The dbt project without data: it parses without a warning, builds, tests its formulas, documents itself."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from elt.errors import BuildInterrupted, LaurelError, TransformError, TransientError
from elt.settings import Settings
from elt.transforming import dbt_process
from elt.transforming.dbt_process import DBT_DIR, dbt_connection, run_dbt, target_dir
from elt.transforming.transform import transform


def test_the_project_builds_tests_and_documents_itself_without_any_data(settings, connection):
    run_dbt(settings, ["--warn-error", "parse", "--no-partial-parse"])

    built = transform(settings, uuid4())

    assert (built.skipped, built.warnings) == (False, ())
    assert built.models == len(list((DBT_DIR / "models").rglob("*.sql")))
    formulas = run_dbt(settings, ["test", "--select", "resource_type:unit_test"])
    assert formulas.unit_tests >= 8
    run_dbt(settings, ["docs", "generate", "--no-compile"])
    assert (target_dir(settings) / "catalog.json").exists()
    undescribed = connection.execute(
        """
        select c.relname, a.attname
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace in ('core'::regnamespace, 'marts'::regnamespace) and c.relkind in ('r', 'v')
            and a.attnum > 0 and not a.attisdropped
            and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)
        """
    ).fetchall()
    assert undescribed == []
    assert transform(settings, uuid4()).skipped


@pytest.mark.usefixtures("built_marts")
def test_other_code_than_the_tables_were_built_by_builds_them_anew(settings, connection):
    assert transform(settings, uuid4()).skipped
    connection.execute("comment on schema staging is 'Built by the project with SHA-256 of long ago'")

    assert transform(settings, uuid4()).models == len(list((DBT_DIR / "models").rglob("*.sql")))
    assert transform(settings, uuid4()).skipped


def test_no_secret_of_the_database_is_written_down(settings: Settings):
    password = dbt_connection(settings)["DBT_ENV_SECRET_LAUREL_PASSWORD"]
    assert password

    run_dbt(settings, ["parse"])

    written = [path for path in target_dir(settings).rglob("*") if path.is_file()]
    assert written
    assert not any(password.encode() in path.read_bytes() for path in written)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("TERM", BuildInterrupted),
        ("KILL", BuildInterrupted),
        ("INT", BuildInterrupted),
        ("SEGV", TransformError),
    ],
)
def test_a_build_that_was_ended_from_outside_is_tried_again_and_a_crash_is_not(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[LaurelError]
) -> None:
    ended = tmp_path / "dbt"
    ended.write_text(f"#!/bin/sh\nkill -{name} $$\n")
    ended.chmod(0o700)
    monkeypatch.setattr(dbt_process, "_dbt_program", lambda: ended)
    with pytest.raises(kind) as raised:
        run_dbt(settings, ["build"])
    assert isinstance(raised.value, TransientError) == (kind is BuildInterrupted)
    assert "dbt was ended by" in raised.value.detail


def test_a_fault_before_any_model_is_told_with_what_dbt_said(settings):
    with pytest.raises(TransformError, match=r"dbt ended with status 2.*no_such_selector"):
        run_dbt(settings, ["build", "--selector", "no_such_selector"])
