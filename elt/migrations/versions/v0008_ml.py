"""What is foretold, what came of it, and who let a model pass; see `docs/model.md`."""

from __future__ import annotations

from alembic import op

from elt.migrations.losses import Loss, losses

revision = "0008"
down_revision = "0007"

PREDICTIONS = """
alter table ml.predictions
    add column subject    text not null default '', -- of targets per student and subject
    add column value      double precision,         -- the number behind the label, where it is foretold
    add column value_low  double precision,         -- and the interval around it
    add column value_high double precision,
    add column helps      jsonb not null default '[]', -- [{feature, to, probability, change, text}]
    add column features   jsonb;                    -- what the model or the rule looked at
create index on ml.predictions (target, school_id, student_id, subject, prediction_id desc);
drop index ml.predictions_target_school_id_student_id_prediction_id_idx;
"""

OUTCOMES = """
create table ml.outcomes (
    outcome_id  bigint generated always as identity primary key,
    target      text not null,
    school_id   text not null,
    student_id  text not null,
    subject     text not null default '',
    as_of_date  date not null,
    came        boolean not null,           -- the risk came true
    value       double precision,           -- the number behind the label
    known_at    date not null,
    recorded_at timestamptz not null default now()
);
comment on table ml.outcomes is
    'What became of those of whom something was foretold. Append only: a corrected result is a later line.';
create index on ml.outcomes (target, school_id, student_id, subject, as_of_date, outcome_id desc);

create or replace function ml.refuse_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('laurel.erasing', true) = 'on' then
        return null;
    end if;
    raise exception '%.% is append only', tg_table_schema, tg_table_name;
end $$;
create trigger append_only before update or delete or truncate on ml.outcomes
    for each statement execute function ml.refuse_change();
"""

MODELS = """
create table ml.acceptances (
    model_id    uuid primary key references ml.models,
    accepted_by text not null,              -- principal
    accepted_at timestamptz not null default now(),
    reason      text not null,
    gaps        jsonb not null              -- the conditions that had failed, in words
);
comment on table ml.acceptances is
    'Models which only gaps between groups of students stood against, and who let them pass nevertheless.';

create view ml.model_versions as
select
    models.model_id, models.target, models.version, models.algorithm, models.created_at, models.code_version,
    models.data_window, models.features, models.metrics, models.gate, models.object_key,
    models.is_published or acceptances.model_id is not null as is_published,
    acceptances.accepted_by, acceptances.accepted_at, acceptances.reason as accepted_reason
from ml.models
left join ml.acceptances using (model_id);

create table ml.drift (
    drift_id    bigint generated always as identity primary key,
    model_id    uuid not null references ml.models,
    as_of_date  date not null,              -- of the students that were compared with those learnt from
    measured_at timestamptz not null default now(),
    students    integer not null,
    feature     text not null,              -- '' for the scores
    stability   double precision not null,  -- population stability index
    is_over     boolean not null
);
create index on ml.drift (model_id, as_of_date, drift_id desc);
"""

LOSES = (
    *losses("ml.outcomes", "ml.acceptances", "ml.drift"),
    Loss(
        "ml.predictions",
        "rows with subject, value, what would help, or what was looked at",
        "subject <> '' or num_nonnulls(value, value_low, value_high, features) > 0 or helps <> '[]'",
    ),
)

BACK = """
drop view ml.model_versions;
drop table ml.drift, ml.acceptances, ml.outcomes;

create or replace function ml.refuse_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('laurel.erasing', true) = 'on' then
        return null;
    end if;
    raise exception 'ml.predictions is append only';
end $$;

create index on ml.predictions (target, school_id, student_id, prediction_id desc);
alter table ml.predictions
    drop column subject, drop column value, drop column value_low, drop column value_high, drop column helps,
    drop column features;
"""


def upgrade() -> None:
    op.execute(PREDICTIONS)
    op.execute(OUTCOMES)
    op.execute(MODELS)


def downgrade() -> None:
    op.execute(BACK)
