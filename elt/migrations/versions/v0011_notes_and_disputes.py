"""Notes about students, disputed values, and lines about what was done that were taken back."""

from __future__ import annotations

from alembic import op

from elt.migrations.losses import Loss, losses

revision = "0011"
down_revision = "0010"

NOTES = """
create table ops.student_notes (
    note_id       uuid primary key,            -- version 7
    school_id     text not null,
    student_id    text not null,
    note          text not null,
    written_by    text not null,               -- principal
    created_at    timestamptz not null default now(),
    taken_back_by text,
    taken_back_at timestamptz,
    check (num_nulls(taken_back_by, taken_back_at) in (0, 2))
);
create index on ops.student_notes (school_id, student_id, note_id desc);
comment on table ops.student_notes is
    'What teachers and administrators noted about a student. A note that was taken back is kept.';
"""

DISPUTES = """
create table ops.disputes (
    dispute_id uuid primary key,               -- version 7
    school_id  text not null,
    student_id text not null,
    mart       text not null,
    column_name text not null,
    row_key    jsonb not null,                 -- what singles out the row beside school and student
    shown      text,                           -- the value as it was then
    should_be  text,
    reason     text not null,
    raised_by  text not null,                  -- principal
    created_at timestamptz not null default now(),
    outcome    text check (outcome in ('corrected', 'stands')),
    settled_by text,
    settled_why text,
    settled_at timestamptz,
    check (num_nulls(outcome, settled_by, settled_why, settled_at) in (0, 4))
);
create index on ops.disputes (school_id, student_id, dispute_id desc);
create index on ops.disputes (dispute_id) where outcome is null;
create unique index disputes_open on ops.disputes
    (school_id, student_id, mart, column_name, md5(row_key::text)) where outcome is null;
comment on table ops.disputes is
    'Values in marts that somebody says are wrong, and how an administrator settled it.';
comment on column ops.disputes.outcome is
    'null: open; corrected: the source was put right; stands: the value is right as it is.';
"""

TAKING_BACK = """
alter table ops.interventions add column takes_back boolean not null default false,
    add check (corrects is not null or not takes_back);
comment on column ops.interventions.takes_back is
    'The line that it corrects stands no more, and this one says why; it is no line about help itself.';
"""

LOSES = (
    *losses("ops.student_notes", "ops.disputes"),
    Loss("ops.interventions", "lines that take another back, which will read as help given", "takes_back"),
)

BACK = """
alter table ops.interventions drop column takes_back;
drop table ops.disputes;
drop table ops.student_notes;
"""


def upgrade() -> None:
    op.execute(NOTES)
    op.execute(DISPUTES)
    op.execute(TAKING_BACK)


def downgrade() -> None:
    op.execute(BACK)
